// Benchmarks of whole pieces of work, the ones that peers are timed on: a training step, decoding, a step of GRPO.
//
// Shapes, batch sizes and lengths are those of the peers' scripts and weights are random, so the lines can stand side
// by side. Those for a GPU fit 80 GB.
#pragma once

#include <string>

#include "../models/model.h"
#include "bench.h"

namespace tenon::bench {

/// "dense10m" (8.7 M dense), "smollm2-135m" or "moe-small" (21 M, 4.6 M active), as in the peers' models.py,
/// "mla-small" (latent attention of V2-Lite's widths, on an eighth of its hidden size); for a GPU "dense-0.5b"
/// (Qwen2.5-0.5B), "dense-1b" (Llama-3.2-1B) and "moe-fine" (64 experts of which a token meets 8 and a shared one; 1.8
/// B, 0.47 B of them active). Error for another name.
models::ModelConfig workload_config(const std::string& model);

/// Those of `models` that settings ask for: the one named, else `of_cpu` or `of_gpu` by the device. Error for a name
/// that is in neither.
std::vector<std::string> chosen_models(const Settings& settings, std::vector<std::string> of_cpu,
                                       std::vector<std::string> of_gpu);

/// The dtypes to run: those asked for, else bf16.
std::vector<DType> workload_dtypes(const Settings& settings);

void train_step(const Settings& settings);
void decode(const Settings& settings);
void grpo_step(const Settings& settings);

}  // namespace tenon::bench
