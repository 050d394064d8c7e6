// tenon info: how large a model is and what a step of training it costs, from its config.json alone.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "../../models/config.h"
#include "../../models/lora.h"
#include "../../models/training_cost.h"
#include "../../runtime/cpu.h"
#include "../../runtime/files.h"
#include "../../runtime/memory.h"
#include "../../runtime/threads.h"
#include "console.h"

namespace tenon::cli {
namespace {

using Json = nlohmann::ordered_json;

struct InfoOptions {
  std::string model, dtype = "bf16";
  int64_t context = 4096;
  models::TrainingSetup setup;
  bool json = false;
};

Json machine() {
  return {{"processor", std::string(name(cpu_isa()))}, {"threads", num_threads()}, {"device", Device::best().name()}};
}

Json parts(const models::ParameterCount& count) {
  return {{"embeddings", count.embeddings}, {"attention", count.attention}, {"dense_mlp", count.dense_mlp},
          {"experts", count.experts},       {"shared", count.shared},       {"router", count.router},
          {"biases", count.biases},         {"norms", count.norms}};
}

Json model_info(const models::ModelConfig& c, const models::ModelSize& size, const models::TrainingCost& cost,
                const InfoOptions& o) {
  Json out = {{"architecture", c.architecture}, {"vocab_size", c.vocab_size}, {"hidden_size", c.hidden_size},
              {"layers", c.num_layers},         {"heads", c.num_heads},       {"kv_heads", c.num_kv_heads},
              {"head_dim", c.head_dim}};
  if (c.sliding_window > 0) out["sliding_window"] = c.sliding_window;
  if (c.is_mla()) out["kv_lora_rank"] = c.kv_lora_rank;
  if (c.index_topk > 0) out["index_topk"] = c.index_topk;
  if (c.is_moe()) {
    out["experts"] = c.num_experts;
    out["experts_per_token"] = c.experts_per_token;
    out["moe_layers"] = c.num_moe_layers();
  }
  out["max_position_embeddings"] = c.max_position_embeddings;
  out["parameters"] = size.parameters;
  out["active_parameters"] = size.active_parameters;
  out["parameters_by_part"] = parts(size.all);
  out["active_parameters_by_part"] = parts(size.active);
  if (c.num_mtp_layers > 0) {
    out["mtp_modules"] = c.num_mtp_layers;
    out["mtp_parameters"] = size.mtp_parameters;
  }
  out["weight_bytes"] = {{"f32", 4 * size.parameters}, {"bf16", 2 * size.parameters}};
  out["dtype"] = o.dtype;
  out["kv_bytes_per_token"] = size.kv_bytes_per_token;
  out["kv_bytes_at_" + std::to_string(o.context)] = size.kv_bytes_per_token * o.context;
  out["training_step"] = {{"sequences", o.setup.sequences},
                          {"sequence_length", o.setup.sequence_length},
                          {"ranks", o.setup.ranks},
                          {"tokens", cost.tokens},
                          {"flops", cost.flops()},
                          {"forward_flops", cost.forward_flops},
                          {"backward_flops", cost.backward_flops},
                          {"recompute_flops", cost.recompute_flops},
                          {"attention_flops", cost.attention_flops},
                          {"bytes_per_rank", cost.bytes()},
                          {"weight_bytes_per_rank", cost.weight_bytes},
                          {"gradient_bytes_per_rank", cost.gradient_bytes},
                          {"optimizer_bytes_per_rank", cost.optimizer_bytes},
                          {"activation_bytes_per_rank", cost.activation_bytes}};
  return out;
}

// "8.03 B"
std::string short_number(double value) {
  for (auto [unit, suffix] : {std::pair{1e12, " T"}, {1e9, " B"}, {1e6, " M"}, {1e3, " K"}})
    if (value >= unit) return fmt::format("{:.2f}{}", value / unit, suffix);
  return fmt::format("{:.0f}", value);
}

std::string bytes_text(int64_t bytes) { return format_bytes(static_cast<size_t>(bytes)); }

std::string line(std::string_view name, std::string_view value) { return fmt::format("  {:<18}{}\n", name, value); }

std::string model_text(const models::ModelConfig& c, const models::ModelSize& size, const models::TrainingCost& cost,
                       const InfoOptions& o) {
  std::string out =
      fmt::format("{}: {} layers, hidden size {}, {} heads of {} ({} for keys and values), vocabulary {}, context {}\n",
                  c.architecture, c.num_layers, c.hidden_size, c.num_heads, c.head_dim, c.num_kv_heads, c.vocab_size,
                  c.max_position_embeddings);
  if (c.is_mla())
    out += fmt::format("latent attention: the cache holds {} numbers a token and layer for all heads\n",
                       c.cached_per_layer());
  if (c.is_moe())
    out += fmt::format("{} of {} layers have {} experts, of which a token meets {}\n", c.num_moe_layers(), c.num_layers,
                       c.num_experts, c.experts_per_token);
  if (c.is_mla())
    out += fmt::format("latent attention: {} numbers a token and layer in the cache\n", c.cached_per_layer());
  if (c.index_topk > 0)
    out +=
        fmt::format("sparse attention: an indexer chooses {} keys; not supported but by this command\n", c.index_topk);
  if (c.sliding_window > 0) out += fmt::format("sliding window of {} tokens\n", c.sliding_window);

  auto both = [](int64_t all, int64_t active) {
    std::string text = fmt::format("{:>10}", short_number(static_cast<double>(all)));
    if (active != all) text += fmt::format("   active {:>10}", short_number(static_cast<double>(active)));
    return text;
  };
  out += fmt::format("\nparameters {}\n", size.parameters);
  out += line("total", both(size.parameters, size.active_parameters));
  for (auto [name, part] : {std::pair{"embeddings", &models::ParameterCount::embeddings},
                            {"attention", &models::ParameterCount::attention},
                            {"dense mlp", &models::ParameterCount::dense_mlp},
                            {"experts", &models::ParameterCount::experts},
                            {"shared experts", &models::ParameterCount::shared},
                            {"routers", &models::ParameterCount::router},
                            {"biases", &models::ParameterCount::biases},
                            {"norms", &models::ParameterCount::norms}}) {
    if (size.all.*part > 0) out += line(name, both(size.all.*part, size.active.*part));
  }
  if (c.num_mtp_layers > 0)
    out += fmt::format(
        "beside them {} module{} that predict{} further tokens, {}: left out unless mtp_loss_weight is set\n",
        c.num_mtp_layers, c.num_mtp_layers == 1 ? "" : "s", c.num_mtp_layers == 1 ? "s" : "",
        short_number(static_cast<double>(size.mtp_parameters)));

  out += "\nmemory\n";
  out += line("weights",
              fmt::format("{} in bf16, {} in f32", bytes_text(2 * size.parameters), bytes_text(4 * size.parameters)));
  out += line("KV cache", fmt::format("{} a token in {}, {} for {} tokens", bytes_text(size.kv_bytes_per_token),
                                      o.dtype, bytes_text(size.kv_bytes_per_token * o.context), o.context));

  out += fmt::format("\na training step in {}: {} sequences of {} tokens on {} rank{}\n", o.dtype, o.setup.sequences,
                     o.setup.sequence_length, o.setup.ranks, o.setup.ranks == 1 ? "" : "s");
  out += line(
      "arithmetic",
      fmt::format("{:.3g} FLOPs: forward {:.3g}, backward {:.3g}, layers run again {:.3g}; attention's part {:.3g}",
                  cost.flops(), cost.forward_flops, cost.backward_flops, cost.recompute_flops, cost.attention_flops));
  out += line("memory of a rank", bytes_text(cost.bytes()));
  out += line("  weights", bytes_text(cost.weight_bytes));
  out += line("  gradients", bytes_text(cost.gradient_bytes));
  out += line("  optimizer", bytes_text(cost.optimizer_bytes));
  out += line("  activations", bytes_text(cost.activation_bytes) + ", estimated");
  return out;
}

void info(const InfoOptions& given) {
  if (given.model.empty()) {
    std::string text;
    const Json about = machine();
    for (const auto& [key, value] : about.items())
      text += key + ": " + (value.is_string() ? value.get<std::string>() : value.dump()) + "\n";
    print(given.json ? about.dump(2) + "\n" : text);
    return;
  }
  InfoOptions o = given;
  const bool file = std::filesystem::is_regular_file(o.model);
  const models::ModelConfig config =
      file ? models::config_from_json(read_file(o.model), o.model) : models::load_config(models::base_dir(o.model));
  o.setup.dtype = dtype_from_name(o.dtype);
  if (o.setup.sequence_length == 0) o.setup.sequence_length = std::min<int64_t>(4096, config.max_position_embeddings);
  if (o.setup.sequences == 0) o.setup.sequences = o.setup.ranks;
  const models::ModelSize size = models::size_of(config, o.setup.dtype);
  const models::TrainingCost cost = models::training_cost(config, o.setup);
  print(o.json ? model_info(config, size, cost, o).dump(2) + "\n" : model_text(config, size, cost, o));
}

}  // namespace

void add_info_command(CLI::App& app) {
  auto o = std::make_shared<InfoOptions>();
  o->setup.sequences = o->setup.sequence_length = 0;
  CLI::App* command = app.add_subcommand(
      "info", "parameters, memory and cost of training of a model, from its config alone; without one, this machine");
  command->add_option("model", o->model, "folder of the model, or a config.json");
  command->add_option("--model", o->model, "the same");
  command->add_flag("--json", o->json, "as JSON");
  command->add_option("--dtype", o->dtype, "f32 or bf16")->check(CLI::IsMember({"f32", "bf16"}))->capture_default_str();
  command->add_option("--context", o->context, "tokens for which the cache is reckoned")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32))
      ->capture_default_str();
  command->add_option("--batch", o->setup.sequences,
                      "sequences in a training step, over all ranks; default: one a rank");
  command->add_option("--sequence-length", o->setup.sequence_length,
                      "their tokens; default: 4096, or what the model can take");
  command->add_option("--ranks", o->setup.ranks, "data-parallel processes; each holds what is not sharded")
      ->capture_default_str();
  command
      ->add_option("--tokens-per-micro-batch", o->setup.tokens_per_micro_batch,
                   "tokens whose activations a rank holds at once")
      ->capture_default_str();
  command->add_flag("--gradient-checkpointing", o->setup.gradient_checkpointing,
                    "layers are run again in the backward instead of keeping their values");
  command->add_flag("--shard-optimizer", o->setup.shard_optimizer, "masters and moments divided over the ranks");
  command->add_flag("--shard-experts", o->setup.shard_experts, "routed experts divided over the ranks");
  command->callback([o] { info(*o); });
}

}  // namespace tenon::cli
