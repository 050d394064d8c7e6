// Benchmarks of whole pieces of work, the ones that peers are timed on: a training step, decoding, a step of GRPO.
//
// Shapes, batch sizes and lengths are those of the peers' scripts and weights are random, so the lines can stand side
// by side.
#pragma once

#include <string>

#include "../models/model.h"
#include "bench.h"

namespace tenon::bench {

/// "dense10m" (8.7 M dense), "smollm2-135m" or "moe-small" (21 M, 4.6 M active), as in the peers' models.py, or
/// "mla-small" (latent attention of V2-Lite's widths, on an eighth of its hidden size). Error for another name.
models::ModelConfig workload_config(const std::string& model);

/// The dtypes to run: those asked for, else bf16.
std::vector<DType> workload_dtypes(const Settings& settings);

void train_step(const Settings& settings);
void decode(const Settings& settings);
void grpo_step(const Settings& settings);

}  // namespace tenon::bench
