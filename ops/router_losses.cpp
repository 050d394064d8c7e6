#include "router_losses.h"

#include "../runtime/check.h"
#include "cpu/router_losses.h"
#include "cuda/router_losses.h"
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

void check_sequences(const char* op, const Tensor& cu_seqlens, const Tensor& logits) {
  check_dtype(op, {"cu_seqlens", cu_seqlens}, DType::i32);
  check_same_device(op, {{"logits", logits}, {"cu_seqlens", cu_seqlens}});
  check(cu_seqlens.rank() == 1 && cu_seqlens.numel() >= 2, "{}: cu_seqlens must be [sequences + 1], it is {}", op,
        cu_seqlens.shape());
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
  on_device("load_balancing_loss", logits.device(), cpu::load_balancing_loss, cuda::load_balancing_loss, result,
            logits.contiguous(), experts.contiguous());
  return result;
}

Tensor load_balancing_loss_backward(const Tensor& dloss, const Tensor& logits, const Tensor& load) {
  check_logits("load_balancing_loss_backward", logits);
  check_dloss("load_balancing_loss_backward", dloss, logits);
  check_dtype("load_balancing_loss_backward", {"load", load}, DType::i32);
  check_shape("load_balancing_loss_backward", {"load", load}, {logits.dim(1)});
  Tensor dlogits = Tensor::like(logits);
  on_device("load_balancing_loss_backward", logits.device(), cpu::load_balancing_loss_backward,
            cuda::load_balancing_loss_backward, dlogits, dloss.contiguous(), logits.contiguous(), load.contiguous());
  return dlogits;
}

SequenceBalance sequence_balance_loss(const Tensor& logits, const Tensor& experts, const Tensor& cu_seqlens,
                                      RouterScore score) {
  check_logits("sequence_balance_loss", logits);
  check_dtype("sequence_balance_loss", {"experts", experts}, DType::i32);
  check_same_device("sequence_balance_loss", {{"logits", logits}, {"experts", experts}});
  check_sequences("sequence_balance_loss", cu_seqlens, logits);
  check(experts.rank() == 2 && experts.dim(0) == logits.dim(0) && experts.dim(1) > 0,
        "sequence_balance_loss: logits {} and experts {} do not fit", logits.shape(), experts.shape());
  SequenceBalance result{Tensor::empty({}, DType::f32, logits.device()),
                         Tensor::empty({cu_seqlens.numel() - 1, logits.dim(1)}, DType::i32, logits.device())};
  on_device("sequence_balance_loss", logits.device(), cpu::sequence_balance_loss, cuda::sequence_balance_loss, result,
            logits.contiguous(), experts.contiguous(), cu_seqlens.contiguous(), score);
  return result;
}

Tensor sequence_balance_loss_backward(const Tensor& dloss, const Tensor& logits, const Tensor& load,
                                      const Tensor& cu_seqlens, RouterScore score) {
  check_logits("sequence_balance_loss_backward", logits);
  check_dloss("sequence_balance_loss_backward", dloss, logits);
  check_dtype("sequence_balance_loss_backward", {"load", load}, DType::i32);
  check_sequences("sequence_balance_loss_backward", cu_seqlens, logits);
  check_shape("sequence_balance_loss_backward", {"load", load}, {cu_seqlens.numel() - 1, logits.dim(1)});
  Tensor dlogits = Tensor::like(logits);
  on_device("sequence_balance_loss_backward", logits.device(), cpu::sequence_balance_loss_backward,
            cuda::sequence_balance_loss_backward, dlogits, dloss.contiguous(), logits.contiguous(), load.contiguous(),
            cu_seqlens.contiguous(), score);
  return dlogits;
}

Tensor router_z_loss(const Tensor& logits) {
  check_logits("router_z_loss", logits);
  Tensor loss = Tensor::empty({}, DType::f32, logits.device());
  on_device("router_z_loss", logits.device(), cpu::router_z_loss, cuda::router_z_loss, loss, logits.contiguous());
  return loss;
}

Tensor router_z_loss_backward(const Tensor& dloss, const Tensor& logits) {
  check_logits("router_z_loss_backward", logits);
  check_dloss("router_z_loss_backward", dloss, logits);
  Tensor dlogits = Tensor::like(logits);
  on_device("router_z_loss_backward", logits.device(), cpu::router_z_loss_backward, cuda::router_z_loss_backward,
            dlogits, dloss.contiguous(), logits.contiguous());
  return dlogits;
}

}  // namespace tenon::ops
