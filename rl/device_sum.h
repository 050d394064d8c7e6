// A sum of numbers that models compute, read when somebody asks for it: on a GPU reading waits for all that was queued
// before, so a step adds up what it wants to know and reads it at its end, if it is logged.
#pragma once

#include <utility>
#include <vector>

#include "../runtime/tensor.h"

namespace tenon::rl {

class DeviceSum {
 public:
  DeviceSum() = default;
  DeviceSum(double value) : sum_(value) {}  // NOLINT: a number that is known already is one too

  /// f32 `[]` on any device. On the CPU it is read here.
  void add(const Tensor& number, double weight = 1);
  void add(double number) { sum_ += number; }
  /// Waits for a GPU that has a part in it.
  double value() const;
  /// f32 `[]` on `device`, without waiting.
  Tensor on(Device device) const;

 private:
  double sum_ = 0;
  std::vector<std::pair<Tensor, double>> parts_;  // on GPUs
};

}  // namespace tenon::rl
