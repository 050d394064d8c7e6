// What attention does to a block of scores between its products, and the packing of its operands. All scratch is f32;
// scores are in units of log 2, so that probabilities are 2^x.
#pragma once

#include <cstdint>

#include "../../runtime/dtype.h"
#include "tile_functions.h"

namespace tenon::ops::cpu {

constexpr int64_t kKeyBlock = 64;  // keys of a block; blocks are counted from the sequence's first token on every path

/// Which keys of a block a row sees: [begin, end) within the block.
struct VisibleKeys {
  int64_t begin, end;
};

/// One row of scores s `[count]` into probabilities, with the running maximum and sum and, where the maximum rises, the
/// output so far `[width]` scaled down.
void online_softmax_row(float* s, int32_t count, VisibleKeys keys, float* maximum, float* sum, float* out,
                        int32_t width);

/// One row of the backward: s becomes p = 2^(s - lse2), dp becomes ds = p (dp - delta).
void softmax_backward_row(float* s, float* dp, int32_t count, VisibleKeys keys, float lse2, float delta);

/// dst `[rows, ld]` = scale * src `[rows, cols]` whose rows stand `stride` apart; columns up to ld are zeroed.
template <class T>
void pack_rows(float* dst, int64_t ld, const T* src, int64_t stride, int64_t rows, int64_t cols, float scale);

/// dst[c] = from_float(scale * src[c]).
template <class T>
void unpack_row(T* dst, const float* src, int64_t cols, float scale);

/// sum of a[c] * b[c] in f32.
template <class T>
float dot_row(const T* a, const T* b, int64_t cols);

/// Keys of a bf16 page lie as [cols / 2, 64, 2]: dst `[cols, 64]` f32.
void unpack_key_pairs(float* dst, const bf16* src, int64_t cols);

}  // namespace tenon::ops::cpu
