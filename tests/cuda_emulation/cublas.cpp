// Plain loops in the place of cuBLASLt, so that layers and models run on the emulated GPU.
#include "../../ops/cuda/cublas.h"

#include "../../runtime/check.h"
#include "machine.h"

namespace tenon::ops::cuda {
namespace {

float element(const Operand& x, DType dtype, int64_t batch, int64_t row, int64_t column) {
  const int64_t at = batch * x.step + (x.transposed ? column * x.ld + row : row * x.ld + column);
  return dtype == DType::f32 ? static_cast<const float*>(x.data)[at] : to_float(static_cast<const bf16*>(x.data)[at]);
}

// Fails for memory that is no device's, or ends too early.
void check_extent(const char* name, const Operand& x, DType dtype, int64_t rows, int64_t columns, int64_t batch) {
  if (rows * columns == 0) return;
  const int64_t lines = x.transposed ? columns : rows, in_line = x.transposed ? rows : columns;
  const int64_t elements = (batch - 1) * x.step + (lines - 1) * x.ld + in_line;
  check(emulation::machine.is_device_range(x.data, static_cast<size_t>(elements) * size_of(dtype)),
        "product: {} of {} x {} is outside of device memory", name, rows, columns);
}

}  // namespace

void multiply(const Product& p, const Operand& a, const Operand& b, void* c, const void* bias) {
  if (emulation::machine.recording) {
    emulation::machine.queue([=] { multiply(p, a, b, c, bias); });
    return;
  }
  check_extent("a", a, p.operands, p.m, p.k, p.batch);
  check_extent("b", b, p.operands, p.k, p.n, p.batch);
  check_extent("c", {c, p.n, false, p.m * p.n}, p.result, p.m, p.n, p.batch);
  for_float_types(p.result, [&]<class T>() {
    for (int64_t i = 0; i < p.batch; ++i)
      for (int64_t r = 0; r < p.m; ++r)
        for (int64_t o = 0; o < p.n; ++o) {
          T& result = static_cast<T*>(c)[(i * p.m + r) * p.n + o];
          float sum = 0;
          for (int64_t l = 0; l < p.k; ++l) sum += element(a, p.operands, i, r, l) * element(b, p.operands, i, l, o);
          if (p.beta != 0) sum += p.beta * to_float(result);
          if (bias) sum += to_float(static_cast<const T*>(bias)[o]);
          result = from_float<T>(sum);
        }
  });
}

}  // namespace tenon::ops::cuda
