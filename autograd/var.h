// Var: a tensor that remembers how it was computed, and the graph that `backward` walks.
//
// A differentiable op computes a value, keeps what its gradient needs, and calls `record`:
//
//   Var square(const Var& x) {
//     return record("square", {x}, ops::mul(x.value(), x.value()),
//                   [x = x.saved()](GradContext& g) { g.add(0, ops::scale(ops::mul(g.dy(), x), 2.0f)); });
//   }
//
// The graph holds edges and what the closures saved, never the values of inputs as such. `backward` frees it as it
// goes. Gradients of leaves are summed in f32; those of inner values have the value's dtype. One graph belongs to one
// thread.
#pragma once

#include <cstdint>
#include <forward_list>
#include <functional>
#include <memory>
#include <vector>

#include "../runtime/tensor.h"

namespace tenon {

class GradContext;
class Parameter;

namespace graph {
struct Leaf;
struct Node;
struct Edge;
struct VarState;
struct Pass;
}  // namespace graph

/// A tensor kept for the backward. Using it after its memory was changed in place throws Error.
class SavedTensor {
 public:
  SavedTensor() = default;
  explicit SavedTensor(Tensor tensor)
      : tensor_(std::move(tensor)), version_(tensor_.defined() ? tensor_.version() : 0) {}
  const Tensor& get() const;
  operator const Tensor&() const { return get(); }

 private:
  Tensor tensor_;
  uint64_t version_ = 0;
};

/// A value in the graph: a counted reference, cheap to copy.
class Var {
 public:
  Var() = default;
  /// A leaf. With `requires_grad` its gradient is summed in `grad()` (f32, of the value's shape).
  explicit Var(Tensor value, bool requires_grad = false);

  bool defined() const { return state_ != nullptr; }
  const Tensor& value() const;
  SavedTensor saved() const { return SavedTensor(value()); }
  bool requires_grad() const;
  /// f32 gradient of a leaf; undefined for inner values and before the first backward.
  Tensor grad() const;
  void zero_grad();
  /// The parameter whose value this is, frozen or not, or null.
  Parameter* parameter() const;
  /// The same value without its history.
  Var detach() const { return Var(value()); }

  const Shape& shape() const { return value().shape(); }
  int rank() const { return value().rank(); }
  int64_t dim(int i) const { return value().dim(i); }
  int64_t numel() const { return value().numel(); }
  DType dtype() const { return value().dtype(); }
  Device device() const { return value().device(); }

 private:
  friend class Parameter;
  friend struct graph::Pass;
  std::shared_ptr<graph::VarState> state_;
};

/// What the gradient of one op sees: the gradients of its outputs, and where those of its inputs go.
class GradContext {
 public:
  /// Gradient of an output, of its shape and dtype; contiguous; zeros where none arrived. Shared: never write into it.
  const Tensor& dy(int output = 0) const;
  bool has_dy(int output) const;
  /// Whether an input's gradient is wanted. `add` to one that is not is ignored, `sink` and `target` give scratch
  /// memory.
  bool needs(int input) const;
  /// Adds a gradient of the input's shape (dtype is converted). The tensor may be shared, as when dy is passed through.
  void add(int input, Tensor grad);
  /// f32 `[input's shape]` to accumulate into: a parameter's own gradient where the input is one.
  Tensor& sink(int input);
  struct Target {
    Tensor& tensor;  // the input's shape and dtype, contiguous
    float beta;      // 0: not written yet, to be overwritten whole; 1: to be added to
  };
  /// The gradient buffer of an input, for ops that compute `y = beta * y + ...`.
  Target target(int input);

 private:
  friend struct graph::Pass;
  GradContext(graph::Node& node, graph::Pass& pass) : node_(node), pass_(pass) {}
  void flush();
  Tensor& scratch(int input, const Shape& shape, DType dtype, Device device, bool zero);

  struct Pending {
    int input;
    Tensor tensor;
  };
  graph::Node& node_;
  graph::Pass& pass_;
  std::forward_list<Pending> pending_;  // buffers handed out that still have to be added where they belong
};

using Backward = std::function<void(GradContext&)>;

/// Puts an op with one result into the graph. `name` must outlive the graph (a literal). Nothing is kept when no input
/// requires a gradient.
Var record(const char* name, std::vector<Var> inputs, Tensor value, Backward backward);
/// The same for several results.
std::vector<Var> record_many(const char* name, std::vector<Var> inputs, std::vector<Tensor> values, Backward backward);

/// Adds d(seed * loss)/d(leaf) to every leaf's gradient. `loss` has one element. The graph is freed on the way, so this
/// works once.
void backward(const Var& loss, float seed = 1);
/// From several values at once, each with its gradient.
void backward(const std::vector<Var>& outputs, const std::vector<Tensor>& gradients);

/// While one lives, this thread records nothing.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool before_;
};
bool grad_enabled();

}  // namespace tenon
