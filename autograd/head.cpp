#include "head.h"

#include "../ops/elementwise.h"
#include "../runtime/check.h"
#include "../runtime/memory.h"
#include "parameters.h"

namespace tenon {
namespace {

const ops::PackedWeight* packed(Parameter* parameter, ops::PackFor use) {
  return parameter ? parameter->packed(use) : nullptr;
}

// Gradients that a one-pass loss computes with its value, for a seed of 1; scaled when backward comes.
struct OnePassGradients {
  Tensor dhidden, dweight;

  OnePassGradients(const Var& hidden, const Var& weight) {
    if (grad_enabled() && hidden.requires_grad()) dhidden = Tensor::like(hidden.value());
    if (grad_enabled() && weight.requires_grad()) {
      MemoryTag tag("gradients");
      dweight = Tensor::zeros(weight.shape(), DType::f32, weight.device());
    }
  }
  /// The head's packed copies; the backward one only where it is read.
  ops::HeadPacks packs(const Var& weight) const {
    return {packed(weight.parameter(), ops::PackFor::forward),
            dhidden.defined() ? packed(weight.parameter(), ops::PackFor::backward) : nullptr};
  }
  Tensor* hidden_or_null() { return dhidden.defined() ? &dhidden : nullptr; }
  Tensor* weight_or_null() { return dweight.defined() ? &dweight : nullptr; }

  /// loss f32 [].
  Var record_loss(const char* name, const Var& hidden, const Var& weight, Tensor loss) const {
    return record(name, {hidden, weight}, std::move(loss), [dhidden = dhidden, dweight = dweight](GradContext& g) {
      if (g.needs(0)) g.add(0, ops::mul(dhidden, g.dy()));
      if (g.needs(1)) ops::add_into(g.sink(1), dweight, g.dy());
    });
  }
};

}  // namespace

TokenLogProbsVar token_logprobs(const Var& hidden, const Var& weight, const Tensor& targets, float temperature,
                                bool with_entropy) {
  Parameter* parameter = weight.parameter();
  ops::TokenLogProbs value = ops::token_logprobs(hidden.value(), weight.value(), targets, temperature, with_entropy,
                                                 packed(parameter, ops::PackFor::forward));
  std::vector<Tensor> results = {value.logprob};
  if (with_entropy) results.push_back(value.entropy);
  auto out = record_many("token_logprobs", {hidden, weight}, std::move(results),
                         [hidden = hidden.saved(), weight = weight.saved(), targets = SavedTensor(targets), value,
                          temperature, with_entropy, parameter](GradContext& g) {
                           Tensor dhidden = Tensor::like(hidden);
                           const Tensor* dentropy = with_entropy && g.has_dy(1) ? &g.dy(1) : nullptr;
                           ops::token_logprobs_backward(
                               g.dy(0), dentropy, hidden, weight, targets, value, temperature, dhidden,
                               g.needs(1) ? &g.sink(1) : nullptr,
                               {packed(parameter, ops::PackFor::forward), packed(parameter, ops::PackFor::backward)});
                           g.add(0, dhidden);
                         });
  return {out[0], with_entropy ? out[1] : Var()};
}

TokenLossOut token_loss(const Var& hidden, const Var& weight, const Tensor& targets, float temperature,
                        bool with_entropy, const ops::TokenLoss& loss) {
  const Device device = hidden.device();
  const Shape tokens = {hidden.dim(0)};
  TokenLossOut out;
  out.logprob = Tensor::empty(tokens, DType::f32, device);
  if (with_entropy) out.entropy = Tensor::empty(tokens, DType::f32, device);

  OnePassGradients gradients(hidden, weight);
  const double value =
      ops::token_loss_one_pass(hidden.value(), weight.value(), targets, temperature, with_entropy, loss, &out.logprob,
                               with_entropy ? &out.entropy : nullptr, gradients.hidden_or_null(),
                               gradients.weight_or_null(), gradients.packs(weight));
  out.loss = gradients.record_loss("token_loss", hidden, weight,
                                   Tensor::full({}, static_cast<float>(value), DType::f32, device));
  return out;
}

Var cross_entropy(const Var& hidden, const Var& weight, const Tensor& targets, const Tensor* token_weight) {
  check(targets.dtype() == DType::i32 && targets.rank() == 1 && targets.dim(0) == hidden.dim(0),
        "cross_entropy: targets {} {} for hidden {}", name(targets.dtype()), targets.shape(), hidden.shape());
  check(!token_weight || (token_weight->dtype() == DType::f32 && token_weight->shape() == targets.shape()),
        "cross_entropy: token_weight must be f32 {}", targets.shape());
  const Tensor weights = token_weight ? *token_weight : ops::mean_token_weight(targets);
  OnePassGradients gradients(hidden, weight);
  Tensor value =
      ops::cross_entropy_one_pass(hidden.value(), weight.value(), targets, weights, /*logprob=*/nullptr,
                                  gradients.hidden_or_null(), gradients.weight_or_null(), gradients.packs(weight));
  return gradients.record_loss("cross_entropy", hidden, weight, std::move(value));
}

Var distill_loss(const Var& hidden, const Var& weight, const Tensor& teacher_hidden, const Var& teacher_weight,
                 const Tensor& token_weight, const ops::DivergenceOptions& options) {
  OnePassGradients gradients(hidden, weight);
  Tensor value =
      ops::distill_loss_one_pass(hidden.value(), weight.value(), teacher_hidden, teacher_weight.value(), token_weight,
                                 options, nullptr, gradients.hidden_or_null(), gradients.weight_or_null(),
                                 gradients.packs(weight), packed(teacher_weight.parameter(), ops::PackFor::forward));
  return gradients.record_loss("distill_loss", hidden, weight, std::move(value));
}

Var top_k_distill_loss(const Var& hidden, const Var& weight, const ops::TopLogProbs& teacher,
                       const Tensor& token_weight, const ops::DivergenceOptions& options) {
  OnePassGradients gradients(hidden, weight);
  Tensor value =
      ops::top_k_distill_loss_one_pass(hidden.value(), weight.value(), teacher, token_weight, options, nullptr,
                                       gradients.hidden_or_null(), gradients.weight_or_null(), gradients.packs(weight));
  return gradients.record_loss("top_k_distill_loss", hidden, weight, std::move(value));
}

}  // namespace tenon
