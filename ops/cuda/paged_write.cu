#include "paged_write.h"

#include <algorithm>

#include "paged_batch.h"
#include "vectors.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = 256;

// A token's row, of `items` a head, and the pages it goes to.
template <class U>
struct Rows {
  const U* from;
  U* pages;
  int items;
};

// A token is blockIdx.x, and its numbers are shared by the blocks of grid.y: no 64-bit divisions, which would take
// longer than the memory.
template <class U>
__global__ void __launch_bounds__(kThreads)
    write_kernel(Rows<U> k, Rows<U> v, const int32_t* slots, int heads, tenon::cuda::FaultSlot faults) {
  const int64_t token = blockIdx.x, slot = slots[token];
  if (slot < 0) return;
  if (slot >= faults.bound) {
    if (threadIdx.x == 0 && blockIdx.y == 0) report(faults, slot, token);
    return;
  }
  const int k_items = heads * k.items, row_items = k_items + heads * v.items;
  const int64_t page = slot / kPage, place = slot % kPage;
  for (int at = blockIdx.y * kThreads + threadIdx.x; at < row_items; at += gridDim.y * kThreads) {
    const bool is_key = at < k_items;
    const Rows<U>& rows = is_key ? k : v;
    const int in_row = is_key ? at : at - k_items, head = in_row / rows.items, column = in_row - head * rows.items;
    rows.pages[((page * heads + head) * kPage + place) * rows.items + column] =
        rows.from[token * heads * rows.items + in_row];
  }
}

}  // namespace

void write_pages(const Tensor& k, Tensor& k_pages, const Tensor* v, Tensor* v_pages, const Tensor& slots,
                 int64_t heads) {
  const int64_t tokens = slots.numel();
  if (tokens == 0 || heads == 0) return;
  const int64_t k_bytes = static_cast<int64_t>(k.nbytes()) / (tokens * heads),
                v_bytes = v ? static_cast<int64_t>(v->nbytes()) / (tokens * heads) : 0;
  bool packs = k_bytes % 16 == 0 && v_bytes % 16 == 0;
  for (const Tensor* t : {&k, static_cast<const Tensor*>(&k_pages), v, static_cast<const Tensor*>(v_pages)})
    packs = packs && (!t || is_aligned(t->raw(), 16));
  const auto run = [&]<class U>() {
    const int64_t size = sizeof(U), items = heads * (k_bytes + v_bytes) / size;
    const Rows<U> k_rows{static_cast<const U*>(k.raw()), static_cast<U*>(k_pages.raw()),
                         static_cast<int>(k_bytes / size)};
    Rows<U> v_rows{nullptr, nullptr, 0};
    if (v)
      v_rows = {static_cast<const U*>(v->raw()), static_cast<U*>(v_pages->raw()), static_cast<int>(v_bytes / size)};
    const dim3 grid(static_cast<unsigned>(tokens),
                    static_cast<unsigned>(std::min<int64_t>((items + kThreads - 1) / kThreads, 64)));
    launch(write_kernel<U>, {.grid = grid, .block = dim3(kThreads)}, k_rows, v_rows, slots.data<int32_t>(),
           static_cast<int>(heads), tenon::cuda::fault_slot("slot", k_pages.dim(0) * kPage));
  };
  if (packs)
    run.template operator()<uint4>();
  else if (size_of(k.dtype()) == 2)
    run.template operator()<uint16_t>();
  else
    run.template operator()<uint32_t>();
}

}  // namespace tenon::ops::cuda
