#include "grpo_loss.h"

#include <algorithm>
#include <cmath>

#include "../runtime/check.h"

namespace tenon::rl {
namespace {

struct MeanStd {
  double mean = 0, std = 0;  // std with Bessel's correction; 0 of one value
  int64_t count = 0;
};

// Of the values that are not NaN.
template <class At>
MeanStd mean_std(int64_t n, At&& at) {
  MeanStd out;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i)
    if (const double v = at(i); !std::isnan(v)) {
      sum += v;
      ++out.count;
    }
  if (out.count == 0) return out;
  out.mean = sum / static_cast<double>(out.count);
  double squares = 0;
  for (int64_t i = 0; i < n; ++i)
    if (const double v = at(i); !std::isnan(v)) squares += (v - out.mean) * (v - out.mean);
  if (out.count > 1) out.std = std::sqrt(squares / static_cast<double>(out.count - 1));
  return out;
}

constexpr double kStdEps = 1e-4;   // TRL's
constexpr double kZeroStd = 1e-8;  // what torch.isclose takes for zero

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

Advantages compute_advantages(std::span<const float> rewards, std::span<const float> weights, int64_t group_size,
                              RewardScale scale, RewardAggregation aggregation) {
  const auto functions = static_cast<int64_t>(weights.size());
  check(functions > 0, "advantages: there is no reward function");
  const int64_t n = static_cast<int64_t>(rewards.size()) / functions;
  check(n * functions == static_cast<int64_t>(rewards.size()) && group_size > 0 && n % group_size == 0,
        "advantages: {} rewards of {} functions do not make groups of {}", rewards.size(), functions, group_size);
  auto reward = [&](int64_t i, int64_t f) { return static_cast<double>(rewards[i * functions + f]); };

  Advantages out;
  out.advantage.resize(n);
  out.reward.resize(n);
  for (int64_t i = 0; i < n; ++i) {
    double sum = 0;
    bool any = false;
    for (int64_t f = 0; f < functions; ++f)
      if (!std::isnan(reward(i, f))) {
        sum += weights[f] * reward(i, f);
        any = true;
      }
    out.reward[i] = any ? static_cast<float>(sum) : NAN;
  }
  for (int64_t f = 0; f < functions; ++f) {
    const MeanStd m = mean_std(n, [&](int64_t i) { return reward(i, f); });
    out.means.push_back(m.count ? m.mean : NAN);
    out.stds.push_back(m.count ? m.std : NAN);
  }
  const MeanStd batch = mean_std(n, [&](int64_t i) { return out.reward[i]; });
  out.mean = batch.mean;
  out.std = batch.std;

  double zero_std = 0;
  std::vector<double> advantage(n, 0.0);
  for (int64_t g = 0; g < n; g += group_size) {
    const MeanStd group = mean_std(group_size, [&](int64_t i) { return out.reward[g + i]; });
    const double spread = scale == RewardScale::batch ? batch.std : group.std;
    if (spread <= kZeroStd) zero_std += static_cast<double>(group_size);
    if (aggregation == RewardAggregation::sum_then_normalize) {
      for (int64_t i = g; i < g + group_size; ++i) {
        advantage[i] = out.reward[i] - group.mean;
        if (scale != RewardScale::none) advantage[i] /= spread + kStdEps;
      }
    } else {
      for (int64_t f = 0; f < functions; ++f) {
        const MeanStd m = mean_std(group_size, [&](int64_t i) { return reward(g + i, f); });
        for (int64_t i = g; i < g + group_size; ++i)
          if (!std::isnan(reward(i, f))) advantage[i] += weights[f] * (reward(i, f) - m.mean) / (m.std + kStdEps);
      }
    }
  }
  if (aggregation == RewardAggregation::normalize_then_sum) {
    const MeanStd all = mean_std(n, [&](int64_t i) { return advantage[i]; });
    for (double& a : advantage) a = (a - all.mean) / (all.std + kStdEps);
  }
  for (int64_t i = 0; i < n; ++i)
    out.advantage[i] = std::isnan(out.reward[i]) ? 0.0f : static_cast<float>(advantage[i]);
  out.frac_zero_std = zero_std / static_cast<double>(n);
  return out;
}

LossScale CompletionTokens::scale() const {
  LossScale scale{.completions = completions()};
  for (int64_t i = 0; i < completions(); ++i)
    if (!masked[i]) scale.tokens += begin[i + 1] - begin[i];
  return scale;
}

void GrpoLossSums::add(const GrpoLossSums& o) {
  tokens += o.tokens;
  kl += o.kl;
  entropy += o.entropy;
  old_difference += o.old_difference;
  old_difference_max = std::max(old_difference_max, o.old_difference_max);
  clip_units += o.clip_units;
  clip_low += o.clip_low;
  clip_high += o.clip_high;
  clip_low_min = std::min(clip_low_min, o.clip_low_min);
  clip_high_max = std::max(clip_high_max, o.clip_high_max);
  ratio_clipped += o.ratio_clipped;
}

GrpoLoss::GrpoLoss(const GrpoLossOptions& options, CompletionTokens tokens, LossScale scale)
    : options_(options), tokens_(std::move(tokens)), scale_(scale) {
  const size_t n = tokens_.completions(), t = tokens_.tokens();
  check(tokens_.advantage.size() == n && tokens_.masked.size() == n,
        "GrpoLoss: {} advantages and {} masks for {} completions", tokens_.advantage.size(), tokens_.masked.size(), n);
  auto fits = [&](const std::vector<float>& v) { return v.empty() || v.size() == t; };
  check(fits(tokens_.old_logprob) && fits(tokens_.ref_logprob) && fits(tokens_.correction),
        "GrpoLoss: arrays do not have the {} tokens", t);
  check(options.beta == 0 || t == 0 || !tokens_.ref_logprob.empty(),
        "GrpoLoss: beta {} needs the reference's log-probabilities", options.beta);
  check(options.loss_type != GrpoLossType::luspo || options.level == ImportanceLevel::sequence,
        "loss_type luspo needs importance_sampling_level sequence");
  low_.assign(n, 0);
  high_.assign(n, 0);
}

double GrpoLoss::weight(int64_t i) const {
  if (tokens_.masked[i]) return 0;
  const auto length = static_cast<double>(tokens_.begin[i + 1] - tokens_.begin[i]);
  const double n = std::max<double>(1, static_cast<double>(scale_.completions));
  switch (options_.loss_type) {
    case GrpoLossType::grpo:
    case GrpoLossType::sapo:
      return 1 / (length * n);
    case GrpoLossType::bnpo:
    case GrpoLossType::dapo:
    case GrpoLossType::cispo:
      return 1 / std::max<double>(1, static_cast<double>(scale_.tokens));
    case GrpoLossType::dr_grpo:
      return 1 / (n * static_cast<double>(options_.max_completion_length));
    case GrpoLossType::luspo:
      return 1 / n;
  }
  return 0;
}

GrpoLoss::Ratio GrpoLoss::ratio(double log_ratio) const {
  const double c = std::exp(log_ratio);
  if (options_.delta > 0 && c > options_.delta) return {options_.delta, 0};
  return {c, c};
}

// The loss of one token; its derivatives by the log of the ratio and by logp where that stands in the loss itself.
double GrpoLoss::policy_loss(int64_t i, Ratio c, double logp, double* dlog_ratio, double* dlogp) const {
  const double a = tokens_.advantage[i];
  *dlog_ratio = *dlogp = 0;
  if (options_.loss_type == GrpoLossType::cispo) {
    const double capped = std::min(c.value, options_.epsilon_high);
    *dlogp = -capped * a;
    return -capped * a * logp;
  }
  if (options_.loss_type == GrpoLossType::sapo) {
    const double temperature = a > 0 ? options_.sapo_temperature_pos : options_.sapo_temperature_neg;
    const double s = sigmoid(temperature * (c.value - 1));
    *dlog_ratio = -a * 4 * s * (1 - s) * c.slope;
    return -a * s * 4 / temperature;
  }
  const double clipped = std::clamp(c.value, 1 - options_.epsilon, 1 + options_.epsilon_high);
  const double free_loss = c.value * a, clipped_loss = clipped * a;
  if (clipped_loss < free_loss) return -clipped_loss;  // the clip holds: no gradient
  *dlog_ratio = -a * c.slope;
  return -free_loss;
}

void GrpoLoss::count_clips(int64_t i, double c) {
  const double a = tokens_.advantage[i];
  if (c < 1 - options_.epsilon && a < 0) ++low_[i];
  if (c > 1 + options_.epsilon_high && a > 0) ++high_[i];
  if (c > options_.epsilon_high && a > 0) ++sums_.ratio_clipped;
}

// Tokens [begin, end) of completion i, all of it at sequence level. Pointers are at `begin`.
double GrpoLoss::completion(int64_t i, int64_t begin, int64_t end, const float* logprob, const float* entropy,
                            float* dlogprob) {
  const double w = weight(i);
  if (w == 0) {
    std::fill_n(dlogprob, end - begin, 0.0f);
    return 0;
  }
  const bool sequence = options_.level == ImportanceLevel::sequence;
  const int64_t n = end - begin;
  auto old_of = [&](int64_t t) {
    return tokens_.old_logprob.empty() ? static_cast<double>(logprob[t])
                                       : static_cast<double>(tokens_.old_logprob[begin + t]);
  };

  double mean_log_ratio = 0;
  if (sequence) {
    for (int64_t t = 0; t < n; ++t) mean_log_ratio += (logprob[t] - old_of(t)) / static_cast<double>(n);
    const double c = ratio(mean_log_ratio).value;
    count_clips(i, c);
  }
  double loss = 0, dmean = 0;  // dmean: derivative by the mean log ratio
  for (int64_t t = 0; t < n; ++t) {
    const double logp = logprob[t], log_ratio = sequence ? mean_log_ratio : logp - old_of(t);
    const Ratio c = ratio(log_ratio);
    if (!sequence) count_clips(i, c.value);
    double dlog_ratio, dlogp;
    double value = policy_loss(i, c, logp, &dlog_ratio, &dlogp);
    if (!tokens_.correction.empty()) {
      const double factor = tokens_.correction[begin + t];
      value *= factor;
      dlog_ratio *= factor;
      dlogp *= factor;
    }
    if (options_.beta != 0) {
      const double d = tokens_.ref_logprob[begin + t] - logp;
      double kl = std::exp(d) - d - 1, dkl = 1 - std::exp(d);
      if (options_.bias_correction) {
        dlog_ratio += options_.beta * kl * c.slope;
        dkl *= c.value;
        kl *= c.value;
      }
      value += options_.beta * kl;
      dlogp += options_.beta * dkl;
      sums_.kl += kl;
    }
    loss += w * value;
    if (sequence) {
      dmean += w * dlog_ratio;
      dlogprob[t] = static_cast<float>(w * dlogp);
    } else {
      dlogprob[t] = static_cast<float>(w * (dlogp + dlog_ratio));
    }
    sums_.tokens += 1;
    if (entropy) sums_.entropy += entropy[t];
    const double difference = std::abs(logp - old_of(t));
    sums_.old_difference += difference;
    sums_.old_difference_max = std::max(sums_.old_difference_max, difference);
  }
  if (sequence)
    for (int64_t t = 0; t < n; ++t) dlogprob[t] += static_cast<float>(dmean / static_cast<double>(n));
  return loss;
}

double GrpoLoss::range(int64_t begin, int64_t end, const float* logprob, const float* entropy, float* dlogprob) {
  check(tokenwise(), "GrpoLoss: ratios of sequences need all their tokens at once");
  double loss = 0;
  if (begin == 0) at_ = 0;
  for (int64_t t = begin; t < end;) {
    while (tokens_.begin[at_ + 1] <= t) ++at_;
    const int64_t stop = std::min(end, tokens_.begin[at_ + 1]);
    loss += completion(at_, t, stop, logprob + (t - begin), entropy ? entropy + (t - begin) : nullptr,
                       dlogprob + (t - begin));
    t = stop;
  }
  return loss;
}

double GrpoLoss::all(const float* logprob, const float* entropy, float* dlogprob) {
  double loss = 0;
  for (int64_t i = 0; i < tokens_.completions(); ++i) {
    const int64_t b = tokens_.begin[i];
    loss += completion(i, b, tokens_.begin[i + 1], logprob + b, entropy ? entropy + b : nullptr, dlogprob + b);
  }
  return loss;
}

GrpoLossSums GrpoLoss::sums() const {
  GrpoLossSums out = sums_;
  for (int64_t i = 0; i < tokens_.completions(); ++i) {
    if (tokens_.masked[i]) continue;
    const auto units = options_.level == ImportanceLevel::sequence
                           ? 1.0
                           : static_cast<double>(tokens_.begin[i + 1] - tokens_.begin[i]);
    out.clip_units += units;
    out.clip_low += low_[i];
    out.clip_high += high_[i];
    out.clip_low_min = std::min(out.clip_low_min, low_[i] / units);
    out.clip_high_max = std::max(out.clip_high_max, high_[i] / units);
  }
  return out;
}

std::vector<float> sampling_correction(SamplingCorrection mode, double cap, std::span<const int64_t> begin,
                                       std::span<const float> old_logprob, std::span<const float> sampled_logprob) {
  if (mode == SamplingCorrection::none) return {};
  const bool sequence = mode == SamplingCorrection::sequence_truncate || mode == SamplingCorrection::sequence_mask;
  const bool mask = mode == SamplingCorrection::token_mask || mode == SamplingCorrection::sequence_mask;
  auto cut = [&](double log_ratio) {
    const double r = std::exp(log_ratio);
    return static_cast<float>(r <= cap ? r : mask ? 0 : cap);
  };
  std::vector<float> out(old_logprob.size());
  for (size_t i = 0; i + 1 < begin.size(); ++i) {
    double sum = 0;
    for (int64_t t = begin[i]; t < begin[i + 1]; ++t) {
      const double d = static_cast<double>(old_logprob[t]) - sampled_logprob[t];
      sum += d;
      out[t] = cut(d);
    }
    if (sequence) std::fill(out.begin() + begin[i], out.begin() + begin[i + 1], cut(sum));
  }
  return out;
}

}  // namespace tenon::rl
