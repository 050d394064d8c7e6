// Everything worth a number, the most telling first: what has an aim, whole workloads, then the rest of the op table.
#include <chrono>
#include <set>

#include "../runtime/error.h"
#include "../tests/op_table/op_table.h"
#include "bench.h"
#include "workloads.h"

namespace tenon::bench {
namespace {

struct Item {
  std::string name;
  std::function<void()> run;
};

// Steps of workloads take long and vary little on a GPU.
constexpr int kWorkloadRuns = 3;

std::vector<Item> items_of(const Settings& settings) {
  std::vector<Item> items;
  const bool gpu = !settings.device.is_cpu();
  std::set<std::pair<std::string, DType>> seen;
  const auto op = [&](const std::string& name, DType dtype, std::vector<int64_t> shape = {}) {
    Settings s = settings;
    s.name = name;
    s.shape = std::move(shape);
    seen.emplace(name, dtype);
    items.push_back({name + " " + std::string(tenon::name(dtype)), [s, dtype] { run_op(s, dtype); }});
  };
  const auto workload = [&](const char* name, const char* model, void (*run)(const Settings&), int64_t batch = 0) {
    Settings s = settings;
    s.name = name;
    s.model = model;
    s.batch = batch;
    s.runs = std::min(s.runs, kWorkloadRuns);
    items.push_back({*model ? std::string(name) + " " + model : name, [s, run] { run(s); }});
  };

  constexpr DType kMain = DType::bf16;
  for (const char* name : {"rms_norm", "rms_norm_residual", "rope", "swiglu", "adamw", "attention"}) op(name, kMain);
  if (gpu) op("attention", kMain, {4, 4096, 32, 32, 128, 128, 0, 0});  // every key, no heads shared
  items.push_back({"experts", [settings] { run_experts(settings); }});
  for (const char* name : {"token_loss_one_pass", "token_logprobs", "linear", "paged_attention"}) op(name, kMain);
  if (gpu) {
    workload("train_step", "dense-0.5b", train_step);
    workload("decode", "dense-0.5b", decode);
    workload("train_step", "moe-fine", train_step);
    workload("grpo_step", "dense-0.5b", grpo_step);
    workload("decode", "moe-fine", decode);
    workload("train_step", "dense-1b", train_step);
  } else {
    workload("train_step", "", train_step);
    workload("decode", "", decode);
    workload("grpo_step", "", grpo_step);
  }
  for (DType dtype : {kMain, DType::f32})
    for (const testing::OpCase& entry : testing::op_table())
      for (const testing::Tolerance& t : entry.tolerance)
        if (t.dtype == dtype && !seen.contains({entry.name, dtype})) op(entry.name, dtype);
  return items;
}

}  // namespace

void run_suite(const Settings& settings) {
  report_limits(settings);
  const auto start = std::chrono::steady_clock::now();
  for (const Item& item : items_of(settings)) {
    const double spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (spent > settings.budget) {
      report_failure(settings, item.name, "the budget was spent");
      continue;
    }
    try {
      item.run();
    } catch (const Error& error) {
      report_failure(settings, item.name, error.what());
    }
  }
}

}  // namespace tenon::bench
