#include "trainer.h"

#include <cmath>
#include <filesystem>

#include "../ops/cast.h"
#include "../ops/indexing.h"
#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/json.h"
#include "../runtime/safetensors.h"
#include "report/run_report.h"
#include "timed.h"

namespace tenon::rl {
namespace {

constexpr const char* kStateFile = "trainer_state.json";
constexpr const char* kTensorsFile = "trainer_state.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";

}  // namespace

Schedule schedule_of(const TrainerOptions& o, int64_t total_steps) {
  return {.kind = o.lr_scheduler_type,
          .learning_rate = o.learning_rate,
          .total_steps = total_steps,
          .warmup_steps = static_cast<int64_t>(std::ceil(o.warmup_ratio * static_cast<double>(total_steps))),
          .min_ratio = o.min_lr_rate};
}

AdamWOptions optimizer_options(const TrainerOptions& o) {
  return {.beta1 = static_cast<float>(o.adam_beta1),
          .beta2 = static_cast<float>(o.adam_beta2),
          .eps = static_cast<float>(o.adam_epsilon),
          .weight_decay = static_cast<float>(o.weight_decay)};
}

void TrainerOptions::validate() const {
  check(learning_rate >= 0 && std::isfinite(learning_rate), "learning_rate {} must not be negative", learning_rate);
  check(warmup_ratio >= 0 && warmup_ratio <= 1, "warmup_ratio {} must be in [0, 1]", warmup_ratio);
  check(min_lr_rate >= 0 && min_lr_rate <= 1, "min_lr_rate {} must be in [0, 1]", min_lr_rate);
  check(adam_beta1 >= 0 && adam_beta1 < 1, "adam_beta1 {} must be in [0, 1)", adam_beta1);
  check(adam_beta2 >= 0 && adam_beta2 < 1, "adam_beta2 {} must be in [0, 1)", adam_beta2);
  check(adam_epsilon > 0, "adam_epsilon {} must be positive", adam_epsilon);
  check(weight_decay >= 0, "weight_decay {} must not be negative", weight_decay);
  check(max_grad_norm >= 0, "max_grad_norm {} must not be negative", max_grad_norm);
  check(tokens_per_micro_batch > 0, "tokens_per_micro_batch {} must be positive", tokens_per_micro_batch);
  check(logging_steps > 0, "logging_steps {} must be positive", logging_steps);
  check(save_steps >= 0, "save_steps {} must not be negative", save_steps);
  check(save_total_limit >= 0, "save_total_limit {} must not be negative", save_total_limit);
  check(max_skipped_steps >= 0, "max_skipped_steps {} must not be negative", max_skipped_steps);
  for (const auto& [name, value] : {std::pair{"router_aux_loss_coef", router_aux_loss_coef},
                                    {"router_seq_aux_loss_coef", router_seq_aux_loss_coef},
                                    {"router_z_loss_coef", router_z_loss_coef}})
    check(std::isfinite(value), "{} {} must be finite", name, value);
  check(router_bias_update_speed >= 0, "router_bias_update_speed {} must not be negative", router_bias_update_speed);
  check(mtp_loss_weight >= 0 && std::isfinite(mtp_loss_weight), "mtp_loss_weight {} must not be negative",
        mtp_loss_weight);
}

models::ForwardOptions forward_options(const models::ModelConfig& config, const TrainerOptions& o) {
  models::ForwardOptions out{.recompute = o.gradient_checkpointing, .mtp = o.mtp_loss_weight > 0};
  if (!config.is_moe()) return out;
  auto chosen = [](double setting, double own) { return setting < 0 ? own : setting; };
  out.router_losses = true;
  out.router_loss_coefs = {chosen(o.router_aux_loss_coef, config.router_aux_loss_coef),
                           chosen(o.router_seq_aux_loss_coef, config.router_seq_aux_loss_coef),
                           chosen(o.router_z_loss_coef, config.router_z_loss_coef)};
  return out;
}

int64_t TrainerState::integer(const std::string& name) const {
  auto found = integers.find(name);
  check(found != integers.end(), "the checkpoint lacks '{}'", name);
  return found->second;
}

Tensor TrainerState::tensor(const std::string& name) const {
  for (const auto& [n, t] : tensors)
    if (n == name) return t;
  return {};
}

TrainingRun::TrainingRun(models::Model& model, const TrainerOptions& options, const RunControl& control,
                         std::string kind, int64_t total_steps, Checkpointed& trainer)
    : model_(model),
      options_(options),
      control_(control),
      kind_(std::move(kind)),
      total_steps_(total_steps),
      trainer_(trainer),
      schedule_(schedule_of(options, total_steps)),
      optimizer_(model.params(), optimizer_options(options)) {
  options_.validate();
  // Modules without a loss would fall behind the model that they stand on, and be saved as if they fitted it.
  const int64_t modules = model.config().num_mtp_layers;
  check(modules == 0 || options_.mtp_loss_weight > 0,
        "{}: the model has {} modules that predict further tokens, which nothing here trains; set mtp_loss_weight, or "
        "load the model without them",
        kind_, modules);
  check(modules > 0 || options_.mtp_loss_weight == 0,
        "{}: mtp_loss_weight is {}, and the model has no modules that predict further tokens", kind_,
        options_.mtp_loss_weight);
  if (!options_.output_dir.empty()) {
    folder_.emplace(options_.output_dir);
    if (!control_.settings_toml.empty()) write_file_atomically(folder_->settings_file(), control_.settings_toml);
    if (folder_->latest_checkpoint()) resume();
    metrics_.emplace(*folder_, resumed_ ? step_ : -1, options_.tensorboard);
  }
  // A step in which nothing has a gradient (all rewards equal) is still a step.
  for (const auto& p : model_.params().all())
    if (p->trainable()) p->grad();
  model_.params().zero_grad();
  if (control_.progress) control_.progress->begin(kind_, total_steps_, step_);
}

TrainingRun::~TrainingRun() = default;

bool TrainingRun::next() {
  if (step_ >= total_steps_ || stopped()) return false;
  if (unread_.empty()) {  // else the time is that of several steps
    begun_ = std::chrono::steady_clock::now();
    step_tokens_ = 0;
  }
  loads_.clear();
  expert_load_.clear();
  return true;
}

void TrainingRun::finish_step(const DeviceSum& loss, Metrics metrics, const StepEnd& end) {
  const double rate = learning_rate();
  double optimizer_time = 0;
  {
    Timed timed("optimizer", optimizer_time);
    const Tensor guard = loss.on(model_.device());
    unread_.push_back(optimizer_.step(static_cast<float>(rate), static_cast<float>(options_.max_grad_norm), &guard));
    model_.params().zero_grad();
  }
  const bool moves_bias = options_.router_bias_update_speed > 0;
  if (moves_bias) {
    read_expert_load();
    if (!unread_.back().skipped()) update_router_bias();
  }

  ++step_;
  const bool due = step_ % options_.logging_steps == 0 || step_ == total_steps_;
  const bool saved = options_.save_steps > 0 && step_ % options_.save_steps == 0;
  const StepResult last = unread_.back();
  const auto steps = static_cast<double>(unread_.size());
  if (due || saved || model_.device().is_cpu()) read_results();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
  const size_t before = metrics.size();
  if (end.updated) end.updated(metrics);
  const bool logged = due || metrics.size() > before;
  if (logged || model_.device().is_cpu()) {
    read_results();
    read_expert_load();
    const double value = loss.value();
    Metrics all = {{"loss", value}, {"grad_norm", last.grad_norm()}, {"learning_rate", rate}};
    all.insert(all.end(), metrics.begin(), metrics.end());
    for (const auto& [name, sum] : end.sums) all.emplace_back(name, sum.value());
    add_load_metrics(all);
    all.emplace_back("num_tokens", static_cast<double>(num_tokens_));
    all.emplace_back("skipped_steps", static_cast<double>(skipped_));
    all.emplace_back("optimizer_time", optimizer_time);
    all.emplace_back("step_time", seconds / steps);
    all.emplace_back("tokens_per_second", static_cast<double>(step_tokens_) / std::max(seconds, 1e-9));
    if (metrics_ && logged) metrics_->log(step_, all, {{"expert_load", expert_load_}});
    if (control_.progress) {
      if (last.skipped())
        control_.progress->message(fmt::format("step {}: {} is not finite, the step is skipped", step_,
                                               std::isfinite(value) ? "the gradient" : "the loss"));
      control_.progress->update(step_, all);
    }
  }
  check(skipped_in_a_row_ <= options_.max_skipped_steps,
        "{}: {} steps in a row had a loss or gradient that is not finite (max_skipped_steps {}); the last checkpoint "
        "is from before them. A lower "
        "learning_rate or max_grad_norm may help",
        kind_, skipped_in_a_row_, options_.max_skipped_steps);
  // Skipped steps in a row are not saved over the checkpoint from before them.
  if (saved && skipped_in_a_row_ == 0) save();
}

// Which of the steps since the last reading were skipped.
void TrainingRun::read_results() {
  for (const StepResult& result : std::exchange(unread_, {})) {
    const bool skipped = result.skipped();
    skipped_ += skipped;
    skipped_in_a_row_ = skipped ? skipped_in_a_row_ + 1 : 0;
  }
}

void TrainingRun::read_expert_load() {
  std::vector<Tensor> parts;
  for (const auto& micro : loads_) parts.insert(parts.end(), micro.begin(), micro.end());
  if (parts.empty()) return;
  const std::vector<int32_t> all = (parts.size() == 1 ? parts[0] : ops::concat(parts, 0)).to_vector<int32_t>();
  size_t at = 0;
  for (const auto& micro : std::exchange(loads_, {})) {
    expert_load_.resize(std::max(expert_load_.size(), micro.size()));
    for (size_t layer = 0; layer < micro.size(); ++layer) {
      expert_load_[layer].resize(static_cast<size_t>(micro[layer].numel()));
      for (int64_t& sum : expert_load_[layer]) sum += all[at++];
    }
  }
}

// Load balancing without a loss (arXiv 2408.15664; DeepSeek-V3, arXiv 2412.19437, section 2.1.2): the selection bias of
// an expert with more than the mean load falls by a fixed step, of one with less rises.
void TrainingRun::update_router_bias() {
  size_t layer = 0;
  for (const auto& [name, bias] : model_.params().buffers()) {
    if (!name.ends_with("e_score_correction_bias") || layer >= expert_load_.size()) continue;
    const std::vector<int64_t>& load = expert_load_[layer++];
    Tensor host = bias->to(Device::cpu());
    check(host.numel() == static_cast<int64_t>(load.size()), "{}: {} biases, loads of {} experts", name, host.numel(),
          load.size());
    double mean = 0;
    for (int64_t l : load) mean += static_cast<double>(l) / static_cast<double>(load.size());
    for (size_t e = 0; e < load.size(); ++e) {
      const double excess = static_cast<double>(load[e]) - mean;
      host.data<float>()[e] -= static_cast<float>(options_.router_bias_update_speed * (excess > 0   ? 1
                                                                                       : excess < 0 ? -1
                                                                                                    : 0));
    }
    if (!host.shares_storage(*bias)) ops::copy_into(*bias, host);
    bias->bump_version();
  }
}

// How far the busiest expert of a layer is above the mean, as a share of it (MaxVio of arXiv 2408.15664): of each
// layer, their mean, and the worst.
void TrainingRun::add_load_metrics(Metrics& metrics) const {
  if (expert_load_.empty()) return;
  Metrics layers;
  double sum = 0, worst = 0;
  size_t moe = 0;
  for (int64_t layer = 0; layer < model_.config().num_layers && moe < expert_load_.size(); ++layer) {
    if (!model_.config().is_moe_layer(layer)) continue;
    double total = 0, most = 0;
    for (int64_t l : expert_load_[moe]) {
      total += static_cast<double>(l);
      most = std::max(most, static_cast<double>(l));
    }
    const double violation = total > 0 ? most * static_cast<double>(expert_load_[moe].size()) / total - 1 : 0;
    layers.emplace_back("expert_load/max_violation/layer_" + std::to_string(layer), violation);
    sum += violation;
    worst = std::max(worst, violation);
    ++moe;
  }
  metrics.emplace_back("expert_load/max_violation", sum / static_cast<double>(moe));
  metrics.emplace_back("expert_load/max_violation_worst", worst);
  metrics.insert(metrics.end(), layers.begin(), layers.end());
}

void TrainingRun::log_start(const Metrics& metrics) {
  if (metrics_) metrics_->log(0, metrics);
}

void TrainingRun::log_completions(const std::vector<LoggedCompletion>& completions) {
  if (metrics_) metrics_->log_completions(step_ + 1, completions);
}

void TrainingRun::finish() {
  read_results();
  if (folder_ && saved_step_ != step_ && skipped_in_a_row_ == 0) save();
  if (metrics_) metrics_->flush();
  if (folder_) write_report(folder_->path(), kind_);
  if (control_.progress) control_.progress->end();
}

void TrainingRun::save() {
  if (!folder_) return;
  if (metrics_) metrics_->flush();
  folder_->write_checkpoint(
      step_,
      [&](const std::string& dir) {
        models::save(model_, dir);
        save_safetensors(dir + "/" + kOptimizerFile, optimizer_.state());
        TrainerState state;
        trainer_.save_state(state);
        if (!state.tensors.empty()) save_safetensors(dir + "/" + kTensorsFile, state.tensors);
        const Json json = {{"trainer", kind_},          {"global_step", step_},
                           {"max_steps", total_steps_}, {"num_tokens", num_tokens_},
                           {"skipped_steps", skipped_}, {"skipped_in_a_row", skipped_in_a_row_},
                           {"seed", options_.seed},     {"state", state.integers}};
        write_file_atomically(dir + "/" + kStateFile, json.dump(2) + "\n");
        trainer_.save_files(dir);
      },
      options_.save_total_limit);
  saved_step_ = step_;
}

void TrainingRun::resume() {
  const std::string dir = folder_->checkpoint_dir(*folder_->latest_checkpoint());
  const Json json = read_json(dir + "/" + kStateFile);
  TrainerState state;
  try {
    const auto kind = json.at("trainer").get<std::string>();
    check(kind == kind_, "{}: the checkpoint is of a {} run, this one is {}; use another output_dir", dir, kind, kind_);
    step_ = json.at("global_step").get<int64_t>();
    num_tokens_ = json.at("num_tokens").get<int64_t>();
    skipped_ = json.at("skipped_steps").get<int64_t>();
    skipped_in_a_row_ = json.at("skipped_in_a_row").get<int64_t>();
    state.integers = json.at("state").get<std::map<std::string, int64_t>>();
  } catch (const Json::exception& e) {
    fail("{}/{}: {}", dir, kStateFile, e.what());
  }
  models::reload(model_, dir);
  const Safetensors optimizer = Safetensors::open(dir + "/" + kOptimizerFile);
  optimizer_.load_state(
      [&](const std::string& name) { return optimizer.contains(name) ? optimizer.tensor(name) : Tensor(); });
  if (std::filesystem::exists(dir + "/" + kTensorsFile)) {
    const Safetensors tensors = Safetensors::open(dir + "/" + kTensorsFile);
    for (const SafetensorsEntry& entry : tensors.entries())
      state.tensors.emplace_back(entry.name, tensors.tensor(entry.name));
  }
  trainer_.load_state(state);
  trainer_.load_files(dir);
  saved_step_ = step_;
  resumed_ = true;
}

}  // namespace tenon::rl
