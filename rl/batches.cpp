#include "batches.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "../runtime/check.h"
#include "../runtime/random.h"

namespace tenon::rl {

std::vector<std::pair<int64_t, int64_t>> micro_batches(std::span<const int64_t> lengths, int64_t budget) {
  std::vector<std::pair<int64_t, int64_t>> out;
  int64_t tokens = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(lengths.size()); ++i) {
    if (out.empty() || tokens + lengths[i] > budget) {
      out.emplace_back(i, i);
      tokens = 0;
    }
    tokens += lengths[i];
    out.back().second = i + 1;
  }
  return out;
}

int64_t total_steps(int64_t max_steps, double epochs, int64_t rows, int64_t rows_per_step) {
  if (max_steps > 0) return max_steps;
  return static_cast<int64_t>(std::ceil(epochs * static_cast<double>(rows) / static_cast<double>(rows_per_step)));
}

int64_t RowOrder::at(int64_t index) {
  const int64_t epoch = index / rows_;
  if (epoch != epoch_) {
    order_.resize(rows_);
    std::iota(order_.begin(), order_.end(), int64_t{0});
    Rng(seed_, static_cast<uint64_t>(epoch)).shuffle(order_);
    epoch_ = epoch;
  }
  return order_[index % rows_];
}

std::vector<int64_t> RowOrder::take(int64_t first, int64_t count) {
  std::vector<int64_t> out(count);
  for (int64_t i = 0; i < count; ++i) out[i] = at(first + i);
  return out;
}

}  // namespace tenon::rl
