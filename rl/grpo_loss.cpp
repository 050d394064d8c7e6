#include "grpo_loss.h"

#include <algorithm>
#include <cmath>

#include "../runtime/check.h"

namespace tenon::rl {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Whether the policy's loss is the clipped one.
bool clips(GrpoLossType type) {
  return type != GrpoLossType::cispo && type != GrpoLossType::sapo && type != GrpoLossType::vespo;
}

}  // namespace

KlTerm kl_term(KlEstimator estimator, double d) {
  switch (estimator) {
    case KlEstimator::k1:
      return {-d, 1};
    case KlEstimator::k2:
      return {d * d / 2, -d};
    case KlEstimator::k3:
      break;
  }
  return {std::exp(d) - d - 1, 1 - std::exp(d)};
}

void GrpoLossOptions::validate() const {
  check(beta >= 0, "beta {} must not be negative", beta);
  check(epsilon >= 0, "epsilon {} must not be negative", epsilon);
  check(epsilon_high >= 0, "epsilon_high {} must not be negative", epsilon_high);
  check(delta == 0 || clips(loss_type),
        "delta {} caps the ratio before a clip, which loss_type cispo, sapo and vespo "
        "do not have",
        delta);
  check(delta == 0 || delta > 1 + epsilon_high,
        "delta {} must be above 1 + epsilon_high {}: the clip holds before it "
        "does",
        delta, epsilon_high);
  check(loss_type != GrpoLossType::luspo || level == ImportanceLevel::sequence,
        "loss_type luspo needs importance_sampling_level sequence");
  check(loss_type != GrpoLossType::vespo || level == ImportanceLevel::token,
        "loss_type vespo makes its own weight of a completion: importance_sampling_level must be token");
  check(level != ImportanceLevel::completion || loss_type == GrpoLossType::grpo,
        "importance_sampling_level completion is the R1 paper's objective, a mean over completions: loss_type must be "
        "grpo");
  check(sapo_temperature_pos > 0 && sapo_temperature_neg > 0,
        "sapo_temperature_pos {} and sapo_temperature_neg {} must be positive", sapo_temperature_pos,
        sapo_temperature_neg);
  check(vespo_k_pos >= 0 && vespo_k_neg >= 0 && vespo_lambda_pos >= 0 && vespo_lambda_neg >= 0,
        "vespo_k_pos {}, vespo_lambda_pos {}, vespo_k_neg {} and vespo_lambda_neg {} must not be negative", vespo_k_pos,
        vespo_lambda_pos, vespo_k_neg, vespo_lambda_neg);
  check(off_policy_mask_threshold >= 0, "off_policy_mask_threshold {} must not be negative", off_policy_mask_threshold);
}

LossScale CompletionTokens::scale() const {
  LossScale scale{.completions = completions()};
  for (int64_t i = 0; i < completions(); ++i) {
    if (masked[i]) continue;
    scale.tokens += begin[i + 1] - begin[i];
    for (int64_t t = begin[i]; t < begin[i + 1]; ++t) scale.chosen += entropy_chosen.empty() || entropy_chosen[t];
  }
  return scale;
}

void GrpoLossSums::add(const GrpoLossSums& o) {
  tokens += o.tokens;
  entropy += o.entropy;
  chosen += o.chosen;
  chosen_entropy += o.chosen_entropy;
  entropy_bonus += o.entropy_bonus;
  kl += o.kl;
  kl_units += o.kl_units;
  old_difference += o.old_difference;
  old_difference_max = std::max(old_difference_max, o.old_difference_max);
  clip_units += o.clip_units;
  clip_low += o.clip_low;
  clip_high += o.clip_high;
  clip_low_min = std::min(clip_low_min, o.clip_low_min);
  clip_high_max = std::max(clip_high_max, o.clip_high_max);
  ratio_clipped += o.ratio_clipped;
  completions += o.completions;
  off_policy += o.off_policy;
  vespo_weight += o.vespo_weight;
}

GrpoLoss::GrpoLoss(const GrpoLossOptions& options, CompletionTokens tokens, LossScale scale)
    : options_(options), tokens_(std::move(tokens)), scale_(scale) {
  options_.validate();
  const size_t n = tokens_.completions(), t = tokens_.tokens();
  check(tokens_.advantage.size() == n && tokens_.masked.size() == n,
        "GrpoLoss: {} advantages and {} masks for {} completions", tokens_.advantage.size(), tokens_.masked.size(), n);
  auto fits = [&](const auto& v) { return v.empty() || v.size() == t; };
  check(fits(tokens_.old_logprob) && fits(tokens_.ref_logprob) && fits(tokens_.sampled_logprob) &&
            fits(tokens_.correction) && fits(tokens_.token_advantage) && fits(tokens_.entropy_chosen),
        "GrpoLoss: arrays do not have the {} tokens", t);
  check(options.beta == 0 || t == 0 || !tokens_.ref_logprob.empty(),
        "GrpoLoss: beta {} needs the reference's log-probabilities", options.beta);
  check(tokens_.token_advantage.empty() ||
            (options.level == ImportanceLevel::token && options.off_policy_mask_threshold == 0 &&
             options.loss_type != GrpoLossType::vespo),
        "GrpoLoss: advantages of tokens need ratios of tokens, and nothing that is decided for a whole completion");
  low_.assign(n, 0);
  high_.assign(n, 0);
}

bool GrpoLoss::one_pass() const {
  return options_.level == ImportanceLevel::token && options_.loss_type != GrpoLossType::vespo &&
         options_.off_policy_mask_threshold == 0 && options_.entropy_coef == 0;
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
    case GrpoLossType::vespo:
      return 1 / std::max<double>(1, static_cast<double>(scale_.tokens));
    case GrpoLossType::dr_grpo:
      return 1 / (n * static_cast<double>(options_.max_completion_length));
    case GrpoLossType::luspo:
      return 1 / n;
  }
  return 0;
}

double GrpoLoss::advantage(int64_t i, int64_t t) const {
  return tokens_.token_advantage.empty() ? tokens_.advantage[i] : tokens_.token_advantage[t];
}

double GrpoLoss::old_of(int64_t t, double logprob) const {
  return tokens_.old_logprob.empty() ? logprob : static_cast<double>(tokens_.old_logprob[t]);
}

// w^k e^(lambda (1 - w)) of the ratio w of the whole completion, sampler's correction included, with TRL's bounds.
double GrpoLoss::vespo_weight(int64_t i, const float* logprob) const {
  const double lowest = std::log(1e-8);
  double log_w = 0;
  for (int64_t t = tokens_.begin[i]; t < tokens_.begin[i + 1]; ++t) {
    const double logp = logprob[t - tokens_.begin[i]];
    log_w += std::clamp(logp - old_of(t, logp), -20.0, 20.0);
    if (!tokens_.correction.empty())
      log_w += std::clamp(std::log(static_cast<double>(tokens_.correction[t])), lowest, 20.0);
  }
  log_w = std::clamp(log_w, lowest, 20.0);
  const bool up = tokens_.advantage[i] >= 0;
  const double k = up ? options_.vespo_k_pos : options_.vespo_k_neg;
  const double lambda = std::max(1e-4, up ? options_.vespo_lambda_pos : options_.vespo_lambda_neg);
  return std::exp(lambda + k * log_w - lambda * std::exp(log_w));
}

GrpoLoss::Whole GrpoLoss::whole_of(int64_t i, const float* logprob) const {
  Whole out;
  const int64_t b = tokens_.begin[i], n = tokens_.begin[i + 1] - b;
  double sampled_minus = 0;
  for (int64_t t = 0; t < n; ++t) {
    const double logp = logprob[t];
    out.log_ratio += logp - old_of(b + t, logp);
    if (options_.beta != 0) out.ref_minus += tokens_.ref_logprob[b + t] - logp;
    sampled_minus +=
        (tokens_.sampled_logprob.empty() ? old_of(b + t, logp) : static_cast<double>(tokens_.sampled_logprob[b + t])) -
        logp;
  }
  if (options_.level == ImportanceLevel::sequence) out.log_ratio /= static_cast<double>(n);
  if (options_.loss_type == GrpoLossType::vespo) out.vespo_weight = vespo_weight(i, logprob);
  const double threshold = options_.off_policy_mask_threshold;
  out.off_policy = threshold > 0 && tokens_.advantage[i] < 0 && sampled_minus / static_cast<double>(n) > threshold;
  return out;
}

// The policy's loss of one token; its derivatives by the log of the ratio and by logp where that stands in the loss
// itself.
GrpoLoss::TokenLoss GrpoLoss::policy_loss(double a, double c, double logp, double vespo_weight) const {
  if (options_.loss_type == GrpoLossType::cispo || options_.loss_type == GrpoLossType::vespo) {
    const double w = options_.loss_type == GrpoLossType::vespo ? vespo_weight : std::min(c, options_.epsilon_high);
    return {-w * a * logp, 0, -w * a};
  }
  if (options_.loss_type == GrpoLossType::sapo) {
    const double temperature = a > 0 ? options_.sapo_temperature_pos : options_.sapo_temperature_neg;
    const double s = sigmoid(temperature * (c - 1));
    return {-a * s * 4 / temperature, -a * 4 * s * (1 - s) * c, 0};
  }
  const double clipped = std::clamp(c, 1 - options_.epsilon, 1 + options_.epsilon_high);
  const bool capped = options_.delta > 0 && c > options_.delta;
  const double free_loss = (capped ? options_.delta : c) * a, clipped_loss = clipped * a;
  if (clipped_loss < free_loss) return {-clipped_loss, 0, 0};  // the clip holds: no gradient
  return {-free_loss, capped ? 0 : -a * c, 0};
}

// `share`: of a unit of the KL metric.
void GrpoLoss::add_kl(TokenLoss& loss, double ref_minus, double c, double share) {
  auto [kl, slope] = kl_term(options_.kl_estimator, ref_minus);
  if (options_.bias_correction) {
    loss.dlog_ratio += options_.beta * kl * c;
    slope *= c;
    kl *= c;
  }
  loss.value += options_.beta * kl;
  loss.dlogp += options_.beta * slope;
  sums_.kl += share * kl;
  sums_.kl_units += share;
}

void GrpoLoss::count_clips(int64_t i, double a, double c) {
  if (options_.delta > 0) c = std::min(c, options_.delta);
  if (c < 1 - options_.epsilon && a < 0) ++low_[i];
  if (c > 1 + options_.epsilon_high && a > 0) ++high_[i];
  if (c > options_.epsilon_high && a > 0) ++sums_.ratio_clipped;
}

double GrpoLoss::completion(int64_t i, int64_t begin, int64_t end, const float* logprob, const float* entropy,
                            float* dlogprob, float* dentropy) {
  const int64_t n = end - begin;
  if (dentropy) std::fill_n(dentropy, n, 0.0f);
  const double w = weight(i);
  if (w == 0) {
    std::fill_n(dlogprob, n, 0.0f);
    return 0;
  }
  const bool by_token = options_.level == ImportanceLevel::token;
  const bool whole_kl = options_.level == ImportanceLevel::completion;
  const Whole whole = one_pass() ? Whole{} : whole_of(i, logprob);
  if (!by_token) count_clips(i, tokens_.advantage[i], std::exp(whole.log_ratio));
  if (begin == tokens_.begin[i]) {
    sums_.completions += 1;
    sums_.off_policy += whole.off_policy;
    sums_.vespo_weight += whole.vespo_weight;
  }
  const double bonus = options_.entropy_coef / std::max<double>(1, static_cast<double>(scale_.chosen));

  double loss = 0, dwhole = 0;  // dwhole: derivative by what the whole's ratio and KL are made of, for each token
  for (int64_t t = 0; t < n; ++t) {
    const double logp = logprob[t], old = old_of(begin + t, logp), a = advantage(i, begin + t);
    const double c = std::exp(by_token ? logp - old : whole.log_ratio);
    if (by_token) count_clips(i, a, c);
    const bool chosen = tokens_.entropy_chosen.empty() || tokens_.entropy_chosen[begin + t];
    TokenLoss token;
    if (chosen && !whole.off_policy) token = policy_loss(a, c, logp, whole.vespo_weight);
    if (!tokens_.correction.empty() && options_.loss_type != GrpoLossType::vespo) {
      const double factor = tokens_.correction[begin + t];
      token = {token.value * factor, token.dlog_ratio * factor, token.dlogp * factor};
    }
    const double dpolicy_dlogp = token.dlogp;
    if (options_.beta != 0)
      add_kl(token, whole_kl ? whole.ref_minus : tokens_.ref_logprob[begin + t] - logp, c,
             whole_kl ? 1 / static_cast<double>(n) : 1);
    loss += w * token.value;
    if (by_token) {
      dlogprob[t] = static_cast<float>(w * (token.dlogp + token.dlog_ratio));
    } else {
      dwhole += w * token.dlog_ratio / (whole_kl ? 1 : static_cast<double>(n));
      if (whole_kl) dwhole += w * (token.dlogp - dpolicy_dlogp);
      dlogprob[t] = static_cast<float>(w * (whole_kl ? dpolicy_dlogp : token.dlogp));
    }
    sums_.tokens += 1;
    sums_.chosen += chosen;
    if (entropy) {
      sums_.entropy += entropy[t];
      if (chosen) sums_.chosen_entropy += entropy[t];
      if (chosen && bonus != 0) {
        loss -= bonus * entropy[t];
        sums_.entropy_bonus += bonus * entropy[t];
        dentropy[t] = static_cast<float>(-bonus);
      }
    }
    const double difference = std::abs(logp - old);
    sums_.old_difference += difference;
    sums_.old_difference_max = std::max(sums_.old_difference_max, difference);
  }
  if (!by_token)
    for (int64_t t = 0; t < n; ++t) dlogprob[t] += static_cast<float>(dwhole);
  return loss;
}

double GrpoLoss::range(int64_t begin, int64_t end, const float* logprob, const float* entropy, float* dlogprob) {
  check(one_pass(), "GrpoLoss: this loss needs all tokens of a completion at once");
  double loss = 0;
  if (begin == 0) at_ = 0;
  for (int64_t t = begin; t < end;) {
    while (tokens_.begin[at_ + 1] <= t) ++at_;
    const int64_t stop = std::min(end, tokens_.begin[at_ + 1]);
    loss += completion(at_, t, stop, logprob + (t - begin), entropy ? entropy + (t - begin) : nullptr,
                       dlogprob + (t - begin), nullptr);
    t = stop;
  }
  return loss;
}

double GrpoLoss::all(const float* logprob, const float* entropy, float* dlogprob, float* dentropy) {
  check(options_.entropy_coef == 0 || (entropy && dentropy), "GrpoLoss: an entropy bonus needs the entropies");
  double loss = 0;
  for (int64_t i = 0; i < tokens_.completions(); ++i) {
    const int64_t b = tokens_.begin[i];
    loss += completion(i, b, tokens_.begin[i + 1], logprob + b, entropy ? entropy + b : nullptr, dlogprob + b,
                       dentropy ? dentropy + b : nullptr);
  }
  return loss;
}

GrpoLossSums GrpoLoss::sums() const {
  GrpoLossSums out = sums_;
  for (int64_t i = 0; i < tokens_.completions(); ++i) {
    if (tokens_.masked[i]) continue;
    const auto units =
        options_.level == ImportanceLevel::token ? static_cast<double>(tokens_.begin[i + 1] - tokens_.begin[i]) : 1.0;
    out.clip_units += units;
    out.clip_low += low_[i];
    out.clip_high += high_[i];
    out.clip_low_min = std::min(out.clip_low_min, low_[i] / units);
    out.clip_high_max = std::max(out.clip_high_max, high_[i] / units);
  }
  return out;
}

}  // namespace tenon::rl
