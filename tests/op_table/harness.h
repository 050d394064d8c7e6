// Runs an entry of the op table: as a test against its reference, and as tensors for the benchmark.
#pragma once

#include <string>
#include <vector>

#include "op_table.h"

namespace tenon::testing {

/// The entry's tensors for one problem, ready to run; the benchmark times run() and backward().
class OpRun {
 public:
  OpRun(const OpCase& op, const Problem& problem, DType dtype, uint64_t seed, Device device = Device::cpu());
  /// Fills outputs().
  void run();
  /// Needs run(). Fills gradients() and sinks().
  void backward();
  const Arrays& inputs() const { return inputs_; }  // as rounded
  const Tensors& outputs() const { return outputs_; }
  const Tensors& incoming() const { return incoming_; }
  Tensors& gradients() { return gradients_; }
  Tensors& sinks() { return sinks_; }

 private:
  void draw_incoming();

  const OpCase& op_;
  DType dtype_;
  Device device_;
  Draw draw_;
  Arrays inputs_;
  Tensors tensors_, outputs_, incoming_, gradients_, sinks_;
};

/// The largest error of `value` as Tolerance defines it; infinite for NaN where the reference has none, or when shapes
/// differ.
double largest_error(const Array& value, const Array& reference, double small);

/// Each line one failure with op, problem, dtype, tensor, error and tolerance; empty: all is well.
std::vector<std::string> check_values(const OpCase& op, const Problem& problem, DType dtype,
                                      Device device = Device::cpu());
/// Compares the gradients that the op gives on `device` with differences of the reference in double.
std::vector<std::string> check_gradients(const OpCase& op, const Problem& problem, DType dtype,
                                         Device device = Device::cpu());
/// Compares all outputs, gradients and sinks of the op on `device` with those on the CPU. Two results that are each
/// within the tolerance of the reference may be twice as far apart; `slack` times that for sums much longer than those
/// of the entry's shapes, for which its tolerances are meant.
std::vector<std::string> check_parity(const OpCase& op, const Problem& problem, DType dtype, Device device,
                                      double slack = 1);

}  // namespace tenon::testing
