#include "gemm.h"

#include <cstring>

#include "../../runtime/cpu.h"
#include "../../runtime/simd.h"
#include "../../runtime/threads.h"
#include "gemm_panels.h"
#include "gemm_tiles.h"
#include "onednn.h"

namespace tenon::ops::cpu {
namespace {

// Multiply-adds below which waking the other threads (1 to 2 us) costs more than they save.
constexpr int64_t kWorthThreads = 100'000;

/// Calls f(begin, count) with counts from a small set: multiples of 256, then of 64, then the rest.
template <class F>
void for_usual_counts(int64_t n, F&& f) {
  int64_t begin = 0;
  for (int64_t step : {int64_t{256}, int64_t{64}, int64_t{1}}) {
    const int64_t count = (n - begin) / step * step;
    if (count > 0 && (step < 256 || count >= 1024)) {
      f(begin, count);
      begin += count;
    }
  }
}

const void* advance(const void* data, int64_t elements, DType dtype) {
  return static_cast<const char*>(data) + elements * static_cast<int64_t>(size_of(dtype));
}

enum class Means { tiles, panels, onednn };

/// One for all row counts, or their bits would differ. oneDNN from AVX-512 on: there its sums do not depend on the
/// number of rows.
Means means(DType in) {
  static const Isa isa = cpu_isa();
  if (in == DType::bf16 && isa >= Isa::amx_bf16) return Means::tiles;
  return isa >= Isa::avx512 ? Means::onednn : Means::panels;
}

void multiply_by_onednn(int64_t m, int64_t n, int64_t k, DType in, const Matrix& a, const Matrix& b, bool packed,
                        void* c, DType out, int64_t ldc, float beta) {
  onednn::Product product{.n = n,
                          .lda = a.ld,
                          .ldb = b.ld,
                          .ldc = ldc,
                          .in = in,
                          .out = out,
                          .trans_a = a.transposed,
                          .trans_b = b.transposed,
                          .packed_b = packed,
                          .accumulate = beta != 0,
                          .one_thread = m * n * k < kWorthThreads};
  // Of activations transposed the rows are what is summed over, as in weight gradients: that is the number that varies.
  // bf16 results would round between the parts.
  if (a.transposed && out == DType::f32) {
    product.m = m;
    for_usual_counts(k, [&](int64_t begin, int64_t count) {
      product.k = count;
      onednn::multiply(product, advance(a.data, begin * a.ld, in),
                       advance(b.data, b.transposed ? begin : begin * b.ld, in), c);
      product.accumulate = true;
    });
    return;
  }
  product.k = k;
  for_usual_counts(m, [&](int64_t begin, int64_t count) {
    product.m = count;
    onednn::multiply(product, advance(a.data, a.transposed ? begin : begin * a.ld, in), b.data,
                     const_cast<void*>(advance(c, begin * ldc, out)));
  });
}

void multiply(int64_t m, int64_t n, int64_t k, DType in, const Matrix& a, const Matrix& b, bool packed, void* c,
              DType out, int64_t ldc, float beta) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    for (int64_t r = 0; beta == 0 && r < m; ++r)
      std::memset(const_cast<void*>(advance(c, r * ldc, out)), 0, static_cast<size_t>(n) * size_of(out));
    return;
  }
  switch (means(in)) {
    case Means::tiles:
      return packed ? tiles::multiply_packed(m, n, k, a, b.data, c, out, ldc, beta)
                    : tiles::multiply(m, n, k, a, b, c, out, ldc, beta);
    case Means::panels:
      return packed ? panels::multiply_packed(m, n, k, a, b.data, static_cast<float*>(c), ldc, beta)
                    : panels::multiply(m, n, k, a, b, static_cast<float*>(c), ldc, beta);
    case Means::onednn:
      return multiply_by_onednn(m, n, k, in, a, b, packed, c, out, ldc, beta);
  }
}

template <class To, class From>
TENON_CLONES void convert(To* y, const From* x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = from_float<To>(to_float(x[i]));
}

template <class To, class From>
TENON_CLONES void convert_add(To* y, const From* x, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) y[i] = from_float<To>(to_float(y[i]) + to_float(x[i]));
}

}  // namespace

DType product_dtype(DType a, DType b) {
  return a == DType::bf16 && b == DType::bf16 && has_native_bf16() ? DType::bf16 : DType::f32;
}

void gemm(int64_t m, int64_t n, int64_t k, DType in, const Matrix& a, const Matrix& b, void* c, DType out, int64_t ldc,
          float beta) {
  multiply(m, n, k, in, a, b, /*packed=*/false, c, out, ldc, beta);
}

size_t gemm_packed_bytes(int64_t k, int64_t n, DType in) {
  switch (means(in)) {
    case Means::tiles:
      return static_cast<size_t>(tiles::packed_bytes(k, n));
    case Means::panels:
      return static_cast<size_t>(panels::packed_bytes(k, n));
    default:
      return onednn::packed_bytes(k, n, in);
  }
}

void gemm_pack(int64_t k, int64_t n, DType in, const Matrix& b, void* packed) {
  switch (means(in)) {
    case Means::tiles:
      return tiles::pack(k, n, b, packed);
    case Means::panels:
      return panels::pack(k, n, b, packed);
    default:
      return onednn::pack(k, n, in, b.data, b.ld, b.transposed, packed);
  }
}

void gemm_packed(int64_t m, int64_t n, int64_t k, DType in, const Matrix& a, const void* packed_b, void* c, DType out,
                 int64_t ldc, float beta) {
  multiply(m, n, k, in, a, {packed_b, 0}, /*packed=*/true, c, out, ldc, beta);
}

void convert_into(Tensor& y, float beta, const Tensor& x) {
  for_float_types(y.dtype(), [&]<class To>() {
    for_float_types(x.dtype(), [&]<class From>() {
      To* to = y.data<To>();
      const From* from = x.data<From>();
      parallel_for(x.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
        beta != 0 ? convert_add(to + begin, from + begin, end - begin) : convert(to + begin, from + begin, end - begin);
      });
    });
  });
}

Tensor converted(const Tensor& x, DType dtype) {
  Tensor dense = x.contiguous();
  if (dense.dtype() == dtype) return dense;
  Tensor y = Tensor::empty(x.shape(), dtype, x.device());
  convert_into(y, 0, dense);
  return y;
}

}  // namespace tenon::ops::cpu
