// sample, eval.
#include <filesystem>

#include "benchmarks.h"
#include "evaluate.h"
#include "job_parts.h"
#include "sample_data.h"

namespace tenon::rl {
namespace {

namespace fs = std::filesystem;

class SampleJob : public Job {
 public:
  SampleJob() : Job("sample") {
    settings_.add("", model_options_);
    settings_.add("data", data_options_);
    settings_.add("reward", reward_options_);
    settings_.add("sample", options_);
  }
  std::string output_dir() const override { return fs::path(options_.output).parent_path().string(); }
  void set_output_dir(const std::string& dir) override { options_.output = dir + "/samples.jsonl"; }
  std::string run(RunControl control) override {
    settings_.validate();
    models::Model model = open_model(model_options_);
    const auto data = PromptDataset::from_jsonl(need_path(data_options_, "data"), data_options_);
    const SampleDataResult result = sample_data(model, data, options_, reward_options_, control);
    if (control.progress) control.progress->message(to_text(result));
    return to_json(result);
  }

 private:
  ModelOptions model_options_;
  DataOptions data_options_;
  rewards::RewardOptions reward_options_;
  SampleDataOptions options_;
};

class EvalJob : public Job {
 public:
  EvalJob() : Job("eval") {
    settings_.add("", model_options_);
    settings_.add("data", data_options_);
    settings_.add("reward", reward_options_);
    settings_.add("eval", options_);
  }
  std::string output_dir() const override { return options_.output_dir; }
  void set_output_dir(const std::string& dir) override { options_.output_dir = dir; }
  std::string run(RunControl control) override {
    const Benchmark* benchmark = options_.benchmark.empty() ? nullptr : &find_benchmark(options_.benchmark);
    if (benchmark) apply_benchmark(settings_, *benchmark, options_);
    settings_.validate();
    models::Model model = open_model(model_options_);
    if (benchmark) apply_benchmark_prompt(settings_, *benchmark, model.chat_template() != nullptr);
    settings_.validate();
    control.settings_toml = settings_.to_toml();
    const auto data = PromptDataset::from_jsonl(need_path(data_options_, "data"), data_options_);
    const EvalResult result = evaluate(model, data, options_, reward_options_, control);
    if (control.progress) control.progress->message(to_text(result));
    return to_json(result);
  }

 private:
  ModelOptions model_options_;
  DataOptions data_options_;
  rewards::RewardOptions reward_options_;
  EvalOptions options_;
};

}  // namespace

std::vector<JobKind> sampling_jobs() {
  return {
      {"sample", "sample completions and keep those that are correct and readable, as training data", make<SampleJob>},
      {"eval", "sample answers to questions: pass@1, majority vote, pass@k", make<EvalJob>}};
}

}  // namespace tenon::rl
