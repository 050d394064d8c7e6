// Work in parallel on OpenMP's pool, the one that oneDNN uses too. Nothing here opens a second pool, and no header
// needs OpenMP.
//
// Results must not depend on the number of threads: reductions go over RowBlocks, whose number follows from the rows
// alone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace tenon {

/// Threads that Tenon's work uses; at the start what OpenMP offers (OMP_NUM_THREADS, else the processors of this
/// process).
int num_threads();
/// At least 1. A setting of Tenon alone: the host's OpenMP settings stay as they are.
void set_num_threads(int count);

/// Makes num_threads() the default of OpenMP regions that this thread opens (in oneDNN, say), and restores the host's
/// at the end.
class ThreadCountScope {
 public:
  ThreadCountScope();
  ~ThreadCountScope();
  ThreadCountScope(const ThreadCountScope&) = delete;
  ThreadCountScope& operator=(const ThreadCountScope&) = delete;

 private:
  int previous_;
};

/// After fork without exec the pool's threads are gone and a parallel region would hang: throws Error in such a child.
void check_forked();

namespace detail {
using RangeFunction = void (*)(void* context, int64_t begin, int64_t end);
void parallel_ranges(int64_t n, int64_t grain, RangeFunction, void* context);
void parallel_items(int64_t n, RangeFunction, void* context);
}  // namespace detail

/// f(begin, end) over a partition of [0, n) into at most num_threads() ranges of at least `grain`. Sequential when n <=
/// grain or inside a parallel region. The first exception (of the lowest range) is thrown again to the caller.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& f) {
  using Function = std::remove_reference_t<F>;
  detail::parallel_ranges(
      n, grain, [](void* context, int64_t begin, int64_t end) { (*static_cast<Function*>(context))(begin, end); },
      const_cast<void*>(static_cast<const void*>(std::addressof(f))));
}

/// Rows in at most 64 blocks of at least `at_least` rows: fixed by the rows, never by the number of threads.
struct RowBlocks {
  static constexpr int64_t kMaxBlocks = 64;

  RowBlocks(int64_t rows, int64_t at_least)
      : rows_(rows), size_(std::max({at_least, (rows + kMaxBlocks - 1) / kMaxBlocks, int64_t{1}})) {}

  int64_t count() const { return (rows_ + size_ - 1) / size_; }
  int64_t begin(int64_t block) const { return block * size_; }
  int64_t end(int64_t block) const { return std::min(rows_, (block + 1) * size_); }

 private:
  int64_t rows_, size_;
};

/// f(block, begin, end) for every block; a free thread takes the next one.
template <class F>
void parallel_blocks(const RowBlocks& blocks, F&& f) {
  struct Context {
    const RowBlocks& blocks;
    std::remove_reference_t<F>& f;
  } context{blocks, f};
  detail::parallel_items(
      blocks.count(),
      [](void* raw, int64_t block, int64_t) {
        auto& c = *static_cast<Context*>(raw);
        c.f(block, c.blocks.begin(block), c.blocks.end(block));
      },
      &context);
}

/// f(i) for i in [0, n), for items of unequal cost; a free thread takes the next one.
template <class F>
void parallel_each(int64_t n, F&& f) {
  using Function = std::remove_reference_t<F>;
  detail::parallel_items(
      n, [](void* context, int64_t i, int64_t) { (*static_cast<Function*>(context))(i); },
      const_cast<void*>(static_cast<const void*>(std::addressof(f))));
}

}  // namespace tenon
