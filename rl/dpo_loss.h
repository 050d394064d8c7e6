// The arithmetic of direct preference optimization, free of models: the loss of a pair of answers from their
// log-probabilities, and its gradient.
//
// DPO (Rafailov et al. 2023, arXiv 2305.18290), with h_w, h_l the log-ratios log p / p_ref of the chosen and the
// rejected answer (sums over their tokens):
//
//   loss = -log sigmoid(beta (h_w - h_l))
//
// Settings and their meaning are those of TRL's DPOConfig (1.16), and the numbers TRL's own
// (tests/rl/dpo_loss_test.cpp). Its older rpo_alpha is loss_type = sigmoid, sft with loss_weights = 1, rpo_alpha.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenon::rl {

enum class DpoLossType {
  sigmoid,       // DPO
  hinge,         // max(0, 1 - beta (h_w - h_l)) (SLiC, arXiv 2305.10425)
  ipo,           // of means over tokens (Azar et al. 2023, arXiv 2310.12036)
  exo_pair,      // needs label_smoothing (arXiv 2402.00856)
  nca_pair,      // arXiv 2402.05369
  robust,        // of labels that are wrong with probability label_smoothing (arXiv 2403.00409)
  bco_pair,      // arXiv 2404.04656
  sppo_hard,     // arXiv 2405.00675
  apo_zero,      // arXiv 2408.06266
  apo_down,      // the same paper
  discopop,      // arXiv 2406.08414
  sft,           // mean of -log p over the tokens of the chosen answers
  sigmoid_norm,  // DPO of means over tokens (Tulu 3, arXiv 2411.15124)
};

/// What h is made of, with u = p / p_ref: log u, or the slope of another divergence at u (f-DPO, arXiv 2309.16240).
enum class FDivergence { reverse_kl, forward_kl, js_divergence, alpha_divergence };

struct DpoLossOptions {
  std::vector<DpoLossType> loss_type = {DpoLossType::sigmoid};
  std::vector<double> loss_weights;  // one a loss type; empty: 1 each
  double beta = 0.1;
  double label_smoothing = 0;
  double discopop_tau = 0.05;
  FDivergence f_divergence_type = FDivergence::reverse_kl;
  double f_alpha_divergence_coef = 0.5;

  /// Throws Error for values out of range and for settings that contradict each other.
  void validate() const;
};

/// The names of DpoLossType, in its order.
const std::vector<std::string>& dpo_loss_names();
/// Error that names the nearest one when there is none such.
DpoLossType dpo_loss_from_name(const std::string& name);

struct PairLogProbs {
  double chosen = 0, rejected = 0;          // sums over the answers' tokens
  double ref_chosen = 0, ref_rejected = 0;  // of the reference
  int64_t chosen_tokens = 1, rejected_tokens = 1;
};

/// A loss and its derivatives by the two log-probabilities.
struct PairLoss {
  double value = 0, dchosen = 0, drejected = 0;
};

/// The pair's part of the loss of a step with `pairs` pairs, whose chosen answers have `chosen_tokens` tokens in all.
PairLoss dpo_pair_loss(const DpoLossOptions& options, const PairLogProbs& pair, int64_t pairs, int64_t chosen_tokens);

}  // namespace tenon::rl
