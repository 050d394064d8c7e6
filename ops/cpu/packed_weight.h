// Packed weights of the CPU: one block of memory with each expert's matrix in the layout that gemm_packed reads.
#pragma once

#include "../packed_weight.h"
#include "gemm.h"

namespace tenon::ops::cpu {

class CpuPackedWeight final : public PackedWeight {
 public:
  CpuPackedWeight(const Tensor& w, PackFor use);

  void write(const Tensor& w);
  const void* expert(int64_t e) const { return static_cast<const char*>(bytes_.raw()) + e * stride_; }
  /// Of the packed numbers, and so of the products with them.
  DType product() const { return product_; }
  size_t nbytes() const override { return bytes_.nbytes(); }

 private:
  DType product_;
  int64_t experts_, k_, n_, stride_;
  Tensor bytes_;
};

std::shared_ptr<const PackedWeight> pack_weight(const Tensor& w, PackFor use,
                                                std::shared_ptr<const PackedWeight> reuse);

/// The weight as a product's right-hand side: which dtype it is multiplied in with activations of `x`, and where each
/// expert's matrix stands. Holds a widened copy where the processor needs one and nothing is packed.
class WeightOperand {
 public:
  /// Throws Error, in the name of `op`, when `packed` was not made from such a weight for this use.
  WeightOperand(const char* op, DType x, const Tensor& w, PackFor use, const PackedWeight* packed);

  DType product() const { return product_; }
  /// c[m, n] = beta * c + a[m, k] b of expert e.
  void multiply(int64_t e, int64_t m, const void* a, int64_t lda, void* c, DType out, int64_t ldc, float beta) const;

 private:
  DType product_;
  PackFor use_;
  int64_t out_, in_;
  const CpuPackedWeight* packed_ = nullptr;
  Tensor dense_;
};

}  // namespace tenon::ops::cpu
