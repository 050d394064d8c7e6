#include "distill_head.h"

#include "../runtime/check.h"
#include "cpu/distill_head.h"
#include "cuda/distill_head.h"
#include "dispatch.h"
#include "distill_arguments.h"

namespace tenon::ops {
namespace {

void check_model(const char* op, const char* whose, const Tensor& hidden, const Tensor& weight) {
  check_float(op, {{"hidden", hidden}, {"weight", weight}});
  check_same_dtype(op, {{"hidden", hidden}, {"weight", weight}});
  check(hidden.rank() == 2 && weight.rank() == 2 && hidden.dim(1) == weight.dim(1) && weight.dim(0) > 0,
        "{}: the {}'s hidden {} must be [tokens, dim] and its weight {} [vocabulary, dim]", op, whose, hidden.shape(),
        weight.shape());
}

void check_arguments(const DistillStudent& s) {
  const auto& [op, hidden, weight, token_weight, options, divergence, dhidden, dweight, packs] = s;
  check_same_device(op, {{"hidden", hidden}, {"weight", weight}, {"token_weight", token_weight}});
  check_model(op, "student", hidden, weight);
  check_dtype(op, {"token_weight", token_weight}, DType::f32);
  check_shape(op, {"token_weight", token_weight}, {s.tokens()});
  check(options.beta >= 0 && options.beta <= 1, "{}: beta {} must be in [0, 1]", op, options.beta);
  check(options.temperature > 0, "{}: temperature {} must be positive", op, options.temperature);
  if (divergence) {
    check_dtype(op, {"divergence", *divergence}, DType::f32);
    check_shape(op, {"divergence", *divergence}, {s.tokens()});
    check_contiguous(op, {"divergence", *divergence});
  }
  if (dhidden) {
    check_same_shape(op, {{"dhidden", *dhidden}, {"hidden", hidden}});
    check_same_dtype(op, {{"dhidden", *dhidden}, {"hidden", hidden}});
    check_contiguous(op, {"dhidden", *dhidden});
  }
  if (dweight) {
    check_dtype(op, {"dweight", *dweight}, DType::f32);
    check_same_shape(op, {{"dweight", *dweight}, {"weight", weight}});
  }
}

template <class Kernel>
Tensor loss_of(const DistillStudent& s, Kernel&& kernel) {
  Tensor loss = Tensor::zeros({}, DType::f32, s.hidden.device());
  if (s.tokens() > 0) kernel(loss);
  if (s.divergence) s.divergence->bump_version();
  return loss;
}

}  // namespace

Tensor distill_loss_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& teacher_hidden,
                             const Tensor& teacher_weight, const Tensor& token_weight, const DivergenceOptions& options,
                             Tensor* divergence, Tensor* dhidden, Tensor* dweight, const HeadPacks& packs,
                             const PackedWeight* teacher_packed) {
  const DistillStudent student{.op = "distill_loss",
                               .hidden = hidden,
                               .weight = weight,
                               .token_weight = token_weight,
                               .options = options,
                               .divergence = divergence,
                               .dhidden = dhidden,
                               .dweight = dweight,
                               .packs = packs};
  check_arguments(student);
  const char* op = student.op;
  check_same_device(op, {{"hidden", hidden}, {"teacher_hidden", teacher_hidden}, {"teacher_weight", teacher_weight}});
  check_model(op, "teacher", teacher_hidden, teacher_weight);
  check(teacher_weight.dim(0) == student.vocabulary(), "{}: the teacher's vocabulary {} is not the student's {}", op,
        teacher_weight.dim(0), student.vocabulary());
  check(teacher_hidden.dim(0) == student.tokens(), "{}: {} tokens of the student, {} of the teacher", op,
        student.tokens(), teacher_hidden.dim(0));

  return loss_of(student, [&](Tensor& loss) {
    on_device(op, hidden.device(), cpu::distill_loss, cuda::distill_loss, student, teacher_hidden, teacher_weight,
              teacher_packed, loss);
  });
}

TopLogProbs top_logprobs(const Tensor& hidden, const Tensor& weight, int64_t k, float temperature,
                         const PackedWeight* packed) {
  constexpr const char* op = "top_logprobs";
  check_same_device(op, {{"hidden", hidden}, {"weight", weight}});
  check_model(op, "model", hidden, weight);
  const int64_t tokens = hidden.dim(0), vocabulary = weight.dim(0);
  check(k >= 1 && k <= vocabulary, "{}: the {} most probable tokens of a vocabulary of {}", op, k, vocabulary);
  check(temperature > 0, "{}: temperature {} must be positive", op, temperature);
  TopLogProbs out{Tensor::empty({tokens, k}, DType::i32, hidden.device()),
                  Tensor::empty({tokens, k}, DType::f32, hidden.device()),
                  Tensor::empty({tokens}, DType::f32, hidden.device())};
  if (tokens > 0)
    on_device(op, hidden.device(), cpu::top_logprobs, cuda::top_logprobs, hidden, weight, temperature, packed, out);
  return out;
}

Tensor top_k_distill_loss_one_pass(const Tensor& hidden, const Tensor& weight, const TopLogProbs& teacher,
                                   const Tensor& token_weight, const DivergenceOptions& options, Tensor* divergence,
                                   Tensor* dhidden, Tensor* dweight, const HeadPacks& packs) {
  const DistillStudent student{.op = "top_k_distill_loss",
                               .hidden = hidden,
                               .weight = weight,
                               .token_weight = token_weight,
                               .options = options,
                               .divergence = divergence,
                               .dhidden = dhidden,
                               .dweight = dweight,
                               .packs = packs};
  check_arguments(student);
  const char* op = student.op;
  check_same_device(op,
                    {{"hidden", hidden}, {"ids", teacher.ids}, {"logprob", teacher.logprob}, {"tail", teacher.tail}});
  check_dtype(op, {"ids", teacher.ids}, DType::i32);
  check_dtype(op, {"logprob", teacher.logprob}, DType::f32);
  check_dtype(op, {"tail", teacher.tail}, DType::f32);
  check_rank(op, {"ids", teacher.ids}, 2);
  check_same_shape(op, {{"ids", teacher.ids}, {"logprob", teacher.logprob}});
  check_shape(op, {"tail", teacher.tail}, {student.tokens()});
  check(teacher.ids.dim(0) == student.tokens() && teacher.ids.dim(1) >= 1 && teacher.ids.dim(1) <= student.vocabulary(),
        "{}: the teacher's ids {} must be [{} tokens, k] of a vocabulary of {}", op, teacher.ids.shape(),
        student.tokens(), student.vocabulary());

  return loss_of(student, [&](Tensor& loss) {
    on_device(op, hidden.device(), cpu::top_k_distill_loss, cuda::top_k_distill_loss, student, teacher, loss);
  });
}

}  // namespace tenon::ops
