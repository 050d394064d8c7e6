#include "dispatch.h"

#include "../runtime/check.h"

namespace tenon::ops {
namespace {

void check_defined(const char* op, const NamedTensor& argument) {
  check(argument.tensor.defined(), "{}: {} is undefined", op, argument.name);
}

}  // namespace

void check_same_device(const char* op, std::initializer_list<NamedTensor> arguments) {
  const NamedTensor& first = *arguments.begin();
  for (const NamedTensor& a : arguments) {
    check_defined(op, a);
    check(a.tensor.device() == first.tensor.device(), "{}: {} is on {}, {} on {}", op, first.name,
          first.tensor.device(), a.name, a.tensor.device());
  }
}

void check_same_dtype(const char* op, std::initializer_list<NamedTensor> arguments) {
  const NamedTensor& first = *arguments.begin();
  for (const NamedTensor& a : arguments) {
    check_defined(op, a);
    check(a.tensor.dtype() == first.tensor.dtype(), "{}: {} is {}, {} is {}", op, first.name, first.tensor.dtype(),
          a.name, a.tensor.dtype());
  }
}

void check_same_shape(const char* op, std::initializer_list<NamedTensor> arguments) {
  const NamedTensor& first = *arguments.begin();
  for (const NamedTensor& a : arguments) {
    check_defined(op, a);
    check(a.tensor.shape() == first.tensor.shape(), "{}: {} {} and {} {} must have the same shape", op, first.name,
          first.tensor.shape(), a.name, a.tensor.shape());
  }
}

void check_dtype(const char* op, NamedTensor argument, DType wanted) {
  check_defined(op, argument);
  check(argument.tensor.dtype() == wanted, "{}: {} {} must be {}, it is {}", op, argument.name, argument.tensor.shape(),
        wanted, argument.tensor.dtype());
}

void check_float(const char* op, std::initializer_list<NamedTensor> arguments) {
  for (const NamedTensor& a : arguments) {
    check_defined(op, a);
    const DType dtype = a.tensor.dtype();
    check(dtype == DType::f32 || dtype == DType::bf16, "{}: {} {} must be f32 or bf16, it is {}", op, a.name,
          a.tensor.shape(), dtype);
  }
}

void check_shape(const char* op, NamedTensor argument, const Shape& wanted) {
  check_defined(op, argument);
  check(argument.tensor.shape() == wanted, "{}: {} must be {}, it is {}", op, argument.name, wanted,
        argument.tensor.shape());
}

void check_rank(const char* op, NamedTensor argument, int wanted) {
  check_defined(op, argument);
  check(argument.tensor.rank() == wanted, "{}: {} must have {} dimensions, it is {}", op, argument.name, wanted,
        argument.tensor.shape());
}

void check_contiguous(const char* op, NamedTensor argument) {
  check_defined(op, argument);
  check(argument.tensor.is_contiguous(), "{}: {} {} is written in place and must be contiguous", op, argument.name,
        argument.tensor.shape());
}

int checked_dim(const char* op, const Tensor& x, int dim) {
  const int rank = x.rank(), index = dim < 0 ? dim + rank : dim;
  check(index >= 0 && index < rank, "{}: no dimension {} in {}", op, dim, x.shape());
  return index;
}

// Broadcast elements count once.
double detail::touched_bytes(const Tensor& t) {
  if (!t.defined()) return 0;
  auto bytes = static_cast<double>(size_of(t.dtype()));
  for (int d = 0; d < t.rank(); ++d)
    if (t.stride(d) != 0) bytes *= static_cast<double>(t.dim(d));
  return bytes;
}

std::string detail::describe(const Tensor& t) {
  return t.defined() ? fmt::format("{} {}", t.dtype(), t.shape()) : "undefined";
}

}  // namespace tenon::ops
