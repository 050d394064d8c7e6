// Barriers and warp collectives. The last lane to arrive does a collective for all.
#pragma once

#include <bit>
#include <cstring>
#include <functional>

#include "machine.h"

#define TENON_HERE tenon::emulation::Location where = tenon::emulation::Location::current()

namespace tenon::emulation {
inline unsigned block_barrier(bool predicate, const char* what, Location where) {
  return machine.barrier(0, blockDim.x * blockDim.y * blockDim.z, predicate, what, where);
}
}  // namespace tenon::emulation

inline void __syncthreads(TENON_HERE) { (void)tenon::emulation::block_barrier(false, "__syncthreads", where); }
inline int __syncthreads_count(int p, TENON_HERE) {
  return static_cast<int>(tenon::emulation::block_barrier(p, "__syncthreads_count", where));
}
inline int __syncthreads_or(int p, TENON_HERE) { return __syncthreads_count(p, where) > 0; }
inline int __syncthreads_and(int p, TENON_HERE) { return __syncthreads_count(!p, where) == 0; }

namespace tenon::emulation {

template <class F>
void for_lanes(unsigned mask, F f) {
  for (; mask; mask &= mask - 1) f(static_cast<unsigned>(std::countr_zero(mask)));
}

// Each lane receives `combine(lanes, lane)`.
template <class T, class R, class Combine>
R collective(unsigned mask, T value, const char* what, Location where, Combine combine) {
  struct Operands {
    T value;
    R result;
  } mine{value, R{}};
  machine.meet(mask, what, where, mine, [&](auto lanes) {
    for_lanes(mask, [&](unsigned lane) {
      lanes(lane).result = combine([&](unsigned l) -> T { return lanes(l).value; }, lane);
    });
  });
  return mine.result;
}

// `source(lane)` is evaluated by each lane for itself; a lane outside the mask or the exited ones give all-ones (NaN).
template <class T>
T shuffle(unsigned mask, T value, unsigned source, const char* what, Location where) {
  struct Operands {
    T value;
    unsigned source;
  };
  return collective<Operands, T>(mask, {value, source}, what, where, [mask](auto lanes, unsigned lane) {
    unsigned from = lanes(lane).source;
    if (mask >> from & 1) return lanes(from).value;
    T undefined;
    std::memset(static_cast<void*>(&undefined), 0xFF, sizeof undefined);
    return undefined;
  });
}
inline unsigned lane() { return machine.current->lane; }

template <class T, class F>
T reduce(unsigned mask, T value, const char* what, Location where, F f) {
  return collective<T, T>(mask, value, what, where, [&](auto lanes, unsigned) {
    T sum = lanes(std::countr_zero(mask));
    for_lanes(mask & (mask - 1), [&](unsigned l) { sum = f(sum, lanes(l)); });
    return sum;
  });
}

}  // namespace tenon::emulation

inline void __syncwarp(unsigned mask = ~0u, TENON_HERE) {
  (void)tenon::emulation::collective<int, int>(mask, 0, "__syncwarp", where, [](auto, unsigned) { return 0; });
  ++tenon::emulation::machine.current->warp_epoch;
}
template <class T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32, TENON_HERE) {
  unsigned l = tenon::emulation::lane();
  return tenon::emulation::shuffle(mask, v, (l & -width) | (source & (width - 1)), "__shfl_sync", where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int lanes, int width = 32, TENON_HERE) {
  unsigned l = tenon::emulation::lane(), from = l ^ lanes;
  return tenon::emulation::shuffle(mask, v, (from & -width) > (l & -width) ? l : from, "__shfl_xor_sync", where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, TENON_HERE) {
  unsigned l = tenon::emulation::lane();
  return tenon::emulation::shuffle(mask, v, (l & (width - 1)) < delta ? l : l - delta, "__shfl_up_sync", where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, TENON_HERE) {
  unsigned l = tenon::emulation::lane();
  return tenon::emulation::shuffle(mask, v, (l & (width - 1)) + delta >= unsigned(width) ? l : l + delta,
                                   "__shfl_down_sync", where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, TENON_HERE) {
  return tenon::emulation::reduce<unsigned>(mask, unsigned(predicate != 0) << tenon::emulation::lane(), "__ballot_sync",
                                            where, std::bit_or<>());
}
inline int __any_sync(unsigned mask, int p, TENON_HERE) { return __ballot_sync(mask, p, where) != 0; }
inline int __all_sync(unsigned mask, int p, TENON_HERE) { return __ballot_sync(mask, !p, where) == 0; }
template <class T>
unsigned __match_any_sync(unsigned mask, T v, TENON_HERE) {
  return tenon::emulation::collective<T, unsigned>(
      mask, v, "__match_any_sync", where, [mask](auto lanes, unsigned lane) {
        unsigned same = 0;
        tenon::emulation::for_lanes(mask, [&](unsigned l) { same |= unsigned(lanes(l) == lanes(lane)) << l; });
        return same;
      });
}
#define TENON_WARP_REDUCE(name, expression)                                                         \
  template <class T>                                                                                \
  T name(unsigned mask, T v, TENON_HERE) {                                                          \
    return tenon::emulation::reduce<T>(mask, v, #name, where, [](T a, T b) { return expression; }); \
  }
TENON_WARP_REDUCE(__reduce_add_sync, a + b)
TENON_WARP_REDUCE(__reduce_min_sync, std::min(a, b))
TENON_WARP_REDUCE(__reduce_max_sync, std::max(a, b))
TENON_WARP_REDUCE(__reduce_and_sync, a& b)
TENON_WARP_REDUCE(__reduce_or_sync, a | b)
TENON_WARP_REDUCE(__reduce_xor_sync, a ^ b)
