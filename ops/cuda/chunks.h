// One launch over many tensors: a table of them in the kernel's parameters, cut into chunks, a chunk a block.
//
//   using Table = ChunkTable<Entry, 64>;
//   for_each_table<Table>(tensors.size(), kChunk, [&](size_t i) { return Entry{...}; },
//                         [&](const Table& table, unsigned chunks) { launch(kernel, {.grid = dim3(chunks)...}, table);
//                         });
//
// and in the kernel, for the elements of entry i from `begin` on, of which kChunk are the block's:
//
//   const int i = table.find(blockIdx.x);
//   const int64_t begin = table.begin(i, blockIdx.x);
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../runtime/cuda/launch.h"

namespace tenon::ops::cuda {

/// An entry has the number of its elements as `n`. At most 4 KiB, what any GPU takes as parameters.
template <class E, int kEntries>
struct ChunkTable {
  using Entry = E;
  static constexpr int kMax = kEntries;

  Entry entry[kEntries];
  unsigned first[kEntries];  // chunk of the launch
  int count;
  int chunk;  // elements

  __device__ int find(unsigned block) const {
    int low = 0, high = count;  // first[low] <= block < first[high]
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      (first[middle] <= block ? low : high) = middle;
    }
    return low;
  }
  __device__ int64_t begin(int i, unsigned block) const { return int64_t{block - first[i]} * chunk; }
};

/// `entry(i)` for all i below n, in as many tables as it takes; `run(table, chunks)` launches one. Entries without
/// elements are left out.
template <class Table, class EntryOf, class Run>
void for_each_table(size_t n, int chunk, EntryOf&& entry, Run&& run) {
  static_assert(sizeof(Table) <= 4096 - 64);  // 64 for the other parameters
  Table table{};
  table.chunk = chunk;
  unsigned chunks = 0;
  for (size_t i = 0; i < n; ++i) {
    const typename Table::Entry one = entry(i);
    if (one.n == 0) continue;
    table.entry[table.count] = one;
    table.first[table.count++] = chunks;
    chunks += static_cast<unsigned>((one.n + chunk - 1) / chunk);
    if (table.count < Table::kMax) continue;
    run(table, chunks);
    table.count = 0;
    chunks = 0;
  }
  if (table.count) run(table, chunks);
}

}  // namespace tenon::ops::cuda
