// The op table: one entry an op, which drives the test of its values, the test of its gradients and its benchmark.
//
// rms_norm.cpp is the example to copy. To add an op: write NAME.cpp with `std::vector<OpCase> NAME_cases()` and put
// NAME into the list in op_table.cpp. The harness (harness.h) then, for every dtype with a tolerance and every problem
// in `shapes`:
//   - draws `inputs`, rounds them to the dtype (real arrays) or to f32, and makes tensors of them;
//   - calls `run` and compares each output that `reference` names with what `reference` computes in double from the
//   rounded inputs;
//   - draws d(output) for the outputs in `differentiable`, differences sum(reference * doutput) in double with respect
//   to each input that
//     `backward` gives a gradient of (all elements of small inputs, chosen elements of larger ones, and one direction
//     through all), and compares.
// The benchmark runs `run` and `backward` on `bench_shape`, on a GPU on `gpu_shape`.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "arrays.h"

namespace tenon::testing {

/// What an entry's `backward` reads, and where it puts gradients.
class Gradients {
 public:
  Gradients(const Tensors& in, const Tensors& out, const Tensors& dout, Tensors& grads, Tensors& sinks)
      : in_(in), out_(out), dout_(dout), grads_(grads), sinks_(sinks) {}

  const Tensor& in(const std::string& name) const { return in_[name]; }
  /// Any tensor that `run` returned, also those that `reference` does not name (rstd, lse).
  const Tensor& out(const std::string& name) const { return out_[name]; }
  /// The incoming gradient of an output.
  const Tensor& d(const std::string& name) const { return dout_[name]; }
  /// Gives the gradient with respect to input `name`.
  void give(const std::string& name, Tensor gradient) { grads_.set(name, std::move(gradient)); }
  /// For ops that write: a tensor like the input, filled with NaN by the test, to be written whole.
  Tensor& buffer(const std::string& name);
  /// For ops that accumulate: an f32 tensor of the input's shape that holds something already (the test subtracts it
  /// again).
  Tensor& sink(const std::string& name);
  const Problem& problem() const { return in_.problem; }

  static constexpr float kSinkStart = 0.5f;

 private:
  const Tensors& in_;
  const Tensors& out_;
  const Tensors& dout_;
  Tensors& grads_;
  Tensors& sinks_;
};

/// Largest error allowed: |value - reference| / (|reference| + max(rms of the tensor's reference, `OpCase::small`)).
struct Tolerance {
  DType dtype;
  double value;     // of outputs
  double gradient;  // of gradients
};

struct OpCase {
  std::string name;
  std::vector<Problem> shapes;  // for the tests: odd sizes for the edges, small enough for the double reference
  Problem bench_shape;          // for the benchmark; as many integers as the others
  Problem gpu_shape = {};       // the benchmark's on a GPU, beyond its caches; empty: bench_shape
  std::function<Arrays(Draw&, const Problem&)> inputs;
  std::function<Tensors(const Tensors& in)> run;
  std::function<void(Gradients&)> backward = {};  // none: not differentiable
  std::function<Arrays(const Arrays& in)> reference;
  std::vector<std::string> differentiable = {};  // outputs with an incoming gradient; empty: the first of the reference
  std::vector<std::string> own_layout = {};      // outputs laid out as the device likes: `backward` alone reads them
  std::vector<Tolerance> tolerance;              // the dtypes to test, with the reason in a comment
  double small = 1e-2;                           // values below this are compared as if they were this large
  // Of one call: memory that must be moved (each operand once), `item` bytes a real element; and operations. For the
  // benchmark's share.
  std::function<double(const Problem&, double item)> bytes;
  std::function<double(const Problem&)> flops = {};
  std::function<double(const Problem&, double item)> backward_bytes = {};
  std::function<double(const Problem&)> backward_flops = {};
};

/// All entries, in the order of the list in op_table.cpp.
const std::vector<OpCase>& op_table();
/// The entry of that name, or null.
const OpCase* find_op(const std::string& name);

}  // namespace tenon::testing
