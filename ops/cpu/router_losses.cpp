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

}  // namespace

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
