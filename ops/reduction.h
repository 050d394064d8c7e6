// Which function a kernel of ops/reduce.h computes. Internal.
#pragma once

namespace tenon::ops {

enum class Reduction { sum, mean, max };

}  // namespace tenon::ops
