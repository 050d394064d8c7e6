#include "jobs.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "../models/text/tokenizer.h"
#include "../runtime/check.h"
#include "../runtime/files.h"
#include "datasets.h"
#include "distill.h"
#include "evaluate.h"
#include "grpo.h"
#include "pretrain.h"
#include "report.h"
#include "rewards/registry.h"
#include "sample_data.h"
#include "sft.h"
#include "tasks/countdown.h"
#include "tasks/word_problems.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

struct DataOptions : DatasetOptions {
  std::string path;
};
template <class V>
void describe(V& v, DataOptions& o) {
  v.field("path", o.path, "the file of JSON lines");
  describe(v, static_cast<DatasetOptions&>(o));
}

struct RewardList {
  std::vector<std::string> reward_funcs;
  std::vector<double> reward_weights;
  rewards::RewardOptions options;
};
template <class V>
void describe(V& v, RewardList& o) {
  v.field("reward_funcs", o.reward_funcs,
          "the rewards by name; exec:PROGRAM is any program that answers JSON lines with numbers");
  v.field("reward_weights", o.reward_weights, "their weights in the sum; empty: 1 each");
  describe(v, o.options);
}

Device device_from(const std::string& name) {
  if (name == "cpu") return Device::cpu();
  return name == "cuda" ? Device::cuda() : Device::best();
}

const std::string& need_path(const DataOptions& data, const char* section) {
  check(!data.path.empty(), "no data: set {}.path", section);
  return data.path;
}

// Figures of a training run: those of its last lines of metrics, averaged, and its time.
std::string training_result(const std::string& output_dir) {
  constexpr size_t kLines = 10;  // single steps of reinforcement learning scatter
  Json out = Json::object();
  if (!fs::exists(output_dir + "/metrics.jsonl")) return out.dump();
  const auto lines = read_metrics(output_dir + "/metrics.jsonl");
  if (lines.empty()) return out.dump();
  out["steps"] = lines.back().step;
  const size_t first = lines.size() - std::min(kLines, lines.size());
  for (const auto& [name, last] : lines.back().values) {
    double sum = 0;
    int count = 0;
    for (size_t i = first; i < lines.size(); ++i) {
      for (const auto& [other, value] : lines[i].values) {
        if (other == name && std::isfinite(value)) sum += value, ++count;
      }
    }
    const bool total = name == "num_tokens" || name == "epoch";
    if (count > 0) out[name] = total ? last : sum / count;
  }
  return out.dump();
}

// What the jobs that train have in common.
template <class Options>
class TrainingJob : public Job {
 public:
  TrainingJob(const std::string& kind) : Job(kind) {
    settings_.add("", model_options_);
    settings_.add("data", data_options_);
  }
  std::string output_dir() const override { return options_.output_dir; }
  void set_output_dir(const std::string& dir) override { options_.output_dir = dir; }

  std::string run(RunControl control) override {
    settings_.validate();
    check(!options_.output_dir.empty(), "{}: output_dir names no folder for the run", kind_);
    control.settings_toml = settings_.to_toml();
    models::Model model = open();
    train(model, control);
    check(!control.stop || !control.stop->load(), "interrupted");
    models::save(model, model_options_.output.empty() ? options_.output_dir + "/model" : model_options_.output);
    return training_result(options_.output_dir);
  }

 protected:
  virtual models::Model open() {
    bool mtp = false;
    if constexpr (requires { options_.mtp_loss_weight; }) mtp = options_.mtp_loss_weight > 0;
    return open_model(model_options_, mtp);
  }
  virtual void train(models::Model& model, const RunControl& control) = 0;

  ModelOptions model_options_;
  DataOptions data_options_;
  Options options_;
};

struct NewModelOptions {
  std::string config, tokenizer;
  models::Initializer initializer = models::Initializer::huggingface;
};
template <class V>
void describe(V& v, NewModelOptions& o) {
  v.field("config", o.config, "config.json of a new model, instead of [model_config]");
  v.field("tokenizer", o.tokenizer, "folder with the tokenizer of a new model");
  v.choice("initializer", o.initializer, {"huggingface", "fan_in"},
           "weights of a new model: N(0, initializer_range), or scaled by fan-in");
}

class PretrainJob : public TrainingJob<PretrainOptions> {
 public:
  PretrainJob() : TrainingJob("pretrain") {
    settings_.add("", new_model_);
    settings_.add("pretrain", options_);
  }

 private:
  models::Model open() override {
    if (!model_options_.model.empty()) return TrainingJob::open();
    check(!new_model_.config.empty() || !model_config_.empty(),
          "pretrain: give a model to go on from (model), or a new one's sizes ([model_config], or config)");
    check(!new_model_.tokenizer.empty(), "pretrain: a new model needs a tokenizer (tokenizer)");
    const std::string where = model_config_.empty() ? new_model_.config : "[model_config]";
    Json config = Json::parse(model_config_.empty() ? read_file(new_model_.config) : model_config_, nullptr, false);
    check(config.is_object(), "{}: not a JSON object", where);
    const auto tokenizer = text::Tokenizer::load(new_model_.tokenizer);
    const auto fill = [&](const char* key, const auto& value) {
      if (!config.contains(key)) config[key] = value;
    };
    fill("vocab_size", tokenizer->vocab_size());
    if (tokenizer->eos()) fill("eos_token_id", *tokenizer->eos());
    if (tokenizer->bos()) fill("bos_token_id", *tokenizer->bos());
    if (tokenizer->pad()) fill("pad_token_id", *tokenizer->pad());
    models::Model model =
        models::create(models::config_from_json(config.dump(), where),
                       {.device = device_from(model_options_.device),
                        .dtype = model_options_.dtype.empty() ? DType::f32 : dtype_from_name(model_options_.dtype),
                        .seed = options_.seed,
                        .initializer = new_model_.initializer});
    model.take_tokenizer_files(new_model_.tokenizer);
    return model;
  }
  void train(models::Model& model, const RunControl& control) override {
    const auto data = TextDataset::from_file(need_path(data_options_, "data"), data_options_);
    PretrainTrainer trainer(model, data, options_);
    trainer.set_control(control);
    trainer.train();
  }

  NewModelOptions new_model_;
};

class SftJob : public TrainingJob<SftOptions> {
 public:
  SftJob() : TrainingJob("sft") {
    settings_.add("eval_data", eval_options_);
    settings_.add("sft", options_);
  }

 private:
  void train(models::Model& model, const RunControl& control) override {
    const auto data = SftDataset::from_jsonl(need_path(data_options_, "data"), data_options_);
    SftTrainer trainer(model, data, options_);
    if (!eval_options_.path.empty()) trainer.set_eval(SftDataset::from_jsonl(eval_options_.path, eval_options_));
    trainer.set_control(control);
    trainer.train();
  }

  DataOptions eval_options_;
};

class GrpoJob : public TrainingJob<GrpoOptions> {
 public:
  GrpoJob() : TrainingJob("grpo") {
    settings_.add("reward", rewards_);
    settings_.add("grpo", options_);
  }

 private:
  void train(models::Model& model, const RunControl& control) override {
    check(!rewards_.reward_funcs.empty(), "grpo: no rewards; set reward_funcs, for example [\"accuracy\", \"format\"]");
    auto functions = rewards::make_rewards(rewards_.reward_funcs, rewards_.reward_weights, rewards_.options);
    const auto data = PromptDataset::from_jsonl(need_path(data_options_, "data"), data_options_);
    GrpoTrainer trainer(model, data, options_);
    for (WeightedReward& r : functions) trainer.reward(std::move(r));
    trainer.set_control(control);
    trainer.train();
  }

  RewardList rewards_;
};

struct TeacherOptions {
  std::string teacher;
};
template <class V>
void describe(V& v, TeacherOptions& o) {
  v.field("teacher", o.teacher, "folder of the teacher");
}

class DistillJob : public TrainingJob<DistillOptions> {
 public:
  DistillJob() : TrainingJob("distill") {
    settings_.add("", teacher_);
    settings_.add("distill", options_);
  }

 private:
  void train(models::Model& model, const RunControl& control) override {
    check(!teacher_.teacher.empty(), "distill: no teacher (teacher)");
    models::Model teacher =
        open_model({.model = teacher_.teacher, .device = model_options_.device, .dtype = model_options_.dtype});
    const auto data = SftDataset::from_jsonl(need_path(data_options_, "data"), data_options_);
    DistillTrainer trainer(model, teacher, data, options_);
    trainer.set_control(control);
    trainer.train();
  }

  TeacherOptions teacher_;
};

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
    return to_json(sample_data(model, data, options_, reward_options_, control));
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
    settings_.validate();
    models::Model model = open_model(model_options_);
    const auto data = PromptDataset::from_jsonl(need_path(data_options_, "data"), data_options_);
    const EvalResult result = evaluate(model, data, options_, reward_options_, control);
    if (!options_.output_dir.empty()) settings_.write(options_.output_dir + "/settings.toml");  // to repeat it
    if (control.progress) control.progress->message(to_text(result));
    return to_json(result);
  }

 private:
  ModelOptions model_options_;
  DataOptions data_options_;
  rewards::RewardOptions reward_options_;
  EvalOptions options_;
};

struct DataFolder {
  std::string output_dir;
};
template <class V>
void describe(V& v, DataFolder& o) {
  v.field("output_dir", o.output_dir, "folder for the files");
}

// Jobs that write a task's data.
template <class Options>
class DataJob : public Job {
 public:
  explicit DataJob(const std::string& kind) : Job(kind) {
    settings_.add("", folder_);
    settings_.add(kind, options_);
  }
  std::string output_dir() const override { return folder_.output_dir; }
  void set_output_dir(const std::string& dir) override { folder_.output_dir = dir; }
  std::string run(RunControl) override {
    settings_.validate();
    check(!folder_.output_dir.empty(), "{}: output_dir names no folder", kind_);
    make_folders(folder_.output_dir);
    return write(folder_.output_dir);
  }

 protected:
  virtual std::string write(const std::string& dir) = 0;
  DataFolder folder_;
  Options options_;
};

class CountdownJob : public DataJob<CountdownOptions> {
 public:
  CountdownJob() : DataJob("countdown") {}

 private:
  std::string write(const std::string& dir) override {
    write_countdown(options_, dir);
    const auto [all, held_out] = Countdown(options_).count_problems();
    return Json({{"problems", all}, {"held_out", held_out}, {"documents", options_.documents}}).dump();
  }
};

class WordProblemsJob : public DataJob<WordProblemOptions> {
 public:
  WordProblemsJob() : DataJob("word_problems") {}

 private:
  std::string write(const std::string& dir) override {
    write_word_problems(dir, options_);
    return Json({{"train", options_.train_rows}, {"held_out", options_.held_out_rows}}).dump();
  }
};

template <class T>
std::unique_ptr<Job> make() {
  return std::make_unique<T>();
}

struct Kind {
  const char* name;
  std::unique_ptr<Job> (*make)();
};
constexpr Kind kKinds[] = {{"pretrain", make<PretrainJob>},   {"sft", make<SftJob>},
                           {"grpo", make<GrpoJob>},           {"distill", make<DistillJob>},
                           {"sample", make<SampleJob>},       {"eval", make<EvalJob>},
                           {"countdown", make<CountdownJob>}, {"word_problems", make<WordProblemsJob>}};

constexpr const char* kLayerPrefix = "model.layers.";

}  // namespace

void ModelOptions::validate() const {
  for (const int64_t layer : layers) check(layer >= 0, "layers must not be negative, got {}", layer);
}

models::Model open_model(const ModelOptions& options, bool mtp) {
  check(!options.model.empty(), "no model: set model to a Hugging Face folder");
  models::LoadOptions load{.device = device_from(options.device),
                           .dtype = {},
                           .adapter = options.adapter,
                           .mtp = mtp && options.layers.empty()};
  if (!options.dtype.empty()) load.dtype = dtype_from_name(options.dtype);
  models::Model whole = models::load(options.model, load);
  if (options.layers.empty()) return whole;
  check(!models::lora_of(whole), "layers: {} has an adapter; merge it first (tenon merge)", options.model);

  models::ModelConfig config = whole.config();
  for (const int64_t layer : options.layers) {
    check(layer < config.num_layers, "layers: {} has {} layers, there is no layer {}", options.model, config.num_layers,
          layer);
  }
  const auto picked = [&](const std::vector<bool>& flags) {
    std::vector<bool> out;
    for (const int64_t layer : options.layers) out.push_back(flags[static_cast<size_t>(layer)]);
    return out;
  };
  if (!config.moe_layer.empty()) config.moe_layer = picked(config.moe_layer);
  if (!config.window_layer.empty()) config.window_layer = picked(config.window_layer);
  config.num_layers = static_cast<int64_t>(options.layers.size());
  models::Model model = models::create(config, {.device = load.device, .dtype = whole.dtype()});
  const auto source_of = [&](const std::string& name) {
    if (name.rfind(kLayerPrefix, 0) != 0) return name;
    const size_t begin = std::strlen(kLayerPrefix), end = name.find('.', begin);
    const auto layer = static_cast<size_t>(std::stoll(name.substr(begin, end - begin)));
    return kLayerPrefix + std::to_string(options.layers[layer]) + name.substr(end);
  };
  for (const auto& p : model.params().all()) p->assign(whole.params().at(source_of(p->name())).master());
  for (const auto& [name, buffer] : model.params().buffers()) {
    const Tensor& from = whole.params().buffer(source_of(name));
    std::copy_n(from.data<float>(), from.numel(), buffer->data<float>());  // routing biases
  }
  for (const auto& [name, bytes] : whole.files()) model.set_file(name, bytes);
  return model;
}

std::unique_ptr<Job> make_job(const std::string& kind) {
  for (const Kind& k : kKinds) {
    if (kind == k.name) return k.make();
  }
  std::string known;
  for (const std::string& name : job_kinds()) known += (known.empty() ? "" : ", ") + name;
  fail("unknown kind '{}'; known are {}", kind, known);
}

const std::vector<std::string>& job_kinds() {
  static const std::vector<std::string> kinds = [] {
    std::vector<std::string> out;
    for (const Kind& k : kKinds) out.emplace_back(k.name);
    return out;
  }();
  return kinds;
}

}  // namespace tenon::rl
