#include "loss_head.h"

#include "../runtime/check.h"
#include "cpu/loss_head.h"
#include "cuda/loss_head.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_head(const char* op, const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature) {
  check_same_device(op, {{"hidden", hidden}, {"weight", weight}, {"targets", targets}});
  check(hidden.rank() == 2 && weight.rank() == 2 && hidden.dim(1) == weight.dim(1) && weight.dim(0) > 0,
        "{}: hidden {} must be [tokens, dim] and weight {} [vocabulary, dim]", op, hidden.shape(), weight.shape());
  check(targets.dtype() == DType::i32 && targets.rank() == 1 && targets.dim(0) == hidden.dim(0),
        "{}: targets must be i32 [{}], got {} {}", op, hidden.dim(0), targets.dtype(), targets.shape());
  check(temperature > 0, "{}: temperature must be above 0, got {}", op, temperature);
}

void check_per_token(const char* op, const char* what, const Tensor& x, const Tensor& hidden) {
  check(x.defined() && x.dtype() == DType::f32 && x.rank() == 1 && x.dim(0) == hidden.dim(0) && x.is_contiguous(),
        "{}: {} must be contiguous f32 [{}]", op, what, hidden.dim(0));
}

void check_hidden_gradient(const char* op, const Tensor& dhidden, const Tensor& hidden) {
  check_same_shape(op, {{"dhidden", dhidden}, {"hidden", hidden}});
  check_same_dtype(op, {{"dhidden", dhidden}, {"hidden", hidden}});
  check_contiguous(op, {"dhidden", dhidden});
}

void check_weight_gradient(const char* op, const Tensor& dweight, const Tensor& weight) {
  check_same_shape(op, {{"dweight", dweight}, {"weight", weight}});
  check(dweight.dtype() == DType::f32, "{}: dweight accumulates in f32, got {}", op, dweight.dtype());
}

void check_one_pass(const char* op, const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                    float temperature, const Tensor* logprob, const Tensor* dhidden, const Tensor* dweight) {
  check_head(op, hidden, weight, targets, temperature);
  if (logprob != nullptr) check_per_token(op, "logprob", *logprob, hidden);
  if (dhidden != nullptr) check_hidden_gradient(op, *dhidden, hidden);
  if (dweight != nullptr) check_weight_gradient(op, *dweight, weight);
}

}  // namespace

TokenLogProbs token_logprobs(const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature,
                             bool with_entropy, const PackedWeight* packed) {
  const char* op = "token_logprobs";
  check_head(op, hidden, weight, targets, temperature);
  const Shape tokens = {hidden.dim(0)};
  TokenLogProbs result;
  result.logprob = Tensor::zeros(tokens, DType::f32, hidden.device());
  result.lse = Tensor::zeros(tokens, DType::f32, hidden.device());
  if (with_entropy) result.entropy = Tensor::zeros(tokens, DType::f32, hidden.device());
  if (hidden.dim(0) > 0)
    on_device(op, hidden.device(), cpu::token_logprobs, cuda::token_logprobs, hidden, weight, targets, temperature,
              packed, result);
  return result;
}

void token_logprobs_backward(const Tensor& dlogprob, const Tensor* dentropy, const Tensor& hidden, const Tensor& weight,
                             const Tensor& targets, const TokenLogProbs& forward, float temperature, Tensor& dhidden,
                             Tensor* dweight, const HeadPacks& packs) {
  const char* op = "token_logprobs_backward";
  check_head(op, hidden, weight, targets, temperature);
  check_per_token(op, "dlogprob", dlogprob, hidden);
  check_per_token(op, "forward.lse", forward.lse, hidden);
  if (dentropy != nullptr) {
    check_per_token(op, "dentropy", *dentropy, hidden);
    check_per_token(op, "forward.entropy", forward.entropy, hidden);
  }
  if (dweight != nullptr) check_weight_gradient(op, *dweight, weight);
  check_hidden_gradient(op, dhidden, hidden);
  if (hidden.dim(0) == 0) return;
  on_device(op, hidden.device(), cpu::token_logprobs_backward, cuda::token_logprobs_backward, dlogprob, dentropy,
            hidden, weight, targets, forward, temperature, dhidden, dweight, packs);
  dhidden.bump_version();
}

double token_loss_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& targets, float temperature,
                           bool with_entropy, const TokenLoss& loss, Tensor* logprob, Tensor* entropy, Tensor* dhidden,
                           Tensor* dweight, const HeadPacks& packs) {
  const char* op = "token_loss_one_pass";
  check_one_pass(op, hidden, weight, targets, temperature, logprob, dhidden, dweight);
  if (entropy != nullptr) check_per_token(op, "entropy", *entropy, hidden);
  check(entropy == nullptr || with_entropy, "{}: entropy is asked for, but with_entropy is false", op);
  double total = 0;
  if (hidden.dim(0) == 0) return total;
  on_device(op, hidden.device(), cpu::token_loss_one_pass, cuda::token_loss_one_pass, hidden, weight, targets,
            temperature, with_entropy, loss, logprob, entropy, dhidden, dweight, packs, total);
  for (Tensor* written : {logprob, entropy, dhidden})
    if (written != nullptr) written->bump_version();
  return total;
}

Tensor cross_entropy_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                              const Tensor& token_weight, Tensor* logprob, Tensor* dhidden, Tensor* dweight,
                              const HeadPacks& packs) {
  const char* op = "cross_entropy_one_pass";
  check_one_pass(op, hidden, weight, targets, /*temperature=*/1, logprob, dhidden, dweight);
  check_same_device(op, {{"hidden", hidden}, {"token_weight", token_weight}});
  check_dtype(op, {"token_weight", token_weight}, DType::f32);
  check_shape(op, {"token_weight", token_weight}, {hidden.dim(0)});
  Tensor loss = Tensor::empty({}, DType::f32, hidden.device());
  on_device(op, hidden.device(), cpu::cross_entropy_one_pass, cuda::cross_entropy_one_pass, hidden, weight, targets,
            token_weight, logprob, dhidden, dweight, packs, loss);
  for (Tensor* written : {logprob, dhidden})
    if (written != nullptr) written->bump_version();
  return loss;
}

Tensor mean_token_weight(const Tensor& targets) {
  const char* op = "mean_token_weight";
  check_dtype(op, {"targets", targets}, DType::i32);
  check_rank(op, {"targets", targets}, 1);
  Tensor weight = Tensor::empty(targets.shape(), DType::f32, targets.device());
  on_device(op, targets.device(), cpu::mean_token_weight, cuda::mean_token_weight, targets.contiguous(), weight);
  return weight;
}

Tensor logits(const Tensor& hidden, const Tensor& weight, const PackedWeight* packed) {
  return linear(hidden, weight, nullptr, packed, DType::f32);
}

}  // namespace tenon::ops
