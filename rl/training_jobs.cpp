// pretrain, sft, grpo, distill.
#include <nlohmann/json.hpp>

#include "../models/text/tokenizer.h"
#include "../runtime/files.h"
#include "distill.h"
#include "grpo.h"
#include "job_parts.h"
#include "pretrain.h"
#include "sft.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::ordered_json;

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
    const auto data = TextDataset::from_files(need_path(data_options_, "data"), data_options_);
    PretrainTrainer trainer(model, data, options_, control);
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
    SftTrainer trainer(model, data, options_, control);
    if (!eval_options_.path.empty()) trainer.set_eval(SftDataset::from_jsonl(eval_options_.path, eval_options_));
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
    auto functions = rewards_.make("grpo");
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
  v.field("teacher", o.teacher, "folder of the teacher; none where teacher_cache is complete");
}

class DistillJob : public TrainingJob<DistillOptions> {
 public:
  DistillJob() : TrainingJob("distill") {
    settings_.add("", teacher_);
    settings_.add("distill", options_);
  }

 private:
  void train(models::Model& model, const RunControl& control) override {
    const auto data =
        SftDataset::from_jsonl(need_path(data_options_, "data"), data_options_, options_.uses_given_completions());
    const ModelOptions teacher{
        .model = teacher_.teacher, .device = model_options_.device, .dtype = model_options_.dtype};
    DistillTrainer trainer(model, teacher, data, options_);
    trainer.set_control(control);
    trainer.train();
  }

  TeacherOptions teacher_;
};

}  // namespace

std::vector<JobKind> training_jobs() {
  return {{"pretrain", "train a model on text, from nothing or from a folder", make<PretrainJob>},
          {"sft", "fine-tune a model on prompts and completions, or on conversations", make<SftJob>},
          {"grpo", "reinforcement learning: sample groups of completions, raise those above their group's mean reward",
           make<GrpoJob>},
          {"distill", "train a student on a teacher's next-token distributions", make<DistillJob>}};
}

}  // namespace tenon::rl
