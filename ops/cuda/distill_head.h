// CUDA kernels of ops/distill_head.h. Arguments are checked there; ids outside of the vocabulary are reported.
#pragma once

#include "../distill_arguments.h"

namespace tenon::ops::cuda {

/// loss f32 []
void distill_loss(const DistillStudent& student, const Tensor& teacher_hidden, const Tensor& teacher_weight,
                  const PackedWeight* teacher_packed, Tensor& loss);
void top_k_distill_loss(const DistillStudent& student, const TopLogProbs& teacher, Tensor& loss);
/// out is allocated.
void top_logprobs(const Tensor& hidden, const Tensor& weight, float temperature, const PackedWeight* packed,
                  TopLogProbs& out);

}  // namespace tenon::ops::cuda
