// dpo, reward-model: learning from human preferences.
#include "dpo.h"
#include "job_parts.h"
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

}  // namespace

std::vector<JobKind> rlhf_jobs() {
  return {
      {"dpo", "make preferred answers more probable than the others (direct preference optimization)", make<DpoJob>},
      {"reward-model", "train a model that scores answers, from pairs of which one was preferred",
       make<RewardModelJob>}};
}

}  // namespace tenon::rl
