// tenon_bench: times single ops and whole workloads beside what the machine could do.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>

#include "../runtime/error.h"
#include "../runtime/threads.h"
#include "../tests/op_table/op_table.h"
#include "bench.h"

namespace tenon::bench {
namespace {

constexpr const char* kHelp =
    R"(tenon_bench [NAME] [options]     times NAME, or every op
tenon_bench list                names, with each op's shape
tenon_bench suite               ops and workloads in the order of importance, within --budget
tenon_bench table FILE...       Markdown of files of JSON lines

  --shape 4096x1024     another problem; as many numbers as 'list' shows
  --dtype f32|bf16      only this dtype
  --device cpu|cuda     where (a GPU if there is one); on a GPU each op has a larger shape of its own
  --threads N
  --forward, --backward only one of them
  --runs N              samples (7)
  --json                JSON lines
  --output FILE         JSON lines into this file too, behind what it holds
  --budget SECONDS      of suite (300): what is not begun by then is left out
  --model, --batch, --beta   of train_step, decode and grpo_step
)";

void list() {
  fmt::print("Ops:\n");
  for (const testing::OpCase& op : testing::op_table())
    fmt::print("  {:<28} {}{}\n", op.name, fmt::join(op.bench_shape, "x"),
               op.gpu_shape.empty() ? "" : fmt::format(", on a GPU {}", fmt::join(op.gpu_shape, "x")));
  fmt::print("Others:\n");
  for (const Benchmark& b : benchmarks()) fmt::print("  {:<28} {}\n", b.name, b.about);
}

void run(const Settings& settings) {
  if (settings.threads > 0) set_num_threads(settings.threads);
  const ThreadCountScope threads;
  if (settings.name == "help") return fmt::print("{}", kHelp);
  if (settings.name == "list") return list();
  for (const Benchmark& b : benchmarks())
    if (settings.name == b.name) return b.run(settings);
  run_ops(settings);
}

}  // namespace
}  // namespace tenon::bench

int main(int argc, char** argv) try {
  tenon::bench::run(tenon::bench::parse_settings(argc, argv));
} catch (const std::exception& e) {
  fmt::print(stderr, "tenon_bench: {}\n", e.what());
  return 1;
}
