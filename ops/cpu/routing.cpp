#include "routing.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "../../runtime/check.h"
#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"
#include "softmax_row.h"

namespace tenon::ops::cpu {
namespace {

// Keeps a sum of sigmoid scores that all underflowed from being divided by; DeepSeek-V3's constant.
constexpr float kTiny = 1e-20f;
// Tokens for each thread: about as much work as waking it.
constexpr int64_t kGrain = 64;

/// Indices of the `count` largest values with mask set, best first, the lower index of equals; a NaN is taken only when
/// nothing else is left.
void choose(const float* value, uint8_t* candidate, int64_t n, int count, int32_t* chosen) {
  for (int j = 0; j < count; ++j) {
    int64_t best = -1;
    for (int64_t i = 0; i < n; ++i)
      if (candidate[i] && (best < 0 || value[i] > value[best] || (std::isnan(value[best]) && !std::isnan(value[i]))))
        best = i;
    candidate[best] = 0;
    chosen[j] = static_cast<int32_t>(best);
  }
}

float best_of(const float* value, int64_t n) { return *std::max_element(value, value + n); }

float sum_of_two_best(const float* value, int64_t n) {
  if (n == 1) return value[0];
  float first = -std::numeric_limits<float>::infinity(), second = first;
  for (int64_t i = 0; i < n; ++i) {
    second = std::max(second, std::min(first, value[i]));
    first = std::max(first, value[i]);
  }
  return first + second;
}

struct TokenScratch {
  float* selection;    // [experts] scores + bias
  float* mark;         // [n_group]
  uint8_t* candidate;  // [experts]
  uint8_t* group;      // [n_group]
  int32_t* chosen;     // [topk_group]
};

void choose_experts(const float* scores, const float* bias, int64_t experts, const RoutingOptions& o,
                    const TokenScratch& s, int32_t* chosen) {
  const float* selection = scores;
  if (bias) {
    for (int64_t e = 0; e < experts; ++e) s.selection[e] = scores[e] + bias[e];
    selection = s.selection;
  }
  if (o.topk_group < o.n_group) {
    const int64_t size = experts / o.n_group;
    for (int g = 0; g < o.n_group; ++g)
      s.mark[g] = o.score == RouterScore::softmax ? best_of(selection + g * size, size)
                                                  : sum_of_two_best(selection + g * size, size);
    std::fill_n(s.group, o.n_group, uint8_t{1});
    choose(s.mark, s.group, o.n_group, o.topk_group, s.chosen);
    std::fill_n(s.candidate, experts, uint8_t{0});
    for (int j = 0; j < o.topk_group; ++j) std::fill_n(s.candidate + s.chosen[j] * size, size, uint8_t{1});
  } else {
    std::fill_n(s.candidate, experts, uint8_t{1});
  }
  choose(selection, s.candidate, experts, o.top_k, chosen);
}

}  // namespace

void check_forced_experts(const Tensor& experts_in, int64_t num_experts) {
  const Tensor experts = experts_in.contiguous();
  const int64_t tokens = experts.dim(0), k = experts.dim(1);
  for (int64_t t = 0; t < tokens; ++t) {
    const int32_t* e = experts.row<int32_t>(t);
    for (int64_t j = 0; j < k; ++j) {
      check(e[j] >= 0 && e[j] < num_experts, "route: token {} is forced to expert {} of {}", t, e[j], num_experts);
      check(std::find(e, e + j, e[j]) == e + j, "route: token {} is forced to expert {} twice", t, e[j]);
    }
  }
}

void route(Routing& routing, const Tensor& logits_in, const Tensor* selection_bias, const RoutingOptions& options,
           const Tensor* forced_experts) {
  const Tensor logits = logits_in.contiguous(), bias = selection_bias ? selection_bias->contiguous() : Tensor();
  const Tensor forced = forced_experts ? forced_experts->contiguous() : Tensor();
  const int64_t tokens = logits.dim(0), experts = logits.dim(1), k = options.top_k;
  parallel_for(tokens, kGrain, [&](int64_t begin, int64_t end) {
    auto selection = Workspace::host().get<float>(experts);
    auto mark = Workspace::host().get<float>(options.n_group);
    auto candidate = Workspace::host().get<uint8_t>(experts);
    auto group = Workspace::host().get<uint8_t>(options.n_group);
    auto groups = Workspace::host().get<int32_t>(options.topk_group);
    const TokenScratch scratch{selection, mark, candidate, group, groups};
    for (int64_t t = begin; t < end; ++t) {
      float* scores = routing.scores.row<float>(t);
      int32_t* chosen = routing.experts.row<int32_t>(t);
      float* weights = routing.weights.row<float>(t);
      if (options.score == RouterScore::softmax)
        softmax_row(logits.row<float>(t), experts, scores);
      else
        sigmoid_row(logits.row<float>(t), experts, scores);
      if (forced_experts)
        std::copy_n(forced.row<int32_t>(t), k, chosen);
      else
        choose_experts(scores, selection_bias ? bias.data<float>() : nullptr, experts, options, scratch, chosen);

      float sum = kTiny;
      for (int64_t j = 0; j < k; ++j) sum += scores[chosen[j]];
      const float factor = options.normalize ? options.scale / sum : options.scale;
      for (int64_t j = 0; j < k; ++j) weights[j] = scores[chosen[j]] * factor;
    }
  });
}

// With S the sum of chosen scores:  ds_j = scale (dw_j - sum_i dw_i s_i / S) / S  when normalised, scale dw_j when not.
void route_backward(Tensor& dlogits, const Tensor& dweights_in, const Routing& routing, const RoutingOptions& options) {
  const Tensor dweights = dweights_in.contiguous();
  const int64_t tokens = dlogits.dim(0), experts = dlogits.dim(1), k = routing.experts.dim(1);
  parallel_for(tokens, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* scores = routing.scores.row<float>(t);
      const int32_t* chosen = routing.experts.row<int32_t>(t);
      const float* dw = dweights.row<float>(t);
      float* d = dlogits.row<float>(t);
      std::fill_n(d, experts, 0.0f);

      float sum = kTiny, dot = 0;
      for (int64_t j = 0; j < k; ++j) sum += scores[chosen[j]], dot += dw[j] * scores[chosen[j]];
      const float shift = options.normalize ? dot / sum : 0,
                  factor = options.normalize ? options.scale / sum : options.scale;
      for (int64_t j = 0; j < k; ++j) d[chosen[j]] = factor * (dw[j] - shift);

      if (options.score == RouterScore::softmax) {
        float inner = 0;
        for (int64_t j = 0; j < k; ++j) inner += d[chosen[j]] * scores[chosen[j]];
        for (int64_t e = 0; e < experts; ++e) d[e] = scores[e] * (d[e] - inner);
      } else {
        for (int64_t j = 0; j < k; ++j) d[chosen[j]] *= scores[chosen[j]] * (1 - scores[chosen[j]]);
      }
    }
  });
}

}  // namespace tenon::ops::cpu
