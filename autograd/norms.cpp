#include "norms.h"

#include "../ops/rms_norm.h"

namespace tenon {

Var rms_norm(const Var& x, const Var& weight, float eps) {
  auto [y, rstd] = ops::rms_norm(x.value(), weight.value(), eps);
  return record("rms_norm", {x, weight}, y, [x = x.saved(), w = weight.saved(), rstd = rstd](GradContext& g) {
    g.add(0, ops::rms_norm_backward(g.dy(), x, w, rstd, g.needs(1) ? &g.sink(1) : nullptr));
  });
}

NormResidual rms_norm_residual(const Var& x, const Var& residual, const Var& weight, float eps) {
  auto [y, sum, rstd] = ops::rms_norm_residual(x.value(), residual.value(), weight.value(), eps);
  auto out = record_many("rms_norm_residual", {x, residual, weight}, {y, sum},
                         [sum = SavedTensor(sum), w = weight.saved(), rstd = rstd](GradContext& g) {
                           const Tensor* dsum = g.has_dy(1) ? &g.dy(1) : nullptr;
                           Tensor d = g.has_dy(0) ? ops::rms_norm_residual_backward(g.dy(0), dsum, sum, w, rstd,
                                                                                    g.needs(2) ? &g.sink(2) : nullptr)
                                                  : g.dy(1);
                           g.add(0, d);
                           g.add(1, d);
                         });
  return {out[0], out[1]};
}

}  // namespace tenon
