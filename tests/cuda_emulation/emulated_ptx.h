// The instructions of ops/cuda/ptx.h.
#pragma once

#include <cmath>
#include <cstdint>

#include "emulated_warp.h"

namespace tenon::ptx {
namespace emu = tenon::emulation;

namespace detail {
inline void copy_now(emu::AsyncCopy& c) {
  if (c.done) return;
  std::memcpy(c.to, c.from, c.valid_bytes);
  std::memset(static_cast<char*>(c.to) + c.valid_bytes, 0, c.bytes - c.valid_bytes);
  c.done = true;
}
}  // namespace detail

// The copy happens at once or as late as its wait, at random: a missing wait shows, and so does a buffer refilled while
// still in use.
inline void cp_async_16(void* to, const void* from, bool valid = true, TENON_HERE) {
  emu::Thread& t = *emu::machine.current;
  emu::machine.check_shared(to, "cp.async", where);
  emu::machine.check_row(to, 16, "cp.async", where), emu::machine.check_row(from, 16, "cp.async", where);
  emu::touch(t, to, 16, emu::Access::write);
  if (valid) emu::touch(t, from, 16, emu::Access::read);
  if (t.copies.empty()) t.copies.emplace_back();
  t.copies.back().push_back({to, from, 16, valid ? 16u : 0u});
  if (emu::machine.random() & 1) detail::copy_now(t.copies.back().back());
}
inline void cp_async_16_in_order(void* to, const void* from, bool valid = true, TENON_HERE) {
  cp_async_16(to, from, valid, where);
}
inline void cp_async_commit() {
  auto& groups = emu::machine.current->copies;
  groups.resize(groups.size() + (groups.empty() ? 2 : 1));
}
template <int kPending>
void cp_async_wait() {
  emu::Thread& t = *emu::machine.current;
  for (; t.copies.size() > kPending + 1; t.copies.erase(t.copies.begin()))
    for (emu::AsyncCopy& c : t.copies.front()) detail::copy_now(c), emu::touch(t, c.to, c.bytes, emu::Access::write);
}

inline int opaque(int x) { return x; }
inline float exp2_approx(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
}

template <int kCount, bool kTranspose>
void ldmatrix(uint32_t (&result)[kCount], const void* row, const char* what, emu::Location where) {
  struct Operands {
    const void* row;
    uint32_t* result;
  } mine{row, result};
  if (emu::lane() < kCount * 8) {
    emu::machine.check_row(row, 16, what, where);
    emu::machine.check_shared(row, what, where);
    emu::touch(*emu::machine.current, row, 16, emu::Access::read);
  }
  emu::machine.meet(~0u, what, where, mine, [](auto lanes) {
    for (int m = 0; m < kCount; ++m) {
      uint16_t matrix[8][8];
      for (int r = 0; r < 8; ++r) std::memcpy(matrix[r], lanes(m * 8 + r).row, sizeof matrix[r]);
      for (unsigned l = 0; l < 32; ++l) {
        unsigned i = l / 4, j = l % 4 * 2;
        lanes(l).result[m] = kTranspose ? matrix[j][i] | uint32_t{matrix[j + 1][i]} << 16
                                        : matrix[i][j] | uint32_t{matrix[i][j + 1]} << 16;
      }
    }
  });
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, TENON_HERE) {
  ldmatrix<4, false>(r, row, "ldmatrix_x4", where);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, TENON_HERE) {
  ldmatrix<4, true>(r, row, "ldmatrix_x4_trans", where);
}

inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t& b0, const uint32_t& b1, TENON_HERE) {
  struct Operands {
    float* d;
    const uint32_t* a;
    uint32_t b[2];
  } mine{d, a, {b0, b1}};
  emu::machine.meet(~0u, "mma_m16n8k16", where, mine, [](auto lanes) {
    float a[16][16], b[16][8];
    auto low = [](uint32_t v) { return std::bit_cast<float>(v << 16); };
    auto high = [](uint32_t v) { return std::bit_cast<float>(v & 0xFFFF0000u); };
    for (unsigned l = 0; l < 32; ++l) {
      unsigned i = l / 4, j = l % 4 * 2;
      for (unsigned q = 0; q < 4; ++q) {
        uint32_t pair = lanes(l).a[q];
        a[i + q % 2 * 8][j + q / 2 * 8] = low(pair), a[i + q % 2 * 8][j + q / 2 * 8 + 1] = high(pair);
      }
      for (unsigned q = 0; q < 2; ++q) b[j + q * 8][i] = low(lanes(l).b[q]), b[j + q * 8 + 1][i] = high(lanes(l).b[q]);
    }
    for (unsigned m = 0; m < 16; ++m) {
      float sum[8] = {};
      for (unsigned k = 0; k < 16; ++k)
        for (unsigned n = 0; n < 8; ++n) sum[n] += a[m][k] * b[k][n];
      for (unsigned n = 0; n < 8; ++n) lanes(m % 8 * 4 + n / 2).d[n % 2 + m / 8 * 2] += sum[n];
    }
  });
}

}  // namespace tenon::ptx
