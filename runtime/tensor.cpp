#include "tensor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "check.h"
#include "cuda.h"
#include "strided_copy.h"
#include "threads.h"

namespace tenon {
namespace {

constexpr int64_t kFillGrain = int64_t{1} << 18;  // bytes: below, one thread fills faster than two are woken

size_t checked_bytes(const Shape& shape, DType dtype) {
  uint64_t bytes = size_of(dtype);
  for (int64_t extent : shape) {
    check(extent >= 0, "tensor {} {}: an extent is negative", shape, dtype);
    check(!__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes) && bytes <= uint64_t{1} << 62,
          "tensor {} {}: larger than any memory", shape, dtype);
  }
  return bytes;
}

void fill_zero(void* data, size_t bytes) {
  parallel_for(static_cast<int64_t>(bytes), kFillGrain, [&](int64_t begin, int64_t end) {
    std::memset(static_cast<std::byte*>(data) + begin, 0, static_cast<size_t>(end - begin));
  });
}

void copy_bytes(void* to, const void* from, size_t bytes) {
  parallel_for(static_cast<int64_t>(bytes), 4 * kFillGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(static_cast<std::byte*>(to) + begin, static_cast<const std::byte*>(from) + begin,
                static_cast<size_t>(end - begin));
  });
}

}  // namespace

Tensor::Tensor(std::shared_ptr<Storage> storage, DType dtype, const Shape& shape)
    : storage_(std::move(storage)), data_(storage_->data()), dtype_(dtype), shape_(shape) {
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides_[i] = stride;
    stride *= shape[i];
  }
}

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  const size_t bytes = checked_bytes(shape, dtype);
  return Tensor(std::make_shared<Storage>(device, bytes), dtype, shape);
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) {
  Tensor out = empty(shape, dtype, device);
  if (device.is_cpu())
    fill_zero(out.data_, out.nbytes());
  else
    cuda::set_bytes(device, out.data_, 0, out.nbytes());
  return out;
}

Tensor Tensor::full(const Shape& shape, float value, DType dtype, Device device) {
  Tensor out = empty(shape, dtype, device);
  for_all_types(dtype, [&]<class T>() {
    T* data = out.data<T>();
    const T element = from_float<T>(value);
    if (!device.is_cpu()) {
      uint64_t bits = 0;
      std::memcpy(&bits, &element, sizeof element);
      return cuda::fill(device, data, bits, sizeof element, out.numel());
    }
    parallel_for(out.numel(), kFillGrain / static_cast<int64_t>(sizeof(T)),
                 [&](int64_t begin, int64_t end) { std::fill(data + begin, data + end, element); });
  });
  return out;
}

Tensor Tensor::copy_of(const void* data, size_t count, const Shape& shape, DType dtype) {
  checked_bytes(shape, dtype);
  check(static_cast<int64_t>(count) == shape.numel(), "tensor {}: made from {} values instead of {}", shape, count,
        shape.numel());
  Tensor out = empty(shape, dtype);
  if (count) std::memcpy(out.data_, data, out.nbytes());
  return out;
}

Tensor Tensor::borrow(void* data, const Shape& shape, DType dtype, Device device,
                      std::shared_ptr<const void> keep_alive) {
  const size_t bytes = checked_bytes(shape, dtype);
  check(data != nullptr || bytes == 0, "borrow: no memory was given for tensor {} {}", shape, dtype);
  return Tensor(std::make_shared<Storage>(device, data, bytes, std::move(keep_alive)), dtype, shape);
}

int64_t Tensor::rows() const {
  int64_t rows = 1;
  for (int i = 0; i + 1 < shape_.rank(); ++i) rows *= shape_[i];
  return rows;
}

bool Tensor::is_contiguous() const {
  int64_t expected = 1;
  for (int i = shape_.rank() - 1; i >= 0; --i) {
    if (shape_[i] == 0) return true;
    if (shape_[i] != 1 && strides_[i] != expected) return false;
    expected *= shape_[i];
  }
  return true;
}

Tensor Tensor::contiguous() const { return !defined() || is_contiguous() ? *this : clone(); }

Tensor Tensor::view(const Shape& wanted) const {
  check(defined(), "view: the tensor is undefined");
  check(is_contiguous(), "view: {} is not contiguous and cannot be seen as {}", shape_, wanted);
  Shape shape = wanted;
  int open = -1;
  int64_t known = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == -1) {
      check(open < 0, "view: more than one -1 in {}", wanted);
      open = i;
    } else {
      check(shape[i] >= 0, "view: impossible shape {}", wanted);
      known *= shape[i];
    }
  }
  if (open >= 0) {
    check(known > 0 && numel() % known == 0, "view: {} cannot be seen as {}", shape_, wanted);
    shape[open] = numel() / known;
  }
  check(shape.numel() == numel(), "view: {} cannot be seen as {}", shape_, wanted);
  Tensor out(storage_, dtype_, shape);
  out.data_ = data_;
  return out;
}

Tensor Tensor::slice(int dim, int64_t begin, int64_t end) const {
  const int d = checked_dim(dim);
  check(0 <= begin && begin <= end && end <= shape_[d], "slice: [{}, {}) is outside dimension {} of {}", begin, end,
        dim, shape_);
  Tensor out = *this;
  out.shape_[d] = end - begin;
  if (out.numel() > 0)
    out.data_ = static_cast<std::byte*>(data_) + begin * strides_[d] * static_cast<int64_t>(size_of(dtype_));
  return out;
}

Tensor Tensor::select(int dim, int64_t i) const {
  const int d = checked_dim(dim);
  check(0 <= i && i < shape_[d], "select: {} is outside dimension {} of {}", i, dim, shape_);
  Tensor out = slice(d, i, i + 1);
  int64_t dims[Shape::kMaxRank];
  int rank = 0;
  for (int j = 0; j < shape_.rank(); ++j) {
    if (j == d) continue;
    dims[rank] = shape_[j];
    out.strides_[rank++] = strides_[j];
  }
  out.shape_ = Shape(std::span<const int64_t>(dims, static_cast<size_t>(rank)));
  return out;
}

Tensor Tensor::transpose(int a, int b) const {
  const int i = checked_dim(a), j = checked_dim(b);
  Tensor out = *this;
  std::swap(out.shape_[i], out.shape_[j]);
  std::swap(out.strides_[i], out.strides_[j]);
  return out;
}

Tensor Tensor::flatten_rows() const {
  check(rank() > 0, "flatten_rows: a scalar has no rows");
  return view({rows(), dim(-1)});
}

Tensor Tensor::clone() const {
  check(defined(), "clone: the tensor is undefined");
  Tensor out = empty(shape_, dtype_, device());
  if (device().is_cpu())
    copy_all(out.data_);
  else
    cuda::strided_copy(device(), data_, shape_, strides_.data(), size_of(dtype_), out.data_);
  return out;
}

Tensor Tensor::to(Device target) const {
  check(defined(), "to: the tensor is undefined");
  if (target == device()) return *this;
  const Tensor source = contiguous();
  Tensor out = empty(shape_, dtype_, target);
  cuda::copy(out.data_, target, source.data_, device(), nbytes());
  return out;
}

void Tensor::copy_single(void* out, DType wanted) const {
  check_dtype(wanted);
  check(numel() == 1, "item: tensor {} has {} elements", shape_, numel());
  copy_all(out);
}

void Tensor::copy_all(void* out) const {
  if (numel() == 0) return;
  if (!device().is_cpu()) {
    const Tensor source = contiguous();
    cuda::copy(out, Device::cpu(), source.data_, device(), nbytes());
  } else if (is_contiguous()) {
    copy_bytes(out, data_, nbytes());
  } else {
    detail::strided_copy(data_, shape_, strides_.data(), size_of(dtype_), out);
  }
}

void Tensor::throw_dim(int i) const { fail("dimension {} does not exist in a tensor of shape {}", i, shape_); }

void Tensor::throw_dtype(DType wanted) const {
  check(defined(), "data of an undefined tensor was asked for (as {})", wanted);
  fail("data of a tensor {} of {} was asked for as {}", shape_, dtype_, wanted);
}

}  // namespace tenon
