// Named values in double, from which an entry of the op table makes tensors and computes its reference.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../../runtime/error.h"
#include "../../runtime/random.h"
#include "../../runtime/tensor.h"

namespace tenon::testing {

/// The integers that describe a problem ({rows, dim}, say); each entry says what its integers mean.
using Problem = std::vector<int64_t>;

/// real: in the dtype under test. f32: f32 whatever is tested. i32: indices, ids, offsets.
enum class Kind { real, f32, i32 };

/// Row-major values with a shape.
struct Array {
  Shape shape;
  std::vector<double> values;
  Kind kind = Kind::real;

  Array() = default;
  explicit Array(const Shape& s, Kind k = Kind::real) : shape(s), values(static_cast<size_t>(s.numel())), kind(k) {}
  Array(const Shape& s, std::vector<double> v, Kind k = Kind::real) : shape(s), values(std::move(v)), kind(k) {}

  int64_t numel() const { return static_cast<int64_t>(values.size()); }
  int64_t dim(int i) const { return shape[i < 0 ? i + shape.rank() : i]; }
  int64_t rows() const { return dim(-1) ? numel() / dim(-1) : 0; }
  double& operator[](int64_t i) { return values[static_cast<size_t>(i)]; }
  double operator[](int64_t i) const { return values[static_cast<size_t>(i)]; }
  int64_t integer(int64_t i) const { return static_cast<int64_t>(values[static_cast<size_t>(i)]); }
  /// Row r of the array seen as [rows, last dimension].
  std::span<double> row(int64_t r) { return {values.data() + r * dim(-1), static_cast<size_t>(dim(-1))}; }
  std::span<const double> row(int64_t r) const { return {values.data() + r * dim(-1), static_cast<size_t>(dim(-1))}; }
};

/// The same values, always f32.
Array as_f32(Array);
/// Rounded to f32, or for real arrays to bf16 when that is `dtype`: what the op will see.
Array rounded(Array, DType dtype);
Tensor to_tensor(const Array&, DType dtype);
Array to_array(const Tensor&);

/// A few values by name, in order of insertion; looking up a name that is not there throws Error.
template <class T>
class Named {
 public:
  Named() = default;
  Named(std::initializer_list<std::pair<std::string, T>> items) : items_(items) {}
  const T& operator[](const std::string& name) const { return items_[index(name)].second; }
  T& operator[](const std::string& name) { return items_[index(name)].second; }
  bool contains(const std::string& name) const {
    for (const auto& item : items_)
      if (item.first == name) return true;
    return false;
  }
  void set(const std::string& name, T value) {
    if (contains(name))
      (*this)[name] = std::move(value);
    else
      items_.emplace_back(name, std::move(value));
  }
  size_t size() const { return items_.size(); }
  bool empty() const { return items_.empty(); }
  auto begin() { return items_.begin(); }
  auto end() { return items_.end(); }
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

  Problem problem;  // set by the harness

 private:
  size_t index(const std::string& name) const {
    for (size_t i = 0; i < items_.size(); ++i)
      if (items_[i].first == name) return i;
    throw Error("the op table's entry has no tensor named " + name);
  }
  std::vector<std::pair<std::string, T>> items_;
};

using Arrays = Named<Array>;
using Tensors = Named<Tensor>;

/// Draws inputs.
class Draw {
 public:
  explicit Draw(uint64_t seed) : rng_(seed) {}
  Array normal(const Shape&, double mean = 0, double std = 1);
  Array uniform(const Shape&, double low, double high);
  /// i32 in [0, below).
  Array integers(const Shape&, int64_t below);
  /// i32, each row of the last dimension without repeats.
  Array distinct(const Shape&, int64_t below);
  Rng& rng() { return rng_; }

 private:
  /// Large arrays are drawn in parallel, each from a stream of its own.
  RandomKey next_key() { return derive({rng_.seed(), 0}, ++arrays_); }

  Rng rng_;
  uint64_t arrays_ = 0;
};
/// i32 values as given: Draw's companion for cu_seqlens and the like.
Array integers(std::vector<int64_t> values);

}  // namespace tenon::testing
