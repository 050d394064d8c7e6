// What every op does before its kernel runs: check its arguments, with errors that name the op, the argument, shapes,
// dtypes and devices, and choose the kernel of the device.
//
//   check_same_device("rms_norm", {{"x", x}, {"weight", weight}});
//   on_device("rms_norm", x.device(), [&] { cpu::rms_norm(x, weight, eps, y, rstd); });
#pragma once

#include <initializer_list>
#include <utility>

#include "../runtime/tensor.h"

namespace tenon::ops {

struct NamedTensor {
  const char* name;
  const Tensor& tensor;
};

/// Each throws Error, naming the op and the first argument that does not fit, or that is undefined.
void check_same_device(const char* op, std::initializer_list<NamedTensor> arguments);
void check_same_dtype(const char* op, std::initializer_list<NamedTensor> arguments);
void check_same_shape(const char* op, std::initializer_list<NamedTensor> arguments);
void check_dtype(const char* op, NamedTensor argument, DType wanted);
/// f32 or bf16, the types that kernels compute on.
void check_float(const char* op, std::initializer_list<NamedTensor> arguments);
void check_shape(const char* op, NamedTensor argument, const Shape& wanted);
void check_rank(const char* op, NamedTensor argument, int wanted);
/// For a result that is written in place.
void check_contiguous(const char* op, NamedTensor argument);
/// Index `dim` of a tensor of `rank` dimensions, negative from the end, as 0..rank-1.
int checked_dim(const char* op, const Tensor& x, int dim);

[[noreturn]] void no_kernel(const char* op, Device device);

/// Runs the kernel of `device`; a device without one is an Error ("rms_norm: no kernel for cuda:0 in this build").
template <class Cpu>
void on_device(const char* op, Device device, Cpu&& cpu) {
  if (!device.is_cpu()) no_kernel(op, device);
  std::forward<Cpu>(cpu)();
}

}  // namespace tenon::ops
