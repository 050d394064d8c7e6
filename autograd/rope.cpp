#include "rope.h"

namespace tenon {

Var rope(const Var& x, const ops::RopeTable& table, const Tensor& positions, bool interleaved) {
  return record("rope", {x}, ops::rope(x.value(), table, positions, interleaved),
                [table, positions = SavedTensor(positions), interleaved](GradContext& g) {
                  // A rotation's transpose is the rotation back.
                  g.add(0, ops::rope(g.dy(), table, positions, interleaved, /*inverse=*/true));
                });
}

}  // namespace tenon
