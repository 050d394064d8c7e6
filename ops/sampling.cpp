#include "sampling.h"

#include <cmath>

#include "../runtime/check.h"
#include "cpu/sampling.h"
#include "cuda/sampling.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void check_row(const SampleRow& row, int64_t r, int64_t vocabulary) {
  const SamplingOptions& o = row.options;
  check(std::isfinite(o.temperature) && (o.temperature == 0 || o.temperature >= 1e-6f),
        "sample: row {}: temperature must be 0 (greedy) or at least 1e-6, got {}", r, o.temperature);
  check(o.top_p > 0 && o.top_p <= 1, "sample: row {}: top_p must be in (0, 1], got {}", r, o.top_p);
  check(o.min_p >= 0 && o.min_p <= 1, "sample: row {}: min_p must be in [0, 1], got {}", r, o.min_p);
  check(o.top_k >= 0, "sample: row {}: top_k must be 0 (off) or more, got {}", r, o.top_k);
  check(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty),
        "sample: row {}: repetition_penalty must be above 0, got {}", r, o.repetition_penalty);
  if (o.repetition_penalty == 1) return;
  for (int32_t id : row.history)
    check(id >= 0 && id < vocabulary, "sample: row {}: history holds token {}, the vocabulary has {}", r, id,
          vocabulary);
}

}  // namespace

Sampled sample(const Tensor& logits, std::span<const SampleRow> rows) {
  check(logits.rank() == 2 && logits.dtype() == DType::f32 && logits.dim(1) > 0,
        "sample: logits must be f32 [rows, vocabulary], got {} {}", logits.dtype(), logits.shape());
  const int64_t count = logits.dim(0);
  check(static_cast<int64_t>(rows.size()) == count, "sample: {} settings for logits {}", rows.size(), logits.shape());
  for (int64_t r = 0; r < count; ++r) check_row(rows[r], r, logits.dim(1));

  Sampled result{Tensor::empty({count}, DType::i32, logits.device()),
                 Tensor::empty({count}, DType::f32, logits.device())};
  if (count == 0) return result;
  const auto on_cpu = [](const Tensor& x, std::span<const SampleRow> settings, Tensor& tokens, Tensor& logprobs) {
    const int64_t bad = cpu::sample(x, settings, tokens, logprobs);
    check(bad < 0, "sample: row {}: logits hold NaN or +inf, or forbid every token", bad);
  };
  on_device("sample", logits.device(), on_cpu, cuda::sample, logits.contiguous(), rows, result.tokens, result.logprobs);
  return result;
}

}  // namespace tenon::ops
