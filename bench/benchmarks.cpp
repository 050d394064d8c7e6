#include "workloads.h"

namespace tenon::bench {

const std::vector<Benchmark>& benchmarks() {
  static const std::vector<Benchmark> list = {
      {"limits", "memory bandwidth and matrix products of this machine", report_limits},
      {"train_step", "forward, backward, clip and AdamW; --model dense10m, smollm2-135m, moe-small or mla-small",
       train_step},
      {"decode", "generation of SmolLM2-135M's shape, or of --model; --batch N", decode},
      {"grpo_step", "a whole step of GRPO; --model dense10m or smollm2-135m, --beta B", grpo_step},
  };
  return list;
}

}  // namespace tenon::bench
