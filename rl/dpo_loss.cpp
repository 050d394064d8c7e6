#include "dpo_loss.h"

#include <algorithm>
#include <cmath>

#include "../runtime/check.h"
#include "../runtime/nearest_name.h"

namespace tenon::rl {
namespace {

// A number with its derivatives by the two log-probabilities: every formula below is written once, its gradient
// follows.
struct Dual {
  double v, c = 0, r = 0;
};
Dual chain(const Dual& x, double value, double slope) { return {value, slope * x.c, slope * x.r}; }
Dual operator+(const Dual& a, const Dual& b) { return {a.v + b.v, a.c + b.c, a.r + b.r}; }
Dual operator-(const Dual& a, const Dual& b) { return {a.v - b.v, a.c - b.c, a.r - b.r}; }
Dual operator*(const Dual& a, const Dual& b) { return {a.v * b.v, a.v * b.c + a.c * b.v, a.v * b.r + a.r * b.v}; }
Dual operator*(double a, const Dual& b) { return {a * b.v, a * b.c, a * b.r}; }
Dual operator+(const Dual& a, double b) { return {a.v + b, a.c, a.r}; }
Dual operator-(double a, const Dual& b) { return {a - b.v, -b.c, -b.r}; }

double sigmoid_of(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
Dual sigmoid(const Dual& x) {
  const double s = sigmoid_of(x.v);
  return chain(x, s, s * sigmoid_of(-x.v));
}
Dual log_sigmoid(const Dual& x) {
  return chain(x, std::min(x.v, 0.0) - std::log1p(std::exp(-std::abs(x.v))), sigmoid_of(-x.v));
}
Dual exp(const Dual& x) { return chain(x, std::exp(x.v), std::exp(x.v)); }
Dual relu(const Dual& x) { return x.v > 0 ? x : Dual{0}; }
Dual square(const Dual& x) { return x * x; }

// The regularizer's slope at exp(h).
Dual divergence_score(const DpoLossOptions& o, const Dual& h) {
  switch (o.f_divergence_type) {
    case FDivergence::reverse_kl:
      break;
    case FDivergence::forward_kl:
      return 1 - exp(-1 * h);
    case FDivergence::js_divergence:
      return log_sigmoid(h) + std::log(2.0);
    case FDivergence::alpha_divergence: {
      const double power = o.f_alpha_divergence_coef - 1;
      if (std::abs(power) < 1e-6) break;  // the limit is the logarithm
      const Dual t = power * h;
      return (1 / power) * (exp(t.v > 80 ? Dual{80} : t) + -1);  // TRL's bound
    }
  }
  return h;
}

Dual term(DpoLossType type, const DpoLossOptions& o, const PairLogProbs& p) {
  const Dual chosen{p.chosen - p.ref_chosen, 1, 0}, rejected{p.rejected - p.ref_rejected, 0, 1};  // log-ratios
  const Dual chosen_score = divergence_score(o, chosen), rejected_score = divergence_score(o, rejected);
  const Dual margin = o.beta * (chosen_score - rejected_score);
  const Dual mean_margin = (1 / static_cast<double>(std::max<int64_t>(1, p.chosen_tokens))) * chosen_score -
                           (1 / static_cast<double>(std::max<int64_t>(1, p.rejected_tokens))) * rejected_score;
  const double smooth = o.label_smoothing;
  switch (type) {
    case DpoLossType::sigmoid:
      return -1 * log_sigmoid(margin);
    case DpoLossType::hinge:
      return relu(1 - margin);
    case DpoLossType::ipo:
      return square(mean_margin + -1 / (2 * o.beta));
    case DpoLossType::exo_pair:
      return sigmoid(margin) * (log_sigmoid(margin) + -std::log1p(-smooth)) +
             sigmoid(-1 * margin) * (log_sigmoid(-1 * margin) + -std::log(smooth));
    case DpoLossType::nca_pair:
      return -1 * log_sigmoid(o.beta * chosen) - 0.5 * log_sigmoid(-o.beta * chosen) -
             0.5 * log_sigmoid(-o.beta * rejected);
    case DpoLossType::robust:
      return (1 / (1 - 2 * smooth)) * (smooth * log_sigmoid(-1 * margin) - (1 - smooth) * log_sigmoid(margin));
    case DpoLossType::bco_pair:
      return -1 * log_sigmoid(o.beta * chosen) - log_sigmoid(-o.beta * rejected);
    case DpoLossType::sppo_hard:
      return square(chosen + -0.5 / o.beta) + square(rejected + 0.5 / o.beta);
    case DpoLossType::apo_zero:
      return (1 - sigmoid(o.beta * chosen)) + sigmoid(o.beta * rejected);
    case DpoLossType::apo_down:
      return sigmoid(o.beta * chosen) + (1 - sigmoid(o.beta * (chosen - rejected)));
    case DpoLossType::discopop: {
      const Dual share = sigmoid((1 / o.discopop_tau) * margin);
      return (1 - share) * (-1 * log_sigmoid(margin)) + share * exp(-1 * margin);
    }
    case DpoLossType::sigmoid_norm:
      return -1 * log_sigmoid(o.beta * mean_margin);
    case DpoLossType::sft:
      break;
  }
  return Dual{-p.chosen, -1, 0};  // divided by tokens, not by pairs
}

// Losses that are made of the difference of the two scores.
bool takes_divergence(DpoLossType type) {
  switch (type) {
    case DpoLossType::nca_pair:
    case DpoLossType::bco_pair:
    case DpoLossType::sppo_hard:
    case DpoLossType::apo_zero:
    case DpoLossType::apo_down:
      return false;
    default:
      return true;
  }
}

}  // namespace

const std::vector<std::string>& dpo_loss_names() {
  static const std::vector<std::string> names = {"sigmoid",  "hinge",    "ipo",         "exo_pair", "nca_pair",
                                                 "robust",   "bco_pair", "sppo_hard",   "apo_zero", "apo_down",
                                                 "discopop", "sft",      "sigmoid_norm"};
  return names;
}

DpoLossType dpo_loss_from_name(const std::string& name) {
  const auto& names = dpo_loss_names();
  const auto at = std::find(names.begin(), names.end(), name);
  if (at == names.end()) {
    std::string known;
    for (const std::string& n : names) known += (known.empty() ? "" : ", ") + n;
    const std::string nearest = nearest_name(name, names);
    fail("loss_type: there is no '{}'{}; known are {}", name,
         nearest.empty() ? "" : ", did you mean '" + nearest + "'?", known);
  }
  return static_cast<DpoLossType>(at - names.begin());
}

void DpoLossOptions::validate() const {
  auto has = [&](DpoLossType type) { return std::find(loss_type.begin(), loss_type.end(), type) != loss_type.end(); };
  check(!loss_type.empty(), "loss_type is empty; name one, such as sigmoid");
  check(loss_weights.empty() || loss_weights.size() == loss_type.size(),
        "loss_weights has {} values for the {} losses of loss_type", loss_weights.size(), loss_type.size());
  check(beta > 0 && std::isfinite(beta), "beta {} must be positive", beta);
  check(label_smoothing >= 0 && label_smoothing < 0.5, "label_smoothing {} must be in [0, 0.5)", label_smoothing);
  check(!has(DpoLossType::exo_pair) || label_smoothing > 0,
        "loss_type exo_pair needs label_smoothing, 1e-3 in its paper");
  check(label_smoothing == 0 || has(DpoLossType::exo_pair) || has(DpoLossType::robust),
        "label_smoothing {} has no effect: loss_type must be robust or exo_pair", label_smoothing);
  check(discopop_tau > 0, "discopop_tau {} must be positive", discopop_tau);
  for (const DpoLossType type : loss_type)
    check(f_divergence_type == FDivergence::reverse_kl || takes_divergence(type),
          "f_divergence_type: loss_type {} has reverse_kl alone", dpo_loss_names()[static_cast<size_t>(type)]);
}

PairLoss dpo_pair_loss(const DpoLossOptions& options, const PairLogProbs& pair, int64_t pairs, int64_t chosen_tokens) {
  PairLoss out;
  for (size_t i = 0; i < options.loss_type.size(); ++i) {
    const DpoLossType type = options.loss_type[i];
    const double weight = options.loss_weights.empty() ? 1 : options.loss_weights[i];
    const Dual loss =
        (weight / static_cast<double>(type == DpoLossType::sft ? chosen_tokens : pairs)) * term(type, options, pair);
    out.value += loss.v;
    out.dchosen += loss.c;
    out.drejected += loss.r;
  }
  return out;
}

}  // namespace tenon::rl
