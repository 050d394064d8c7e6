#include "distill_head.h"

#include <algorithm>

#include "../runtime/check.h"
#include "../runtime/memory.h"
#include "cast.h"
#include "cpu/distill_head.h"
#include "dispatch.h"
#include "linear.h"

namespace tenon::ops {
namespace {

// As many rows as keep both chunks of f32 logits below 128 MiB together: the weight and its gradient are read once a
// chunk.
int64_t rows_of_chunk(int64_t vocabulary, int64_t tokens) {
  return std::min(std::clamp<int64_t>((int64_t{16} << 20) / vocabulary / 64 * 64, 64, 2048),
                  std::max<int64_t>(tokens, 1));
}

void check_model(const char* op, const char* whose, const Tensor& hidden, const Tensor& weight) {
  check_float(op, {{"hidden", hidden}, {"weight", weight}});
  check_same_dtype(op, {{"hidden", hidden}, {"weight", weight}});
  check(hidden.rank() == 2 && weight.rank() == 2 && hidden.dim(1) == weight.dim(1) && weight.dim(0) > 0,
        "{}: the {}'s hidden {} must be [tokens, dim] and its weight {} [vocabulary, dim]", op, whose, hidden.shape(),
        weight.shape());
}

// What a loss on a student's head reads and writes; see the header.
struct Student {
  const char* op;
  const Tensor& hidden;
  const Tensor& weight;
  const Tensor& token_weight;
  const DivergenceOptions& options;
  Tensor* divergence;
  Tensor* dhidden;
  Tensor* dweight;
  const HeadPacks& packs;

  int64_t tokens() const { return hidden.dim(0); }
  int64_t vocabulary() const { return weight.dim(0); }
  bool gradient() const { return dhidden || dweight; }
  float inverse_temperature() const { return 1 / options.temperature; }
  void check_arguments() const;
};

void Student::check_arguments() const {
  check_same_device(op, {{"hidden", hidden}, {"weight", weight}, {"token_weight", token_weight}});
  check_model(op, "student", hidden, weight);
  check_dtype(op, {"token_weight", token_weight}, DType::f32);
  check_shape(op, {"token_weight", token_weight}, {tokens()});
  check(options.beta >= 0 && options.beta <= 1, "{}: beta {} must be in [0, 1]", op, options.beta);
  check(options.temperature > 0, "{}: temperature {} must be positive", op, options.temperature);
  if (divergence) {
    check_dtype(op, {"divergence", *divergence}, DType::f32);
    check_shape(op, {"divergence", *divergence}, {tokens()});
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

// The loss over chunks of tokens. `rows(begin, logits, token_weights, divergence)` gets the student's logits `[n, V]`
// of tokens from `begin` on, fills their divergences and leaves the gradient by the logits where one is asked for.
template <class Rows>
double over_chunks(const Student& s, Rows&& rows) {
  const Tensor x = s.hidden.contiguous(), w = s.token_weight.contiguous();
  const int64_t tokens = s.tokens(), chunk = rows_of_chunk(s.vocabulary(), tokens);
  Tensor logits = Tensor::empty({chunk, s.vocabulary()}, DType::f32);
  Tensor row_divergence = Tensor::empty({chunk}, DType::f32);
  double total = 0;
  for (int64_t begin = 0; begin < tokens; begin += chunk) {
    const int64_t end = std::min(tokens, begin + chunk);
    const Tensor part = x.slice(0, begin, end);
    Tensor z = logits.slice(0, 0, end - begin);
    linear_into(z, part, s.weight, nullptr, s.packs.forward);
    const float* token_weights = w.data<float>() + begin;
    float* per_token = s.divergence ? s.divergence->data<float>() + begin : row_divergence.data<float>();
    rows(begin, z, token_weights, per_token);
    for (int64_t r = 0; r < end - begin; ++r) total += static_cast<double>(token_weights[r]) * per_token[r];
    if (!s.gradient()) continue;
    const Tensor dlogits = s.hidden.dtype() == DType::f32 ? z : cast(z, s.hidden.dtype());
    if (s.dweight) linear_backward_weight(*s.dweight, dlogits, part);
    if (s.dhidden) {
      Tensor into = s.dhidden->slice(0, begin, end);
      linear_backward_input(into, 0, dlogits, s.weight, s.packs.backward);
    }
  }
  if (s.divergence) s.divergence->bump_version();
  return total;
}

}  // namespace

double distill_loss_one_pass(const Tensor& hidden, const Tensor& weight, const Tensor& teacher_hidden,
                             const Tensor& teacher_weight, const Tensor& token_weight, const DivergenceOptions& options,
                             Tensor* divergence, Tensor* dhidden, Tensor* dweight, const HeadPacks& packs,
                             const PackedWeight* teacher_packed) {
  const Student student{.op = "distill_loss",
                        .hidden = hidden,
                        .weight = weight,
                        .token_weight = token_weight,
                        .options = options,
                        .divergence = divergence,
                        .dhidden = dhidden,
                        .dweight = dweight,
                        .packs = packs};
  student.check_arguments();
  const char* op = student.op;
  check_same_device(op, {{"hidden", hidden}, {"teacher_hidden", teacher_hidden}, {"teacher_weight", teacher_weight}});
  check_model(op, "teacher", teacher_hidden, teacher_weight);
  check(teacher_weight.dim(0) == student.vocabulary(), "{}: the teacher's vocabulary {} is not the student's {}", op,
        teacher_weight.dim(0), student.vocabulary());
  check(teacher_hidden.dim(0) == student.tokens(), "{}: {} tokens of the student, {} of the teacher", op,
        student.tokens(), teacher_hidden.dim(0));

  double total = 0;
  on_device(op, hidden.device(), [&] {
    const MemoryTag tag("workspace");
    const Tensor xt = teacher_hidden.contiguous();
    Tensor teacher =
        Tensor::empty({rows_of_chunk(student.vocabulary(), student.tokens()), student.vocabulary()}, DType::f32);
    total = over_chunks(student, [&](int64_t begin, Tensor& s, const float* token_weights, float* per_token) {
      Tensor t = teacher.slice(0, 0, s.dim(0));
      linear_into(t, xt.slice(0, begin, begin + s.dim(0)), teacher_weight, nullptr, teacher_packed);
      cpu::divergence_rows(s, t, options.beta, student.inverse_temperature(), token_weights, per_token,
                           student.gradient());
    });
  });
  return total;
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
  on_device(op, hidden.device(), [&] {
    const MemoryTag tag("workspace");
    const Tensor x = hidden.contiguous();
    const int64_t chunk = rows_of_chunk(vocabulary, tokens);
    Tensor logits = Tensor::empty({chunk, vocabulary}, DType::f32);
    for (int64_t begin = 0; begin < tokens; begin += chunk) {
      const int64_t end = std::min(tokens, begin + chunk);
      Tensor z = logits.slice(0, 0, end - begin), ids = out.ids.slice(0, begin, end),
             logprob = out.logprob.slice(0, begin, end), tail = out.tail.slice(0, begin, end);
      linear_into(z, x.slice(0, begin, end), weight, nullptr, packed);
      cpu::top_logprob_rows(z, 1 / temperature, ids, logprob, tail);
    }
  });
  return out;
}

double top_k_distill_loss_one_pass(const Tensor& hidden, const Tensor& weight, const TopLogProbs& teacher,
                                   const Tensor& token_weight, const DivergenceOptions& options, Tensor* divergence,
                                   Tensor* dhidden, Tensor* dweight, const HeadPacks& packs) {
  const Student student{.op = "top_k_distill_loss",
                        .hidden = hidden,
                        .weight = weight,
                        .token_weight = token_weight,
                        .options = options,
                        .divergence = divergence,
                        .dhidden = dhidden,
                        .dweight = dweight,
                        .packs = packs};
  student.check_arguments();
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

  double total = 0;
  on_device(op, hidden.device(), [&] {
    const MemoryTag tag("workspace");
    const Tensor ids = teacher.ids.contiguous(), logprob = teacher.logprob.contiguous(),
                 tail = teacher.tail.contiguous();
    const int32_t* id = ids.data<int32_t>();
    for (int64_t i = 0; i < ids.numel(); ++i)
      check(id[i] >= 0 && id[i] < student.vocabulary(), "{}: the teacher's token {} is outside the vocabulary of {}",
            op, id[i], student.vocabulary());
    const int64_t k = ids.dim(1);
    total = over_chunks(student, [&](int64_t begin, Tensor& s, const float* token_weights, float* per_token) {
      const cpu::TopRows top{k, id + begin * k, logprob.data<float>() + begin * k, tail.data<float>() + begin};
      cpu::top_k_divergence_rows(s, top, options.beta, student.inverse_temperature(), token_weights, per_token,
                                 student.gradient());
    });
  });
  return total;
}

}  // namespace tenon::ops
