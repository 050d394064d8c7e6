// dpo, reward-model, ppo: reinforcement learning from human feedback, beside GRPO.
#include "dpo.h"
#include "job_parts.h"
#include "ppo.h"
#include "reward_model.h"

namespace tenon::rl {
namespace {

// Jobs that learn from pairs of answers.
template <class Options, class Trainer>
class PreferenceJob : public TrainingJob<Options, PreferenceOptions> {
 public:
  explicit PreferenceJob(const std::string& kind) : TrainingJob<Options, PreferenceOptions>(kind) {
    this->settings_.add("eval_data", eval_options_);
    this->settings_.add(kind, this->options_);
  }

 private:
  void train(models::Model& model, const RunControl& control) override {
    const auto data = PreferenceDataset::from_jsonl(need_path(this->data_options_, "data"), this->data_options_);
    Trainer trainer(model, data, this->options_);
    if (!eval_options_.path.empty()) trainer.set_eval(PreferenceDataset::from_jsonl(eval_options_.path, eval_options_));
    trainer.set_control(control);
    trainer.train();
  }

  FileOptions<PreferenceOptions> eval_options_;
};

class DpoJob : public PreferenceJob<DpoOptions, DpoTrainer> {
 public:
  DpoJob() : PreferenceJob("dpo") {}
};

class RewardModelJob : public PreferenceJob<RewardModelOptions, RewardModelTrainer> {
 public:
  RewardModelJob() : PreferenceJob("reward-model") {}

 private:
  models::Model open() override {
    models::Model model = PreferenceJob::open();
    return model.config().scalar_head ? std::move(model) : models::with_scalar_head(model, options_.seed);
  }
};

struct ValueModelOptions {
  std::string value_model;
};
template <class V>
void describe(V& v, ValueModelOptions& o) {
  v.field("value_model", o.value_model,
          "folder that the value model starts from, for example a reward model; empty: as the policy");
}

class PpoJob : public TrainingJob<PpoOptions> {
 public:
  PpoJob() : TrainingJob("ppo") {
    settings_.add("", value_options_);
    settings_.add("reward", rewards_);
    settings_.add("ppo", options_);
  }

 private:
  void train(models::Model& model, const RunControl& control) override {
    auto functions = rewards_.make("ppo");
    const auto data = PromptDataset::from_jsonl(need_path(data_options_, "data"), data_options_);
    models::Model value = open_value(model);
    PpoTrainer trainer(model, value, data, options_);
    for (WeightedReward& r : functions) trainer.reward(std::move(r));
    trainer.set_control(control);
    trainer.train();
    if (!control.stop || !control.stop->load()) models::save(value, options_.output_dir + "/value_model");
  }

  models::Model open_value(const models::Model& policy) const {
    if (value_options_.value_model.empty()) return models::with_scalar_head(policy, options_.seed);
    models::Model model = open_model(
        {.model = value_options_.value_model, .device = model_options_.device, .dtype = model_options_.dtype});
    return model.config().scalar_head ? std::move(model) : models::with_scalar_head(model, options_.seed);
  }

  ValueModelOptions value_options_;
  RewardList rewards_;
};

}  // namespace

std::vector<JobKind> rlhf_jobs() {
  return {
      {"dpo", "make preferred answers more probable than the others (direct preference optimization)", make<DpoJob>},
      {"reward-model", "train a model that scores answers, from pairs of which one was preferred",
       make<RewardModelJob>},
      {"ppo", "reinforcement learning with a value model: raise what scores better than the value model predicts",
       make<PpoJob>}};
}

}  // namespace tenon::rl
