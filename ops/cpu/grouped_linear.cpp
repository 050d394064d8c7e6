#include "grouped_linear.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "../../runtime/threads.h"
#include "gemm.h"
#include "packed_weight.h"

namespace tenon::ops::cpu {
namespace {

/// A piece of one expert's product: rows (or rows of the weight's gradient) [begin, begin + count).
struct Piece {
  int64_t expert, begin, count;
};

// Pieces for each thread: enough that a long last one does not matter, few enough that each reads its weight for many
// rows.
constexpr int64_t kPiecesPerThread = 4;
constexpr int64_t kPieceRows = 64;

/// Pieces of about equal cost, at least kPieceRows rows each but for an expert's last.
std::vector<Piece> pieces_of_rows(const ExpertPlan& plan) {
  const int32_t* counts = plan.counts.data<int32_t>();
  const int32_t* offsets = plan.offsets.data<int32_t>();
  const int64_t wanted = plan.rows / (num_threads() * kPiecesPerThread) + 1;
  const int64_t size = (wanted + kPieceRows - 1) / kPieceRows * kPieceRows;
  std::vector<Piece> pieces;
  for (int64_t e = 0; e < plan.experts; ++e)
    for (int64_t r = 0; r < counts[e]; r += size)
      pieces.push_back({e, offsets[e] + r, std::min<int64_t>(size, counts[e] - r)});
  return pieces;
}

/// Padding rows of a `[rows, dim]` tensor become zero.
void clear_padding(Tensor& y, const ExpertPlan& plan) {
  const int32_t* counts = plan.counts.data<int32_t>();
  const int32_t* offsets = plan.offsets.data<int32_t>();
  const size_t row = static_cast<size_t>(y.dim(1)) * size_of(y.dtype());
  for (int64_t e = 0; e < plan.experts; ++e) {
    const int64_t first = offsets[e] + counts[e];
    std::memset(static_cast<char*>(y.raw()) + static_cast<size_t>(first) * row, 0,
                static_cast<size_t>(offsets[e + 1] - first) * row);
  }
}

/// Runs on one thread without opening a region when the work is small.
template <class F>
void each_piece(const std::vector<Piece>& pieces, int64_t multiply_adds, F&& f) {
  constexpr int64_t kWorthThreads = 100'000;
  if (multiply_adds < kWorthThreads) {
    for (const Piece& piece : pieces) f(piece);
  } else {
    parallel_each(static_cast<int64_t>(pieces.size()), [&](int64_t i) { f(pieces[static_cast<size_t>(i)]); });
  }
}

void multiply(Tensor& y, float beta, const Tensor& x, const WeightOperand& w, const ExpertPlan& plan) {
  const Tensor a = converted(x, w.product());
  const int64_t k = x.dim(1), n = y.dim(1);
  const int64_t a_row = k * static_cast<int64_t>(size_of(w.product())),
                y_row = n * static_cast<int64_t>(size_of(y.dtype()));
  each_piece(pieces_of_rows(plan), plan.rows * n * k, [&](const Piece& piece) {
    w.multiply(piece.expert, piece.count, static_cast<const char*>(a.raw()) + piece.begin * a_row, k,
               static_cast<char*>(y.raw()) + piece.begin * y_row, y.dtype(), n, beta);
  });
}

void multiply_into(Tensor& y, float beta, const Tensor& x, const WeightOperand& w, const ExpertPlan& plan) {
  if (y.numel() == 0) return;
  if (y.dtype() == DType::f32 || w.product() == DType::bf16) {
    multiply(y, beta, x, w, plan);
    if (beta == 0) clear_padding(y, plan);
  } else {
    Tensor wide = Tensor::empty(y.shape(), DType::f32);
    multiply(wide, 0, x, w, plan);
    clear_padding(wide, plan);
    convert_into(y, beta, wide);
  }
}

}  // namespace

void grouped_linear(Tensor& y, const Tensor& x, const Tensor& w, const ExpertPlan& plan, const PackedWeight* packed) {
  multiply_into(y, 0, x, WeightOperand("grouped_linear", x.dtype(), w, PackFor::forward, packed), plan);
}

void grouped_linear_backward_input(Tensor& dx, float beta, const Tensor& dy, const Tensor& w, const ExpertPlan& plan,
                                   const PackedWeight* packed) {
  multiply_into(dx, beta, dy, WeightOperand("grouped_linear_backward_input", dy.dtype(), w, PackFor::backward, packed),
                plan);
}

void grouped_linear_backward_weight(Tensor& dw, const Tensor& dy, const Tensor& x, const ExpertPlan& plan) {
  if (dw.numel() == 0) return;
  const DType product = product_dtype(dy.dtype(), x.dtype());
  const Tensor a = converted(dy, product), b = converted(x, product);
  const int64_t out = dw.dim(1), in = dw.dim(2), item = static_cast<int64_t>(size_of(product));
  const int32_t* counts = plan.counts.data<int32_t>();
  const int32_t* offsets = plan.offsets.data<int32_t>();

  // Rows of the gradient are cut, not what is summed over: no partial sums, the same bits for any number of threads.
  const int64_t busy = std::count_if(counts, counts + plan.experts, [](int32_t c) { return c > 0; });
  const int64_t cuts = std::clamp<int64_t>((num_threads() * kPiecesPerThread + busy - 1) / std::max<int64_t>(busy, 1),
                                           1, (out + 127) / 128);
  const int64_t size = ((out + cuts - 1) / cuts + 31) / 32 * 32;
  std::vector<Piece> pieces;
  for (int64_t e = 0; e < plan.experts; ++e)
    for (int64_t o = 0; counts[e] > 0 && o < out; o += size) pieces.push_back({e, o, std::min(size, out - o)});

  each_piece(pieces, plan.rows * out * in, [&](const Piece& piece) {
    const int64_t first = offsets[piece.expert];
    gemm(piece.count, in, counts[piece.expert], product,
         {static_cast<const char*>(a.raw()) + (first * out + piece.begin) * item, out, /*transposed=*/true},
         {static_cast<const char*>(b.raw()) + first * in * item, in},
         dw.data<float>() + (piece.expert * out + piece.begin) * in, DType::f32, in, 1);
  });
}

}  // namespace tenon::ops::cpu
