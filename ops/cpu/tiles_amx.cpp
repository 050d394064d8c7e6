// Compiled for AMX: nothing is included whose inline functions other files share.
#include "tiles_amx.h"

// GCC 12 takes the intrinsics' deliberately undefined operands for mistakes (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

namespace tenon::ops::cpu::amx {
namespace {

constexpr int64_t kLine = 64;  // bytes

// Tiles 0 to 3 hold 2 x 2 tiles of sums, 4 and 5 the rows of a, 6 and 7 the columns of b.
struct alignas(64) Configuration {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes_of_row[16] = {};
  uint8_t rows[16] = {};
};

/// Rows of the upper and lower tiles; 0: the lower ones are not used.
void configure(int64_t upper, int64_t lower) {
  Configuration c;
  for (int t = 0; t < 8; ++t) {
    c.bytes_of_row[t] = 64;
    const int64_t rows = t >= 6 ? 16 : t == 2 || t == 3 || t == 5 ? lower : upper;
    c.rows[t] = static_cast<uint8_t>(rows ? rows : 1);
  }
  asm volatile("" ::"m"(c) : "memory");
  _tile_loadconfig(&c);
}

void finish(const Block& d, const float* sum, int64_t first, int64_t rows) {
  const __mmask16 low = static_cast<__mmask16>(d.columns >= 16 ? 0xffff : (1u << d.columns) - 1);
  const __mmask16 high = static_cast<__mmask16>(d.columns >= 32  ? 0xffff
                                                : d.columns > 16 ? (1u << (d.columns - 16)) - 1
                                                                 : 0);
  for (int64_t r = 0; r < rows; ++r) {
    __m512 x = _mm512_loadu_ps(sum + r * d.sum_stride), y = _mm512_loadu_ps(sum + r * d.sum_stride + 16);
    if (d.c_is_bf16) {
      uint16_t* c = static_cast<uint16_t*>(d.c) + (first + r) * d.c_stride;
      const __mmask32 mask = static_cast<__mmask32>(low) | static_cast<__mmask32>(high) << 16;
      if (d.add_to_c) {
        const __m512i old = _mm512_maskz_loadu_epi16(mask, c);
        x = _mm512_add_ps(
            x, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(old)), 16)));
        y = _mm512_add_ps(
            y, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(old, 1)), 16)));
      }
      const __m512bh both = _mm512_cvtne2ps_pbh(y, x);
      _mm512_mask_storeu_epi16(c, mask, reinterpret_cast<const __m512i&>(both));
    } else {
      float* c = static_cast<float*>(d.c) + (first + r) * d.c_stride;
      if (d.add_to_c) {
        x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(low, c));
        y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(high, c + 16));
      }
      _mm512_mask_storeu_ps(c, low, x);
      _mm512_mask_storeu_ps(c + 16, high, y);
    }
  }
}

/// Two rows of tiles by two columns.
void multiply_two(const Block& d, int64_t tile) {
  float* sum = d.sum + tile * kTileRows * d.sum_stride;
  const int64_t sum_bytes = d.sum_stride * 4, a_bytes = d.a_stride * 2;
  if (d.add_to_sum) {
    _tile_loadd(0, sum, sum_bytes);
    _tile_loadd(1, sum + 16, sum_bytes);
    _tile_loadd(2, sum + kTileRows * d.sum_stride, sum_bytes);
    _tile_loadd(3, sum + kTileRows * d.sum_stride + 16, sum_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  const uint16_t *a = d.a + tile * d.a_tile, *b = d.b;
  const int64_t whole = d.a_tail ? d.steps - 1 : d.steps;
  const char* ahead = static_cast<const char*>(d.ahead) + tile / 2 * d.steps * d.ahead_lines * kLine;
  for (int64_t s = 0; s < whole; ++s, a += d.a_step, b += kPanelStep) {
    for (int64_t i = 0; i < d.ahead_lines; ++i, ahead += kLine) _mm_prefetch(ahead, _MM_HINT_T1);
    _tile_loadd(4, a, a_bytes);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kTile, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + d.a_tile, a_bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  if (d.a_tail) {
    const uint16_t* tail = d.a_tail + tile * kTile;
    _tile_loadd(4, tail, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kTile, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, tail + kTile, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sum, sum_bytes);
  _tile_stored(1, sum + 16, sum_bytes);
  _tile_stored(2, sum + kTileRows * d.sum_stride, sum_bytes);
  _tile_stored(3, sum + kTileRows * d.sum_stride + 16, sum_bytes);
}

/// One row of tiles by two columns.
void multiply_one(const Block& d, int64_t tile) {
  float* sum = d.sum + tile * kTileRows * d.sum_stride;
  const int64_t sum_bytes = d.sum_stride * 4, a_bytes = d.a_stride * 2;
  if (d.add_to_sum) {
    _tile_loadd(0, sum, sum_bytes);
    _tile_loadd(1, sum + 16, sum_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
  }
  const uint16_t *a = d.a + tile * d.a_tile, *b = d.b;
  const int64_t whole = d.a_tail ? d.steps - 1 : d.steps;
  for (int64_t s = 0; s < whole; ++s, a += d.a_step, b += kPanelStep) {
    _tile_loadd(4, a, a_bytes);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kTile, 64);
    _tile_dpbf16ps(1, 4, 7);
  }
  if (d.a_tail) {
    _tile_loadd(4, d.a_tail + tile * kTile, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + kTile, 64);
    _tile_dpbf16ps(1, 4, 7);
  }
  _tile_stored(0, sum, sum_bytes);
  _tile_stored(1, sum + 16, sum_bytes);
}

/// r[i] lane j and r[j] lane i change places: 16 x 16 numbers of 32 bits.
inline void transpose(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int j = 0; j < 4; ++j) {
    t[j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
    t[4 + j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
    t[8 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
    t[12 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
  }
  for (int j = 0; j < 4; ++j) {
    r[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
    r[4 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0x88);
    r[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
    r[12 + j] = _mm512_shuffle_i32x4(t[4 + j], t[12 + j], 0xdd);
  }
}

inline __mmask32 first32(int64_t count) { return count >= 32 ? 0xffffffffu : count <= 0 ? 0u : (1u << count) - 1; }
inline __mmask16 first16(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1);
}

// Places of 32 numbers of one row and 32 of the next when they are paired.
alignas(64) constexpr uint16_t kPairLow[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                               8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
alignas(64) constexpr uint16_t kPairHigh[32] = {16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
                                                24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63};

}  // namespace

void multiply(const Block& d) {
  int64_t tile = 0;
  int64_t left = d.rows;
  const auto done = [&](int64_t rows) {
    if (d.c) finish(d, d.sum + tile * kTileRows * d.sum_stride, tile * kTileRows, rows);
  };
  if (left >= 2 * kTileRows) {
    configure(kTileRows, kTileRows);
    for (; left >= 2 * kTileRows; left -= 2 * kTileRows, tile += 2) {
      multiply_two(d, tile);
      done(2 * kTileRows);
    }
  }
  if (left > kTileRows) {
    configure(kTileRows, left - kTileRows);
    multiply_two(d, tile);
    done(left);
  } else if (left > 0) {
    configure(left, 0);
    multiply_one(d, tile);
    done(left);
  }
  _tile_release();
}

void pack_panels(const uint16_t* b, int64_t ld, bool transposed, int64_t k, int64_t n, int64_t first, int64_t last,
                 uint16_t* packed) {
  const int64_t steps = (k + kStep - 1) / kStep;
  const __m512i low = _mm512_load_si512(kPairLow), high = _mm512_load_si512(kPairHigh);
  if (transposed) {
    for (int64_t p = first; p < last; ++p)
      for (int64_t s = 0; s < steps; ++s) {
        uint16_t* to = packed + (p * steps + s) * kPanelStep;
        const __mmask32 mask = first32(k - s * kStep);
        for (int64_t half = 0; half < 2; ++half) {
          __m512i r[16];
          for (int64_t i = 0; i < 16; ++i) {
            const int64_t row = p * kPanel + half * 16 + i;
            r[i] = row < n ? _mm512_maskz_loadu_epi16(mask, b + row * ld + s * kStep) : _mm512_setzero_si512();
          }
          transpose(r);
          for (int64_t i = 0; i < 16; ++i) _mm512_storeu_si512(to + half * kTile + i * 32, r[i]);
        }
      }
    return;
  }
  for (int64_t s = 0; s < steps; ++s)  // outside: panels of one step lie side by side in memory
    for (int64_t p = first; p < last; ++p) {
      uint16_t* to = packed + (p * steps + s) * kPanelStep;
      const uint16_t* from = b + s * kStep * ld + p * kPanel;
      const __mmask32 mask = first32(n - p * kPanel);
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t row = s * kStep + 2 * i;
        const __m512i x = row < k ? _mm512_maskz_loadu_epi16(mask, from + 2 * i * ld) : _mm512_setzero_si512();
        const __m512i y =
            row + 1 < k ? _mm512_maskz_loadu_epi16(mask, from + (2 * i + 1) * ld) : _mm512_setzero_si512();
        _mm512_storeu_si512(to + i * 32, _mm512_permutex2var_epi16(x, low, y));
        _mm512_storeu_si512(to + kTile + i * 32, _mm512_permutex2var_epi16(x, high, y));
      }
    }
}

void pack_transposed(const uint16_t* a, int64_t ld, int64_t m, int64_t k, int64_t first, int64_t last,
                     uint16_t* packed) {
  const int64_t steps = (k + kStep - 1) / kStep;
  for (int64_t s = 0; s < steps; ++s)  // outside: tiles of one step lie side by side in memory
    for (int64_t t = first; t < last; ++t) {
      uint16_t* to = packed + (t * steps + s) * kTile;
      const __mmask16 mask = first16(m - t * kTileRows);
      __m512i r[16];
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t row = s * kStep + 2 * i;
        const uint16_t* from = a + row * ld + t * kTileRows;
        const __m512i x =
            row < k ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)) : _mm512_setzero_si512();
        const __m512i y =
            row + 1 < k ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from + ld)) : _mm512_setzero_si512();
        r[i] = _mm512_or_si512(x, _mm512_slli_epi32(y, 16));
      }
      transpose(r);
      for (int64_t i = 0; i < 16; ++i) _mm512_storeu_si512(to + i * 32, r[i]);
    }
}

}  // namespace tenon::ops::cpu::amx
