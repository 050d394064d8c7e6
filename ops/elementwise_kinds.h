// Which function a kernel of ops/elementwise.h computes. Internal.
#pragma once

namespace tenon::ops {

enum class Binary { add, sub, mul, div, maximum, minimum };
enum class Unary { scale, add_scalar, exp, log, sqrt, clamp };

}  // namespace tenon::ops
