#include "value_model.h"

#include "../autograd/indexing.h"
#include "../runtime/check.h"
#include "../runtime/safetensors.h"
#include "batches.h"

namespace tenon::rl {
namespace {

constexpr const char* kModel = "/value_model";
constexpr const char* kOptimizer = "/value_optimizer.safetensors";

models::Model& scalar(models::Model& model) {
  check(model.config().scalar_head, "the value model is a language model; give it a scalar head first");
  return model;
}

}  // namespace

ValueModel::ValueModel(models::Model& model, TrainerOptions options, int64_t total_steps)
    : model_(scalar(model)),
      options_(std::move(options)),
      schedule_(schedule_of(options_, total_steps)),
      optimizer_(model.params(), optimizer_options(options_)) {}

std::vector<float> ValueModel::values(const Rollout& rollout, std::span<const int64_t> samples,
                                      const std::vector<std::vector<int32_t>>& prompts) {
  NoGrad no_grad;
  std::vector<int64_t> lengths;
  for (const int64_t i : samples) lengths.push_back(input_length(rollout, i, prompts));
  std::vector<float> out;
  for (auto [begin, end] : micro_batches(lengths, options_.tokens_per_micro_batch)) {
    const CompletionBatch micro =
        pack_completions(rollout, samples.subspan(begin, end - begin), prompts, model_.device());
    const auto part = values(micro).value().to(Device::cpu()).to_vector<float>();
    out.insert(out.end(), part.begin(), part.end());
  }
  return out;
}

Var ValueModel::values(const CompletionBatch& micro) {
  models::Batch batch = micro.batch;
  batch.replay_routes = nullptr;  // the policy's
  const models::ForwardOptions forward{.recompute = options_.gradient_checkpointing};
  return model_.scores(gather_rows(model_.forward(batch, forward).hidden, micro.rows));
}

double ValueModel::step(int64_t step) {
  const StepResult result =
      optimizer_.step(static_cast<float>(schedule_.at(step)), static_cast<float>(options_.max_grad_norm));
  model_.params().zero_grad();
  return result.grad_norm();
}

void ValueModel::save(const std::string& dir) const {
  models::save(model_, dir + kModel);
  save_safetensors(dir + kOptimizer, optimizer_.state());
}

void ValueModel::load(const std::string& dir) {
  models::reload(model_, dir + kModel);
  const Safetensors file = Safetensors::open(dir + kOptimizer);
  optimizer_.load_state([&](const std::string& name) { return file.contains(name) ? file.tensor(name) : Tensor(); });
}

}  // namespace tenon::rl
