// The products of experts on tensor cores. With many rows an expert the limit is the rate of mma.sync, and the way from
// the second-level cache: warps multiply 64x64, which read 64 + 64 elements of shared memory for 64 * 64 products a
// step. Tiles of 128x128 read an element of the cache for 64 products, too many for it to keep the tensor cores busy;
// 128x256 read it for 85, but are alone on their processor: while they store nothing is multiplied, which takes a long
// sum to be worth it. Of 128x128 two blocks a processor multiply while the other one waits or stores. With few rows the
// limit is the weights' way from memory: each is read once, in tiles of 16 rows and 64 outputs whose six stages keep 40
// KiB a block under way, three blocks a processor, or of 32 rows and 128 outputs.
#include "../../runtime/cuda/limits.h"
#include "grouped_linear.h"
#include "grouped_tiles.h"
#include "mma_tile.h"

namespace tenon::ops::cuda {
namespace {

using WideTile = MmaTile<128, 256, 2, 4, 4, 1>;
using LargeTile = MmaTile<128, 128, 2, 2, 3, 2>;
using MediumTile = MmaTile<64, 128, 2, 2, 4, 2>;
using LowTile = MmaTile<32, 128, 1, 4, 4, 2>;
using SmallTile = MmaTile<16, 64, 1, 4, 6, 3>;

struct RowsProduct {
  DevicePlan plan;
  const bf16 *x, *w;
  int n, depth;  // columns of y and of x
  int64_t row_tiles, column_tiles;
  bool add, pieces;  // to what y holds; y can be written 16 bytes at a time
};

// Blocks that run at the same time share weights and rows in the second-level cache: they cover all row tiles of
// so many columns before the next ones, whose weights of the few experts at work it can hold.
constexpr int64_t kColumnsTogether = 2048;

struct Place {
  int64_t row, column;  // of tiles
};
template <class Tile>
__device__ Place place_of(int64_t block, int64_t row_tiles, int64_t column_tiles) {
  constexpr int64_t kTogether = kColumnsTogether / Tile::kN;
  const int64_t group = block / (row_tiles * kTogether), first = group * kTogether;
  const int64_t width = min(kTogether, column_tiles - first), within = block - first * row_tiles;
  return {within / width, first + within % width};
}

// y[row] = or += the staged row's columns [0, columns), kWidth at a time. What is added to is fetched for kAhead pieces
// before the first of them is stored: a load does not pass a store to what may be the same place, and one after the
// other they would wait for memory as often as a thread has pieces.
template <class Tile, class T>
__device__ void store_rows(const float* staged, T* y, int64_t ld, int rows, int columns, bool add, bool pieces) {
  constexpr int kWidth = kVector<T>, kAcross = Tile::kN / kWidth, kRows = Tile::kThreads / kAcross;
  constexpr int kAhead = Tile::kM / kRows < 8 ? Tile::kM / kRows : 8;
  static_assert(Tile::kThreads % kAcross == 0 && Tile::kM % (kRows * kAhead) == 0);
  const int c = static_cast<int>(threadIdx.x) % kAcross * kWidth;
  if (c >= columns) return;
  for (int r0 = static_cast<int>(threadIdx.x) / kAcross; r0 < rows; r0 += kRows * kAhead) {
    Pack<T, kWidth> old[kAhead] = {};
    if (pieces && add)
#pragma unroll
      for (int i = 0; i < kAhead; ++i)
        if (r0 + i * kRows < rows) old[i] = load<kWidth>(y + (r0 + i * kRows) * ld + c);
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int r = r0 + i * kRows;
      if (r >= rows) return;
      T* to = y + r * ld + c;
      Pack<float, 4> sum[kWidth / 4];  // 16 bytes a lane: single floats of two of them would lie in four banks
#pragma unroll
      for (int k = 0; k < kWidth / 4; ++k) sum[k] = load<4>(staged + r * Tile::kStaged + c + k * 4);
      if (pieces) {
        store<kWidth>(to, [&](int k) { return sum[k / 4][k % 4] + old[i][k]; });
      } else {
#pragma unroll
        for (int k = 0; k < kWidth; ++k)
          if (c + k < columns) to[k] = round_to<T>(sum[k / 4][k % 4] + (add ? as_float(to[k]) : 0.0f));
      }
    }
  }
}

// kAcross: weights are stored [d, n], that is w as it is for the gradient of the input.
template <class Tile, bool kAcross, bool kPieces, class T>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    rows_kernel(const __grid_constant__ RowsProduct p, T* y) {
  const Place place = place_of<Tile>(blockIdx.x, p.row_tiles, p.column_tiles);
  RowTile tile;
  if (!find_tile<Tile::kM, Tile::kThreads>(p.plan, place.row, tile)) return;
  if (p.add && tile.filled == 0) return;
  const int n0 = static_cast<int>(place.column) * Tile::kN, columns = p.n - n0;
  float sum[Tile::kSteps][Tile::kColumnSteps][4] = {};
  if (tile.filled > 0) {
    const bf16* w = p.w + int64_t{tile.expert} * p.n * p.depth;
    const MmaOperand a{p.x + tile.first * p.depth, p.depth, tile.filled};
    const MmaOperand b =
        kAcross ? MmaOperand{w + n0, p.n, columns} : MmaOperand{w + int64_t{n0} * p.depth, p.depth, columns};
    multiply_tile<Tile, false, kAcross, kPieces>(a, b, p.depth, sum);
  }
  const float* staged = stage_sums<Tile>(sum);
  store_rows<Tile>(staged, y + tile.first * p.n + n0, p.n, tile.rows, columns, p.add, p.pieces);
}

struct WeightProduct {
  DevicePlan plan;
  const bf16 *dy, *x;
  int out, in;
  bool pieces;
};

// Both operands are stored across: the sum goes over an expert's rows. The gradient is read and written once, 128 KiB a
// tile, which the other block of the processor covers from some 300 rows an expert on.
template <class Tile, bool kPieces>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    weight_kernel(const __grid_constant__ WeightProduct p, float* dw) {
  const int i0 = static_cast<int>(blockIdx.x) * Tile::kN, o0 = static_cast<int>(blockIdx.y) * Tile::kM;
  const int64_t e = blockIdx.z, first = p.plan.offsets[e];
  const int count = p.plan.counts[e];
  if (count == 0) return;
  float sum[Tile::kSteps][Tile::kColumnSteps][4] = {};
  multiply_tile<Tile, true, true, kPieces>({p.dy + first * p.out + o0, p.out, p.out - o0},
                                           {p.x + first * p.in + i0, p.in, p.in - i0}, count, sum);
  const float* staged = stage_sums<Tile>(sum);
  store_rows<Tile>(staged, dw + (e * p.out + o0) * p.in + i0, p.in, min(Tile::kM, p.out - o0), p.in - i0, true,
                   p.pieces);
}

bool in_pieces(int64_t columns, const Tensor& x) {
  return columns % (16 / static_cast<int64_t>(size_of(x.dtype()))) == 0 && is_aligned(x.raw(), 16);
}

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Whether this GPU has the shared memory for them (Ampere's has 163 KiB), and so many columns are wide enough.
bool has_wide_tiles(int64_t columns) {
  constexpr size_t kStatic = 1024;  // more than find_tile has
  return columns >= WideTile::kN && tenon::cuda::shared_memory_limit() >= WideTile::kSharedBytes + kStatic;
}

template <class Tile, bool kPieces>
void launch_rows(Tensor& y, bool add, const Tensor& x, const Tensor& w, bool transposed, const ExpertPlan& plan) {
  const int64_t tiles = row_tiles(plan, Tile::kM), columns = ceil_div(y.dim(1), Tile::kN);
  const RowsProduct product{device_plan(plan),          x.data<bf16>(), w.data<bf16>(), static_cast<int>(y.dim(1)),
                            static_cast<int>(x.dim(1)), tiles,          columns,        add,
                            in_pieces(y.dim(1), y)};
  for_float_types(y.dtype(), [&]<class T>() {
    const auto run = [&]<bool kAcross>() {
      launch(rows_kernel<Tile, kAcross, kPieces, T>,
             {.grid = dim3(static_cast<unsigned>(tiles * columns)),
              .block = dim3(Tile::kThreads),
              .shared_bytes = Tile::kSharedBytes},
             product, y.data<T>());
    };
    if (transposed)
      run.template operator()<false>();
    else
      run.template operator()<true>();
  });
}

}  // namespace

void grouped_rows_bf16(Tensor& y, float beta, const Tensor& x, const Tensor& w, bool transposed,
                       const ExpertPlan& plan) {
  const bool add = beta != 0;
  // A dimension that is no multiple of 8, or a view that begins anywhere: elements instead of 16-byte pieces.
  if (!in_pieces(x.dim(1), x) || !in_pieces(w.dim(2), w))
    return launch_rows<MediumTile, false>(y, add, x, w, transposed, plan);
  // By the rows an expert has on average: a tile that is half empty costs as much as a full one, and one that reads the
  // weights again for each 16 rows costs their way from the cache.
  const int64_t slots = plan.tokens * plan.top_k;
  if (slots <= 8 * plan.experts)
    launch_rows<SmallTile, true>(y, add, x, w, transposed, plan);
  else if (slots <= 24 * plan.experts)
    launch_rows<LowTile, true>(y, add, x, w, transposed, plan);
  else if (slots < 192 * plan.experts)
    launch_rows<MediumTile, true>(y, add, x, w, transposed, plan);
  else if (x.dim(1) >= 512 && has_wide_tiles(y.dim(1)))  // from there on storing is less than what the cache costs
    launch_rows<WideTile, true>(y, add, x, w, transposed, plan);
  else
    launch_rows<LargeTile, true>(y, add, x, w, transposed, plan);
}

void grouped_weight_bf16(Tensor& dw, const Tensor& dy, const Tensor& x, const ExpertPlan& plan) {
  const int out = static_cast<int>(dw.dim(1)), in = static_cast<int>(dw.dim(2));
  const WeightProduct product{device_plan(plan), dy.data<bf16>(), x.data<bf16>(), out, in, in_pieces(in, dw)};
  const auto run = [&]<class Tile, bool kPieces>() {
    launch(weight_kernel<Tile, kPieces>,
           {.grid = dim3(static_cast<unsigned>(ceil_div(in, Tile::kN)), static_cast<unsigned>(ceil_div(out, Tile::kM)),
                         static_cast<unsigned>(plan.experts)),
            .block = dim3(Tile::kThreads),
            .shared_bytes = Tile::kSharedBytes},
           product, dw.data<float>());
  };
  if (!in_pieces(out, dy) || !in_pieces(in, x)) return run.template operator()<MediumTile, false>();
  // 256 KiB to and from memory for each tile of 128x256 are as long as the product of some 512 rows an expert: only
  // with several times as many is it worth it to be alone on the processor.
  if (plan.tokens * plan.top_k >= 2048 * plan.experts && has_wide_tiles(in))
    run.template operator()<WideTile, true>();
  else
    run.template operator()<LargeTile, true>();
}

}  // namespace tenon::ops::cuda
