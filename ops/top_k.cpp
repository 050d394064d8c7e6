#include "top_k.h"

#include "../runtime/check.h"
#include "cpu/top_k.h"
#include "cuda/top_k.h"
#include "dispatch.h"

namespace tenon::ops {

TopK top_k(const Tensor& x, int k) {
  check_float("top_k", {{"x", x}});
  check_rank("top_k", {"x", x}, 2);
  check(k >= 1 && k <= x.dim(1), "top_k: {} of the {} elements of a row of {}", k, x.dim(1), x.shape());
  TopK out{Tensor::empty({x.dim(0), k}, x.dtype(), x.device()), Tensor::empty({x.dim(0), k}, DType::i32, x.device())};
  on_device("top_k", x.device(), cpu::top_k, cuda::top_k, x.contiguous(), k, out.values, out.indices);
  return out;
}

}  // namespace tenon::ops
