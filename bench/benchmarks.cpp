#include "workloads.h"

namespace tenon::bench {

const std::vector<Benchmark>& benchmarks() {
  static const std::vector<Benchmark> list = {
      {"limits", "memory bandwidth and matrix products of this machine", report_limits},
      {"experts", "a layer of experts part by part; --shape TOKENSxEXPERTSxKxHIDDENxINNER", run_experts},
      {"train_step", "forward, backward, clip and AdamW; --model of workloads.h", train_step},
      {"decode", "generation of SmolLM2-135M's shape, on a GPU of 0.5 B, or of --model; --batch N", decode},
      {"grpo_step", "a whole step of GRPO; --model dense10m, smollm2-135m or dense-0.5b, --beta B", grpo_step},
      {"suite", "ops and workloads in the order of importance, within --budget seconds", run_suite},
      {"table", "Markdown of the files of JSON lines that follow", print_table},
  };
  return list;
}

}  // namespace tenon::bench
