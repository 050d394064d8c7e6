#include "routing.h"

#include "../runtime/check.h"
#include "cpu/routing.h"
#include "cuda/routing.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_options(const RoutingOptions& o, const Shape& logits) {
  const int64_t experts = logits[1];
  check(o.top_k >= 1 && o.top_k <= experts, "route: top_k {} of {} experts (logits {})", o.top_k, experts, logits);
  check(o.n_group >= 1 && experts % o.n_group == 0, "route: {} experts (logits {}) do not fall into {} groups", experts,
        logits, o.n_group);
  check(o.topk_group >= 1 && o.topk_group <= o.n_group, "route: topk_group {} of {} groups", o.topk_group, o.n_group);
  check(o.topk_group * (experts / o.n_group) >= o.top_k, "route: {} groups of {} experts are too few for top_k {}",
        o.topk_group, experts / o.n_group, o.top_k);
}

}  // namespace

Routing route(const Tensor& logits, const Tensor* selection_bias, const RoutingOptions& options,
              const Tensor* forced_experts) {
  check_dtype("route", {"logits", logits}, DType::f32);
  check_rank("route", {"logits", logits}, 2);
  check_options(options, logits.shape());
  const int64_t tokens = logits.dim(0);
  if (selection_bias) {
    check_dtype("route", {"selection_bias", *selection_bias}, DType::f32);
    check_shape("route", {"selection_bias", *selection_bias}, {logits.dim(1)});
    check_same_device("route", {{"logits", logits}, {"selection_bias", *selection_bias}});
  }
  if (forced_experts) {
    check_dtype("route", {"forced_experts", *forced_experts}, DType::i32);
    check_shape("route", {"forced_experts", *forced_experts}, {tokens, options.top_k});
    check_same_device("route", {{"logits", logits}, {"forced_experts", *forced_experts}});
  }
  Routing routing{Tensor::empty({tokens, options.top_k}, DType::f32, logits.device()),
                  Tensor::empty({tokens, options.top_k}, DType::i32, logits.device()), Tensor::like(logits)};
  if (forced_experts && logits.device().is_cpu()) cpu::check_forced_experts(*forced_experts, logits.dim(1));
  const Tensor bias = selection_bias ? selection_bias->contiguous() : Tensor(),
               forced = forced_experts ? forced_experts->contiguous() : Tensor();
  on_device("route", logits.device(), cpu::route, cuda::route, routing, logits.contiguous(),
            selection_bias ? &bias : nullptr, options, forced_experts ? &forced : nullptr);
  return routing;
}

Tensor route_backward(const Tensor& dweights, const Routing& routing, const RoutingOptions& options) {
  check_dtype("route_backward", {"dweights", dweights}, DType::f32);
  check_shape("route_backward", {"dweights", dweights}, routing.experts.shape());
  check_same_device("route_backward", {{"dweights", dweights}, {"scores", routing.scores}});
  Tensor dlogits = Tensor::like(routing.scores);
  on_device("route_backward", dweights.device(), cpu::route_backward, cuda::route_backward, dlogits,
            dweights.contiguous(), routing, options);
  return dlogits;
}

}  // namespace tenon::ops
