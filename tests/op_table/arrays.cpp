#include "arrays.h"

#include <algorithm>
#include <numeric>

#include "../../runtime/threads.h"

namespace tenon::testing {
namespace {

double in_dtype(double value, DType dtype) {
  const float f = static_cast<float>(value);
  return dtype == DType::bf16 ? to_float(from_float<bf16>(f)) : f;
}

Array scaled(const std::vector<float>& drawn, const Shape& shape, double offset, double factor) {
  Array a(shape);
  parallel_for(a.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) a[i] = offset + factor * drawn[static_cast<size_t>(i)];
  });
  return a;
}

}  // namespace

Array as_f32(Array a) {
  a.kind = Kind::f32;
  return a;
}

Array rounded(Array out, DType dtype) {
  if (out.kind == Kind::i32) return out;
  const DType to = out.kind == Kind::f32 ? DType::f32 : dtype;
  parallel_for(out.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = in_dtype(out[i], to);
  });
  return out;
}

Tensor to_tensor(const Array& a, DType dtype) {
  if (a.kind == Kind::i32) return Tensor::from(std::vector<int32_t>(a.values.begin(), a.values.end()), a.shape);
  Tensor t = Tensor::empty(a.shape, a.kind == Kind::f32 ? DType::f32 : dtype);
  for_float_types(t.dtype(), [&]<class T>() {
    T* data = t.data<T>();
    parallel_for(a.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) data[i] = from_float<T>(static_cast<float>(a[i]));
    });
  });
  return t;
}

Array to_array(const Tensor& t) {
  const Tensor x = t.to(Device::cpu()).contiguous();
  const bool integer = !is_floating(x.dtype());
  Array out(x.shape(), integer ? Kind::i32 : Kind::real);
  for_all_types(x.dtype(), [&]<class T>() {
    const T* data = x.data<T>();
    parallel_for(out.numel(), 1 << 16, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, f16>) {
          out[i] = to_float(data[i]);
        } else {
          out[i] = static_cast<double>(data[i]);
        }
      }
    });
  });
  return out;
}

Array Draw::normal(const Shape& shape, double mean, double std) {
  std::vector<float> drawn(static_cast<size_t>(shape.numel()));
  fill_normal(next_key(), 0, drawn);
  return scaled(drawn, shape, mean, std);
}

Array Draw::uniform(const Shape& shape, double low, double high) {
  std::vector<float> drawn(static_cast<size_t>(shape.numel()));
  fill_uniform(next_key(), 0, drawn);
  return scaled(drawn, shape, low, high - low);
}

Array Draw::integers(const Shape& shape, int64_t below) {
  Array a(shape, Kind::i32);
  for (double& v : a.values) v = static_cast<double>(rng_.below(static_cast<uint64_t>(below)));
  return a;
}

Array Draw::distinct(const Shape& shape, int64_t below) {
  Array a(shape, Kind::i32);
  std::vector<int64_t> all(static_cast<size_t>(below));
  for (int64_t r = 0; r < a.rows(); ++r) {
    std::iota(all.begin(), all.end(), 0);
    rng_.shuffle(all);
    std::copy_n(all.begin(), a.dim(-1), a.row(r).begin());
  }
  return a;
}

Array integers(std::vector<int64_t> values) {
  const Shape shape{static_cast<int64_t>(values.size())};
  return Array(shape, std::vector<double>(values.begin(), values.end()), Kind::i32);
}

}  // namespace tenon::testing
