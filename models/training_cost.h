// What a step of training costs: arithmetic, and memory on each rank, from a model's config alone.
//
// Ranks are data-parallel: each trains on its share of the sequences and holds everything, but for what is sharded.
// Counted are matrix products and attention, as the ops' own comments count them (ops/linear.h, ops/attention.h: the
// backward of attention computes its scores again); norms, activations and the optimizer are a few per cent at most.
#pragma once

#include "model_size.h"

namespace tenon::models {

struct TrainingSetup {
  int64_t sequences = 1;  // in an optimizer step, over all ranks
  int64_t sequence_length = 4096;
  int64_t ranks = 1;
  DType dtype = DType::bf16;              // f32 or bf16
  int64_t tokens_per_micro_batch = 4096;  // that a rank keeps activations of; at least one sequence
  bool gradient_checkpointing = false;
  bool shard_optimizer = false;  // masters and moments of what every rank holds, divided over the ranks
  bool shard_experts =
      false;  // each rank holds its part of every layer's routed experts, with all that belongs to them
};

struct TrainingCost {
  int64_t tokens = 0;  // of the step, over all ranks

  // FLOPs of the step, over all ranks.
  double forward_flops = 0, backward_flops = 0;
  double recompute_flops = 0;  // of layers run again, with gradient_checkpointing
  double attention_flops = 0;  // the part of scores and mixing in all three
  double flops() const { return forward_flops + backward_flops + recompute_flops; }

  // Bytes on each rank.
  int64_t weight_bytes = 0;
  int64_t gradient_bytes = 0;   // f32
  int64_t optimizer_bytes = 0;  // masters (bf16 only) and two moments
  /// Values kept from forward to backward, the gradients that travel, and the head's; an estimate to some ten per cent,
  /// experts evenly loaded.
  int64_t activation_bytes = 0;
  int64_t bytes() const { return weight_bytes + gradient_bytes + optimizer_bytes + activation_bytes; }
};

/// Throws Error for numbers that are not positive, fewer sequences than ranks, and experts that do not divide over the
/// ranks.
TrainingCost training_cost(const ModelConfig& config, const TrainingSetup& setup);

}  // namespace tenon::models
