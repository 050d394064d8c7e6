// What every op does before its kernel runs: check its arguments, with errors that name the op, the argument, shapes,
// dtypes and devices, and choose the kernel of the device.
//
//   check_same_device("rms_norm", {{"x", x}, {"weight", weight}});
//   on_device("rms_norm", x.device(), cpu::rms_norm, cuda::rms_norm, x.contiguous(), weight.contiguous(), eps, y,
//   rstd);
#pragma once

#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>

#include "../runtime/cuda.h"
#include "../runtime/profile.h"
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

namespace detail {

/// "f32 [3, 64]".
std::string describe(const Tensor& t);

/// The tensors of a kernel's arguments, for errors: "(f32 [3, 64], bf16 [64])".
template <class... A>
std::string describe_arguments(const A&... arguments) {
  std::string text;
  const auto add = [&](const auto& a) {
    using T = std::remove_cvref_t<decltype(a)>;
    if constexpr (std::is_same_v<T, Tensor>) text += (text.empty() ? "" : ", ") + describe(a);
    if constexpr (std::is_same_v<T, const Tensor*> || std::is_same_v<T, Tensor*>)
      if (a) text += (text.empty() ? "" : ", ") + describe(*a);
  };
  (add(arguments), ...);
  return "(" + text + ")";
}

double touched_bytes(const Tensor& t);

template <class T>
double operand_bytes(const T& a) {
  if constexpr (std::is_same_v<T, Tensor>) return touched_bytes(a);
  if constexpr (std::is_same_v<T, const Tensor*> || std::is_same_v<T, Tensor*>) return a ? touched_bytes(*a) : 0;
  return 0;
}

}  // namespace detail

/// An op's name, and for profiles what a call costs.
struct OpCall {
  OpCall(const char* op) : name(op) {}
  /// `operations` of matrix products in `dtype`.
  OpCall(const char* op, double operations, DType dtype) : name(op) {
    (dtype == DType::bf16 ? cost.bf16_flops : cost.f32_flops) = operations;
  }
  /// Bytes moved at least, where they are not all of the tensor arguments'.
  static OpCall moves(const char* op, double bytes) {
    OpCall call(op);
    call.cost.bytes = bytes;
    return call;
  }

  /// An index chooses the elements of a larger tensor that are read or written, as many as `values` has.
  static OpCall indexed(const char* op, const Tensor& index, const Tensor& values) {
    return moves(op, static_cast<double>(index.nbytes()) + 2 * static_cast<double>(values.nbytes()));
  }

  const char* name;
  profile::Cost cost{.bytes = -1};  // -1: each tensor argument once
};

/// Runs the kernel of `device` on the arguments. Kernels of CUDA are queued on the calling thread's stream; they do not
/// synchronise, and what goes wrong in them is an Error that names the op and its tensors.
template <class Cpu, class Cuda, class... A>
void on_device(const OpCall& op, Device device, Cpu&& cpu, Cuda&& cuda, A&&... arguments) {
  const auto cost = [&] {
    profile::Cost cost = op.cost;
    if (cost.bytes < 0) cost.bytes = (0.0 + ... + detail::operand_bytes(arguments));
    return cost;
  };
  if (device.is_cpu()) {
    const profile::OpTimer timer(op.name, device, cost);
    std::forward<Cpu>(cpu)(std::forward<A>(arguments)...);
    return;
  }
  const auto describe = [&] { return detail::describe_arguments(arguments...); };
  tenon::cuda::OpScope scope(
      op.name, device, [](const void* f) { return (*static_cast<decltype(describe)*>(f))(); }, &describe);
  {
    const profile::OpTimer timer(op.name, device, cost);
    std::forward<Cuda>(cuda)(arguments...);
  }
  scope.finish();
}

}  // namespace tenon::ops
