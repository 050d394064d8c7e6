// How a run's rows become steps, and a step's sequences micro-batches.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace tenon::rl {

/// Cuts sequences into micro-batches: consecutive ones whose lengths sum to at most `budget` tokens, a longer one by
/// itself. [begin, end) pairs.
std::vector<std::pair<int64_t, int64_t>> micro_batches(std::span<const int64_t> lengths, int64_t budget);

/// Steps of a run: max_steps where that is positive, else what `epochs` passes over `rows` make at `rows_per_step`,
/// rounded up.
int64_t total_steps(int64_t max_steps, double epochs, int64_t rows, int64_t rows_per_step);

/// Which row a run visits as its `index`-th: epoch after epoch, each in an order that depends on (seed, epoch) alone.
class RowOrder {
 public:
  RowOrder(int64_t rows, uint64_t seed) : rows_(rows), seed_(seed) {}
  int64_t at(int64_t index);
  /// Rows [first, first + count).
  std::vector<int64_t> take(int64_t first, int64_t count);

 private:
  int64_t rows_;
  uint64_t seed_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;
};

}  // namespace tenon::rl
