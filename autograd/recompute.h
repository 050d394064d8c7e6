// Trading time for memory: the inner values of a segment are not kept but computed again when its gradient is due
// (Chen et al. 2016, arXiv 1604.06174).
#pragma once

#include <functional>
#include <vector>

#include "var.h"

namespace tenon {

/// The outputs of `segment(inputs)`. Only the inputs are kept; in the backward the segment runs once more. It must
/// compute the same both times. Whatever it reads besides `inputs` must be parameters or constants: the result of
/// another op that is not among the inputs is an Error.
std::vector<Var> recompute(std::function<std::vector<Var>(const std::vector<Var>&)> segment, std::vector<Var> inputs);

/// True inside the second run of a segment: for side effects that must happen once (counts, recorded routes).
bool recomputing();

}  // namespace tenon
