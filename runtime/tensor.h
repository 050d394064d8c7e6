// Tensor: a small value that refers to shared storage. Copying shares the elements; views share them too; clone()
// copies them.
//
// A tensor is a dtype, a shape, strides and an offset in elements, and a counted reference to Storage. Functions that
// make tensors throw Error when shapes are impossible or memory is short.
#pragma once

#include <array>
#include <initializer_list>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "device.h"
#include "dtype.h"
#include "shape.h"
#include "storage.h"

namespace tenon {

class Tensor {
 public:
  /// Undefined: only defined(), assignment and comparison of storage are allowed.
  Tensor() = default;

  /// Not initialised.
  static Tensor empty(const Shape& shape, DType dtype, Device device = Device::cpu());
  static Tensor zeros(const Shape& shape, DType dtype, Device device = Device::cpu());
  static Tensor full(const Shape& shape, float value, DType dtype, Device device = Device::cpu());
  /// Not initialised; contiguous, with the shape, dtype and device of `x`.
  static Tensor like(const Tensor& x) { return empty(x.shape(), x.dtype(), x.device()); }

  /// Copies `values` (row-major) into a CPU tensor of dtype_of<T>.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape) {
    return copy_of(values.data(), values.size(), shape, dtype_of<T>);
  }
  template <class T>
  static Tensor from(std::initializer_list<T> values, const Shape& shape) {
    return copy_of(values.begin(), values.size(), shape, dtype_of<T>);
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape) {
    static_assert(!std::is_same_v<T, bool>, "std::vector<bool> has no elements to copy; use std::vector<uint8_t>");
    return copy_of(values.data(), values.size(), shape, dtype_of<T>);
  }
  /// Rank 1.
  template <class T>
  static Tensor from_vector(const std::vector<T>& values) {
    return from(values, {static_cast<int64_t>(values.size())});
  }
  /// Memory handed in, row-major: the caller keeps it valid, or `keep_alive` does. Also how a mapped file becomes a
  /// tensor.
  static Tensor borrow(void* data, const Shape& shape, DType dtype, Device device = Device::cpu(),
                       std::shared_ptr<const void> keep_alive = {});

  bool defined() const { return storage_ != nullptr; }
  DType dtype() const { return dtype_; }
  Device device() const { return storage_ ? storage_->device() : Device::cpu(); }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  /// Negative `i` counts from the end. Throws Error outside the rank.
  int64_t dim(int i) const { return shape_[checked_dim(i)]; }
  /// In elements.
  int64_t stride(int i) const { return strides_[checked_dim(i)]; }
  int64_t numel() const { return shape_.numel(); }
  /// Rows of the last dimension: numel / dim(-1); 1 for a scalar.
  int64_t rows() const;
  size_t nbytes() const { return static_cast<size_t>(numel()) * size_of(dtype_); }
  bool is_contiguous() const;

  /// The first element. Throws Error when T is not the tensor's dtype.
  template <class T>
  T* data() {
    check_dtype(dtype_of<T>);
    return static_cast<T*>(data_);
  }
  template <class T>
  const T* data() const {
    check_dtype(dtype_of<T>);
    return static_cast<const T*>(data_);
  }
  /// Row r of a contiguous tensor seen as [rows, dim(-1)].
  template <class T>
  T* row(int64_t r) {
    return data<T>() + r * (shape_.rank() ? shape_[shape_.rank() - 1] : 1);
  }
  template <class T>
  const T* row(int64_t r) const {
    return data<T>() + r * (shape_.rank() ? shape_[shape_.rank() - 1] : 1);
  }
  void* raw() { return data_; }
  const void* raw() const { return data_; }

  /// The tensor itself when it is contiguous, else a copy.
  Tensor contiguous() const;
  /// Same elements in row-major order under another shape, of which one extent may be -1. Throws Error unless
  /// contiguous.
  Tensor view(const Shape& shape) const;
  /// Elements [begin, end) of a dimension.
  Tensor slice(int dim, int64_t begin, int64_t end) const;
  /// Element i of a dimension, which disappears.
  Tensor select(int dim, int64_t i) const;
  Tensor transpose(int a, int b) const;
  /// [rows(), dim(-1)].
  Tensor flatten_rows() const;
  /// A contiguous copy in memory of its own.
  Tensor clone() const;
  /// The tensor itself when it is there already.
  Tensor to(Device device) const;

  /// The only element. Throws Error when there are more, or T is not the dtype.
  template <class T>
  T item() const {
    T value;
    copy_single(&value, dtype_of<T>);
    return value;
  }
  /// The elements in row-major order.
  template <class T>
  std::vector<T> to_vector() const {
    static_assert(!std::is_same_v<T, bool>, "read bool tensors through data<bool>()");
    check_dtype(dtype_of<T>);
    std::vector<T> values(static_cast<size_t>(numel()));
    copy_all(values.data());
    return values;
  }

  uint64_t version() const { return storage_ ? storage_->version() : 0; }
  /// To be called by whoever writes into the elements in place.
  void bump_version() {
    if (storage_) storage_->bump_version();
  }
  bool shares_storage(const Tensor& other) const { return storage_ && storage_ == other.storage_; }
  const Storage* storage() const { return storage_.get(); }

 private:
  Tensor(std::shared_ptr<Storage> storage, DType dtype, const Shape& shape);

  static Tensor copy_of(const void* data, size_t count, const Shape& shape, DType dtype);
  int checked_dim(int i) const {
    const int rank = shape_.rank();
    const int j = i < 0 ? i + rank : i;
    if (j < 0 || j >= rank) throw_dim(i);
    return j;
  }
  void check_dtype(DType wanted) const {
    if (wanted != dtype_ || !storage_) throw_dtype(wanted);
  }
  [[noreturn]] void throw_dim(int i) const;
  [[noreturn]] void throw_dtype(DType wanted) const;
  void copy_single(void* out, DType wanted) const;
  void copy_all(void* out) const;

  std::shared_ptr<Storage> storage_;
  void* data_ = nullptr;  // the first element
  DType dtype_ = DType::f32;
  Shape shape_;
  std::array<int64_t, Shape::kMaxRank> strides_{};
};

}  // namespace tenon
