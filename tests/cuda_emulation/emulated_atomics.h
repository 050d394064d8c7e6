// Atomics: other threads may run just before one, so that waiting loops that poll with atomics end.
#pragma once

#include <algorithm>
#include <type_traits>

#include "machine.h"

namespace tenon::emulation {
template <class T, class F>
[[gnu::noinline, gnu::no_sanitize("thread")]] T atomic_update(T* p, F f) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(T)) machine.fail("misaligned atomic");
  if (machine.random() % 4 == 0) machine.yield_ready();
  touch(*machine.current, p, sizeof(T), Access::atomic);
  T old = *p;
  *p = f(old);
  return old;
}
}  // namespace tenon::emulation
#define TENON_ATOMIC(name, expression)                                                                  \
  template <class T>                                                                                    \
  T name(T* p, std::type_identity_t<T> v) {                                                             \
    return tenon::emulation::atomic_update(p, [v]([[maybe_unused]] T old) -> T { return expression; }); \
  }
TENON_ATOMIC(atomicAdd, old + v)
TENON_ATOMIC(atomicSub, old - v)
TENON_ATOMIC(atomicMin, std::min(old, v))
TENON_ATOMIC(atomicMax, std::max(old, v))
TENON_ATOMIC(atomicAnd, old& v)
TENON_ATOMIC(atomicOr, old | v)
TENON_ATOMIC(atomicXor, old ^ v)
TENON_ATOMIC(atomicExch, v)
TENON_ATOMIC(atomicInc, old >= v ? 0 : old + 1)
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> compare, std::type_identity_t<T> v) {
  return tenon::emulation::atomic_update(p, [=](T old) { return old == compare ? v : old; });
}
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
