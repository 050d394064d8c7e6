#include "cast.h"

#include <cstring>
#include <type_traits>

#include "../../runtime/simd.h"
#include "../../runtime/strided_copy.h"
#include "strided_loop.h"

namespace tenon::ops::cpu {
namespace {

template <class T>
constexpr bool is_float_type = std::is_same_v<T, float> || std::is_same_v<T, bf16> || std::is_same_v<T, f16>;

template <class D, class S>
[[gnu::always_inline]] inline D converted(S x) {
  if constexpr (std::is_same_v<D, S>) {
    return x;
  } else if constexpr (std::is_same_v<D, bool> && !is_float_type<S>) {
    return x != 0;
  } else if constexpr (is_float_type<S> || is_float_type<D>) {
    return from_float<D>(to_float(x));
  } else {
    return static_cast<D>(x);
  }
}

template <class S, class D>
TENON_CLONES void convert_floats(const S* src, D* dst, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) dst[i] = converted<D>(src[i]);
}

template <class S, class D>
void convert_row(const S* src, int64_t src_stride, D* dst, int64_t dst_stride, int64_t n) {
  if (src_stride == 1 && dst_stride == 1) {
    if constexpr (std::is_same_v<S, D>) {
      std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(S));
      return;
    } else if constexpr (is_float_type<S> && is_float_type<D>) {
      convert_floats(src, dst, n);
      return;
    }
  }
  for (int64_t i = 0; i < n; ++i) dst[i * dst_stride] = converted<D>(src[i * src_stride]);
}

}  // namespace

void convert(const Tensor& src, Tensor& dst) {
  if (src.dtype() == dst.dtype() && dst.is_contiguous()) {
    int64_t strides[Shape::kMaxRank];
    for (int d = 0; d < src.rank(); ++d) strides[d] = src.stride(d);
    detail::strided_copy(src.raw(), src.shape(), strides, size_of(src.dtype()), dst.raw());
    return;
  }
  const auto loop = strided_loop<2>(dst.shape(), {&dst, &src});
  for_all_types(src.dtype(), [&]<class S>() {
    for_all_types(dst.dtype(), [&]<class D>() {
      const S* in = src.data<S>();
      D* out = dst.data<D>();
      const auto stride = loop.row_stride();
      for_rows(loop, [&](const auto& at, int64_t n) { convert_row(in + at[1], stride[1], out + at[0], stride[0], n); });
    });
  });
}

}  // namespace tenon::ops::cpu
