#include "rope.h"

namespace tenon {

Var rope(const Var& x, const ops::RopeTable& table, const Tensor& positions, bool interleaved, int64_t offset) {
  return record("rope", {x}, ops::rope(x.value(), table, positions, interleaved, /*inverse=*/false, offset),
                [table, positions = SavedTensor(positions), interleaved, offset](GradContext& g) {
                  // A rotation's transpose is the rotation back.
                  g.add(0, ops::rope(g.dy(), table, positions, interleaved, /*inverse=*/true, offset));
                });
}

}  // namespace tenon
