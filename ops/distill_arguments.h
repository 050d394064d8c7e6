// What a distillation loss reads and writes, as its kernels get it (distill_head.h). Internal.
#pragma once

#include "distill_head.h"

namespace tenon::ops {

struct DistillStudent {
  const char* op;
  const Tensor& hidden;
  const Tensor& weight;
  const Tensor& token_weight;
  const DivergenceOptions& options;
  Tensor* divergence;
  Tensor* dhidden;
  Tensor* dweight;
  const HeadPacks& packs;

  int64_t tokens() const { return hidden.dim(0); }
  int64_t vocabulary() const { return weight.dim(0); }
  bool gradient() const { return dhidden || dweight; }
  float inverse_temperature() const { return 1 / options.temperature; }
};

}  // namespace tenon::ops
