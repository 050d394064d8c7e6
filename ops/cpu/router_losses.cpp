#include "router_losses.h"

#include <algorithm>

#include "../../runtime/check.h"
#include "../../runtime/threads.h"
#include "../../runtime/workspace.h"
#include "softmax_row.h"

namespace tenon::ops::cpu {
namespace {

constexpr int64_t kGrain = 64;  // rows for each thread

/// Sums over all rows in double, of a block of rows each and then in order: the same bits for any number of threads.
template <class F>
void sum_over_rows(int64_t rows, int64_t width, double* sum, F&& add_row) {
  const RowBlocks blocks(rows, kGrain);
  auto partial = Workspace::host().zeros<double>(blocks.count() * width);
  parallel_blocks(blocks, [&](int64_t block, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) add_row(r, &partial[block * width]);
  });
  std::fill_n(sum, width, 0.0);
  for (int64_t block = 0; block < blocks.count(); ++block)
    for (int64_t i = 0; i < width; ++i) sum[i] += partial[block * width + i];
}

/// The sequence of each of `rows` rows.
void sequences_of_rows(const Tensor& cu_seqlens, int64_t rows, int32_t* out) {
  const int32_t* starts = cu_seqlens.data<int32_t>();
  const int64_t sequences = cu_seqlens.numel() - 1;
  check(starts[0] == 0 && starts[sequences] == rows, "sequence_balance_loss: cu_seqlens goes from {} to {}, not to {}",
        starts[0], starts[sequences], rows);
  for (int64_t s = 0; s < sequences; ++s)
    check(starts[s] < starts[s + 1], "sequence_balance_loss: sequence {} goes from {} to {}", s, starts[s],
          starts[s + 1]);
  for (int64_t s = 0; s < sequences; ++s) std::fill(out + starts[s], out + starts[s + 1], static_cast<int32_t>(s));
}

/// What the gradient of a sequence's loss with respect to each share s_e / sum s is, but for 1 / tokens: E / (k T_s)
/// load_e, of which sum load = k T_s. out `[sequences, experts]`.
void pulls(const Tensor& load, float* out) {
  const int64_t sequences = load.dim(0), width = load.dim(1);
  for (int64_t s = 0; s < sequences; ++s) {
    const int32_t* row = load.row<int32_t>(s);
    int64_t sum = 0;
    for (int64_t e = 0; e < width; ++e) sum += row[e];
    for (int64_t e = 0; e < width; ++e)
      out[s * width + e] = static_cast<float>(static_cast<double>(width) * row[e] / static_cast<double>(sum));
  }
}

/// The shares of a row; returns what the scores were divided by.
float shares_row(const float* logits, int64_t width, RouterScore score, float* shares) {
  if (score == RouterScore::softmax) {
    softmax_row(logits, width, shares);
    return 1;
  }
  sigmoid_row(logits, width, shares);
  float sum = 1e-20f;  // as the weights of the gates have it (ops/routing.h)
  for (int64_t e = 0; e < width; ++e) sum += shares[e];
  for (int64_t e = 0; e < width; ++e) shares[e] /= sum;
  return sum;
}

}  // namespace

void sequence_balance_loss(SequenceBalance& result, const Tensor& logits_in, const Tensor& experts_in,
                           const Tensor& cu_seqlens_in, RouterScore score) {
  const Tensor logits = logits_in.contiguous(), experts = experts_in.contiguous(),
               cu_seqlens = cu_seqlens_in.contiguous();
  const int64_t rows = logits.dim(0), width = logits.dim(1), k = experts.dim(1);
  auto sequence = Workspace::host().get<int32_t>(rows);
  sequences_of_rows(cu_seqlens, rows, sequence);
  int32_t* load = result.load.data<int32_t>();
  std::fill_n(load, result.load.numel(), 0);
  const int32_t* expert = experts.data<int32_t>();
  for (int64_t s = 0; s < rows * k; ++s) {
    check(expert[s] >= 0 && expert[s] < width, "sequence_balance_loss: token {} goes to expert {} of {}", s / k,
          expert[s], width);
    ++load[sequence[s / k] * width + expert[s]];
  }
  auto pull = Workspace::host().get<float>(result.load.numel());
  pulls(result.load, pull);
  double sum = 0;
  sum_over_rows(rows, 1, &sum, [&](int64_t r, double* add) {
    auto shares = Workspace::host().get<float>(width);
    shares_row(logits.row<float>(r), width, score, shares);
    for (int64_t e = 0; e < width; ++e) *add += static_cast<double>(pull[sequence[r] * width + e]) * shares[e];
  });
  *result.loss.data<float>() = static_cast<float>(sum / static_cast<double>(rows));
}

// With g the pull, p the shares and S the sum of the scores s: d/ds_e = (g_e - sum_i g_i p_i) / S, and the sigmoid's
// slope is s (1 - s) = p S (1 - s).
void sequence_balance_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits_in,
                                    const Tensor& load_in, const Tensor& cu_seqlens_in, RouterScore score) {
  const Tensor logits = logits_in.contiguous(), load = load_in.contiguous(), cu_seqlens = cu_seqlens_in.contiguous();
  const int64_t rows = logits.dim(0), width = logits.dim(1);
  auto sequence = Workspace::host().get<int32_t>(rows);
  auto pull = Workspace::host().get<float>(load.numel());
  sequences_of_rows(cu_seqlens, rows, sequence);
  pulls(load, pull);
  const float factor = dloss.item<float>() / static_cast<float>(rows);
  parallel_for(rows, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* d = dlogits.row<float>(r);
      const float* g = &pull[sequence[r] * width];
      const float sum = shares_row(logits.row<float>(r), width, score, d);
      float mean = 0;
      for (int64_t e = 0; e < width; ++e) mean += g[e] * d[e];
      for (int64_t e = 0; e < width; ++e) {
        // Of the softmax the share is the score and sums to 1 anyway; of the sigmoid the score is share * sum.
        const float slope = score == RouterScore::softmax ? d[e] : d[e] * (1 - d[e] * sum);
        d[e] = factor * slope * (g[e] - mean);
      }
    }
  });
}

void load_balancing_loss(LoadBalancing& result, const Tensor& logits_in, const Tensor& experts_in) {
  const Tensor logits = logits_in.contiguous(), experts = experts_in.contiguous();
  const int64_t rows = logits.dim(0), width = logits.dim(1), k = experts.dim(1);
  int32_t* load = result.load.data<int32_t>();
  std::fill_n(load, width, 0);
  const int32_t* expert = experts.data<int32_t>();
  for (int64_t s = 0; s < rows * k; ++s) {
    check(expert[s] >= 0 && expert[s] < width, "load_balancing_loss: token {} goes to expert {} of {}", s / k,
          expert[s], width);
    ++load[expert[s]];
  }
  auto sum = Workspace::host().get<double>(width);
  sum_over_rows(rows, width, sum.data(), [&](int64_t r, double* add) {
    auto p = Workspace::host().get<float>(width);
    softmax_row(logits.row<float>(r), width, p);
    for (int64_t e = 0; e < width; ++e) add[e] += p[e];
  });
  double loss = 0;
  const double share = 1.0 / static_cast<double>(rows);
  for (int64_t e = 0; e < width; ++e) loss += load[e] * share * sum[e] * share;
  *result.loss.data<float>() = static_cast<float>(static_cast<double>(width) * loss);
}

// dlogits[r, e] = dloss * E / rows * p_e (f_e - sum_i f_i p_i)
void load_balancing_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits_in,
                                  const Tensor& load_in) {
  const Tensor logits = logits_in.contiguous(), load = load_in.contiguous();
  const int64_t rows = logits.dim(0), width = logits.dim(1);
  const float share = 1 / static_cast<float>(rows),
              factor = dloss.item<float>() * static_cast<float>(width) * share * share;
  parallel_for(rows, kGrain, [&](int64_t begin, int64_t end) {
    const int32_t* f = load.data<int32_t>();
    for (int64_t r = begin; r < end; ++r) {
      float* d = dlogits.row<float>(r);
      softmax_row(logits.row<float>(r), width, d);
      float mean = 0;
      for (int64_t e = 0; e < width; ++e) mean += static_cast<float>(f[e]) * d[e];
      for (int64_t e = 0; e < width; ++e) d[e] *= factor * (static_cast<float>(f[e]) - mean);
    }
  });
}

void router_z_loss(Tensor& loss, const Tensor& logits_in) {
  const Tensor logits = logits_in.contiguous();
  const int64_t rows = logits.dim(0), width = logits.dim(1);
  double sum = 0;
  sum_over_rows(rows, 1, &sum, [&](int64_t r, double* add) {
    auto p = Workspace::host().get<float>(width);
    const double lse = softmax_row(logits.row<float>(r), width, p);
    *add += lse * lse;
  });
  *loss.data<float>() = static_cast<float>(sum / static_cast<double>(rows));
}

void router_z_loss_backward(Tensor& dlogits, const Tensor& dloss, const Tensor& logits_in) {
  const Tensor logits = logits_in.contiguous();
  const int64_t rows = logits.dim(0), width = logits.dim(1);
  const float factor = 2 * dloss.item<float>() / static_cast<float>(rows);
  parallel_for(rows, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* d = dlogits.row<float>(r);
      const float scale = factor * softmax_row(logits.row<float>(r), width, d);
      for (int64_t e = 0; e < width; ++e) d[e] *= scale;
    }
  });
}

}  // namespace tenon::ops::cpu
