#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "fast_exp.h"
#include "logit_rows.h"
#include "nucleus.h"

namespace tenon::ops::cpu {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();
constexpr int64_t kScanBlock = 64;  // logits passed over together when none of them counts

TENON_CLONES void block_maxima(const float* x, int64_t n, float* maxima) {
  for (int64_t begin = 0; begin < n; begin += kScanBlock) {
    const int64_t count = n - begin < kScanBlock ? n - begin : kScanBlock;
    float maximum = kForbidden;
#pragma omp simd reduction(max : maximum)
    for (int64_t c = 0; c < count; ++c) maximum = x[begin + c] > maximum ? x[begin + c] : maximum;
    maxima[begin / kScanBlock] = maximum;
  }
}

TENON_CLONES void weights_of(const float* x, int64_t n, float maximum, float inverse_temperature, float* w) {
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) w[c] = exp_nonpositive((x[c] - maximum) * inverse_temperature);
}

// Scratch of one thread.
struct Scratch {
  std::vector<float> penalised, block_sum, block_max, maxima, order, value, weight;
  std::vector<int32_t> id;
};

// The tokens that filters have left: ids rising, value = logit, weight = exp((value - maximum) / temperature).
class Candidates {
 public:
  Candidates(const float* x, int64_t n, const LogitSums& sums, Scratch& scratch)
      : x_(x), n_(n), sums_(sums), s_(scratch) {
    s_.maxima.resize((n + kScanBlock - 1) / kScanBlock);
    block_maxima(x, n, s_.maxima.data());
  }

  void keep_top_k(int64_t k) {
    const int64_t blocks = static_cast<int64_t>(s_.maxima.size());
    float bound = kForbidden;
    if (k <= blocks) bound = kth_largest(s_.maxima, k);  // k blocks have a logit at least this large
    gather(bound);
    if (static_cast<int64_t>(s_.id.size()) > k) {
      const float cut = kth_largest(s_.value, k);
      keep_if([&](size_t i) { return s_.value[i] >= cut; });
    }
    weigh();
    total_ = 0;
    for (float w : s_.weight) total_ += w;
  }

  void gather_above(double weight) {
    // The slack of 1e-3 covers the rounding of the logarithm and of the sums, the next float below that of the bound.
    const double bound = sums_.maximum + (std::log(weight) - 1e-3) / sums_.inverse_temperature;
    gather(std::nextafter(static_cast<float>(bound), kForbidden));
    weigh();
    total_ = sums_.sum;
  }

  void keep_top_p(double p) {
    const NucleusCut cut = nucleus_cut(s_.weight, p * total_);
    int64_t ties = cut.ties;
    keep_if([&](size_t i) { return s_.weight[i] > cut.weight || (s_.weight[i] == cut.weight && ties-- > 0); });
  }

  void keep_min_p(float p) {
    keep_if([&](size_t i) { return s_.weight[i] >= p; });  // the largest weight is 1
  }

  int32_t draw(double u) const {
    double total = 0;
    for (float w : s_.weight) total += w;
    const double at = u * total;
    double sum = 0;
    size_t last = 0;
    for (size_t i = 0; i < s_.id.size(); ++i) {
      if (s_.weight[i] > 0) last = i;
      sum += s_.weight[i];
      if (sum > at) return s_.id[i];
    }
    return s_.id[last];
  }

 private:
  float kth_largest(const std::vector<float>& values, int64_t k) {
    s_.order = values;
    std::nth_element(s_.order.begin(), s_.order.begin() + (k - 1), s_.order.end(), std::greater<>());
    return s_.order[k - 1];
  }

  void gather(float bound) {
    s_.id.clear();
    s_.value.clear();
    for (int64_t begin = 0; begin < n_; begin += kScanBlock) {
      if (s_.maxima[begin / kScanBlock] < bound) continue;
      for (int64_t c = begin; c < std::min(begin + kScanBlock, n_); ++c) {
        if (x_[c] < bound) continue;
        s_.id.push_back(static_cast<int32_t>(c));
        s_.value.push_back(x_[c]);
      }
    }
  }

  void weigh() {
    s_.weight.resize(s_.value.size());
    weights_of(s_.value.data(), static_cast<int64_t>(s_.value.size()), sums_.maximum, sums_.inverse_temperature,
               s_.weight.data());
  }

  template <class Keep>
  void keep_if(Keep&& keep) {
    size_t kept = 0;
    for (size_t i = 0; i < s_.id.size(); ++i) {
      if (!keep(i)) continue;
      s_.id[kept] = s_.id[i];
      s_.value[kept] = s_.value[i];
      if (i < s_.weight.size()) s_.weight[kept] = s_.weight[i];
      ++kept;
    }
    s_.id.resize(kept);
    s_.value.resize(kept);
    if (s_.weight.size() > kept) s_.weight.resize(kept);
  }

  const float* x_;
  int64_t n_;
  const LogitSums& sums_;
  Scratch& s_;
  double total_ = 0;
};

// Without filters: the block in which the running sum passes u * total, then the token in it. Only that block's
// exponentials are computed again.
int32_t draw_from_all(const float* x, int64_t n, const LogitSums& sums, const Scratch& scratch, double u) {
  const int64_t blocks = (n + kLogitBlock - 1) / kLogitBlock;
  const auto factor = [&](int64_t b) {
    return std::exp((static_cast<double>(scratch.block_max[b]) - sums.maximum) * sums.inverse_temperature);
  };
  double total = 0;
  for (int64_t b = 0; b < blocks; ++b) total += scratch.block_sum[b] * factor(b);

  const double at = u * total;
  double before = 0;
  int64_t chosen = 0;
  double start = 0;  // of the last block with any mass, should rounding leave the sum below `at`
  for (int64_t b = 0; b < blocks; ++b) {
    const double mass = scratch.block_sum[b] * factor(b);
    if (mass > 0) chosen = b, start = before;
    if (before + mass > at) break;
    before += mass;
  }
  const int64_t begin = chosen * kLogitBlock, end = std::min(begin + kLogitBlock, n);
  const double scale = factor(chosen);
  double sum = start;
  int64_t token = begin;
  for (int64_t c = begin; c < end; ++c) {
    const float w = exp_nonpositive((x[c] - scratch.block_max[chosen]) * sums.inverse_temperature);
    if (w > 0) token = c;
    sum += w * scale;
    if (sum > at) break;
  }
  return static_cast<int32_t>(token);
}

bool is_usable(const LogitSums& sums) { return std::isfinite(sums.maximum) && std::isfinite(sums.sum); }

// False where the logits are no distribution.
bool sample_row(const float* logits, int64_t n, const SampleRow& row, Scratch& scratch, int32_t& token,
                float& logprob) {
  const SamplingOptions& options = row.options;
  const bool greedy = options.temperature == 0;
  const float inverse_temperature = greedy ? 1.0f : 1.0f / options.temperature;
  scratch.block_sum.resize((n + kLogitBlock - 1) / kLogitBlock);
  scratch.block_max.resize(scratch.block_sum.size());
  const LogitBlocks blocks{scratch.block_sum.data(), scratch.block_max.data()};

  const LogitSums raw = sum_logits(logits, n, inverse_temperature, false, &blocks);
  if (!is_usable(raw)) return false;
  const float* x = logits;
  LogitSums sums = raw;
  if (options.repetition_penalty != 1 && !row.history.empty()) {
    scratch.penalised.assign(logits, logits + n);
    for (int32_t id : row.history)  // from the logit as it was: an id that stands twice is penalised once
      scratch.penalised[id] =
          logits[id] > 0 ? logits[id] / options.repetition_penalty : logits[id] * options.repetition_penalty;
    x = scratch.penalised.data();
    sums = sum_logits(x, n, inverse_temperature, false, &blocks);
    if (!is_usable(sums)) return false;
  }

  if (greedy) {
    token = static_cast<int32_t>(std::find(x, x + n, sums.maximum) - x);
  } else {
    const double u = random_uniform_double(row.key, row.element);
    const bool top_k = options.top_k > 0 && options.top_k < n;
    if (!top_k && options.top_p == 1 && options.min_p == 0) {
      token = draw_from_all(x, n, sums, scratch, u);
    } else {
      Candidates candidates(x, n, sums, scratch);
      if (top_k) {
        candidates.keep_top_k(options.top_k);
      } else if (options.top_p < 1) {
        // All weights up to w together have at most n w: below (1 - p) total / n none is needed to reach p.
        candidates.gather_above((1.0 - options.top_p) * sums.sum / static_cast<double>(n));
      } else {
        candidates.gather_above(options.min_p);
      }
      if (options.top_p < 1) candidates.keep_top_p(options.top_p);
      if (options.min_p > 0) candidates.keep_min_p(options.min_p);
      token = candidates.draw(u);
    }
  }
  logprob = raw.logprob(logits[token]);
  return true;
}

}  // namespace

int64_t sample(const Tensor& logits, std::span<const SampleRow> rows, Tensor& tokens, Tensor& logprobs) {
  const int64_t count = logits.dim(0), n = logits.dim(1);
  std::vector<uint8_t> usable(count, 1);
  parallel_for(count, /*grain=*/std::max<int64_t>(1, 8192 / n), [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t r = begin; r < end; ++r)
      usable[r] = sample_row(logits.data<float>() + r * n, n, rows[r], scratch, tokens.data<int32_t>()[r],
                             logprobs.data<float>()[r]);
  });
  const auto first = std::find(usable.begin(), usable.end(), 0);
  return first == usable.end() ? -1 : first - usable.begin();
}

}  // namespace tenon::ops::cpu
