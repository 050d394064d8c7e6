#include "router_losses.h"

#include "../runtime/check.h"
#include "cpu/router_losses.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_logits(const char* op, const Tensor& logits) {
  check_dtype(op, {"logits", logits}, DType::f32);
  check_rank(op, {"logits", logits}, 2);
  check(logits.numel() > 0, "{}: logits {} are empty", op, logits.shape());
}

void check_dloss(const char* op, const Tensor& dloss, const Tensor& logits) {
  check_dtype(op, {"dloss", dloss}, DType::f32);
  check_same_device(op, {{"dloss", dloss}, {"logits", logits}});
  check(dloss.numel() == 1, "{}: dloss must be a single number, it is {}", op, dloss.shape());
}

}  // namespace

LoadBalancing load_balancing_loss(const Tensor& logits, const Tensor& experts, int64_t num_experts) {
  check_logits("load_balancing_loss", logits);
  check_dtype("load_balancing_loss", {"experts", experts}, DType::i32);
  check_same_device("load_balancing_loss", {{"logits", logits}, {"experts", experts}});
  check(experts.rank() == 2 && experts.dim(0) == logits.dim(0) && logits.dim(1) == num_experts,
        "load_balancing_loss: logits {} and experts {} do not fit {} experts", logits.shape(), experts.shape(),
        num_experts);
  LoadBalancing result{Tensor::empty({}, DType::f32, logits.device()),
                       Tensor::empty({num_experts}, DType::i32, logits.device())};
  on_device("load_balancing_loss", logits.device(), [&] { cpu::load_balancing_loss(result, logits, experts); });
  return result;
}

Tensor load_balancing_loss_backward(const Tensor& dloss, const Tensor& logits, const Tensor& load) {
  check_logits("load_balancing_loss_backward", logits);
  check_dloss("load_balancing_loss_backward", dloss, logits);
  check_dtype("load_balancing_loss_backward", {"load", load}, DType::i32);
  check_shape("load_balancing_loss_backward", {"load", load}, {logits.dim(1)});
  Tensor dlogits = Tensor::like(logits);
  on_device("load_balancing_loss_backward", logits.device(),
            [&] { cpu::load_balancing_loss_backward(dlogits, dloss, logits, load); });
  return dlogits;
}

Tensor router_z_loss(const Tensor& logits) {
  check_logits("router_z_loss", logits);
  Tensor loss = Tensor::empty({}, DType::f32, logits.device());
  on_device("router_z_loss", logits.device(), [&] { cpu::router_z_loss(loss, logits); });
  return loss;
}

Tensor router_z_loss_backward(const Tensor& dloss, const Tensor& logits) {
  check_logits("router_z_loss_backward", logits);
  check_dloss("router_z_loss_backward", dloss, logits);
  Tensor dlogits = Tensor::like(logits);
  on_device("router_z_loss_backward", logits.device(), [&] { cpu::router_z_loss_backward(dlogits, dloss, logits); });
  return dlogits;
}

}  // namespace tenon::ops
