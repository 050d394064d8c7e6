// tenon info: what a model folder holds and how much memory it takes.
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "../../models/config.h"
#include "../../models/model_size.h"
#include "../../runtime/cpu.h"
#include "../../runtime/files.h"
#include "../../runtime/threads.h"
#include "console.h"

namespace tenon::cli {
namespace {

void info(const std::string& model, const std::string& dtype_name, int64_t context) {
  nlohmann::ordered_json out;
  if (model.empty()) {
    out["processor"] = std::string(name(cpu_isa()));
    out["threads"] = num_threads();
    out["device"] = Device::best().name();
    print(out.dump(2) + "\n");
    return;
  }
  const bool file = std::filesystem::is_regular_file(model);
  const models::ModelConfig config =
      file ? models::config_from_json(read_file(model), model) : models::load_config(model);
  const DType dtype = dtype_from_name(dtype_name);
  const models::ModelSize size = models::size_of(config, dtype);
  out["architecture"] = config.architecture;
  out["vocab_size"] = config.vocab_size;
  out["hidden_size"] = config.hidden_size;
  out["layers"] = config.num_layers;
  out["heads"] = config.num_heads;
  out["kv_heads"] = config.num_kv_heads;
  out["head_dim"] = config.head_dim;
  if (config.is_moe()) {
    out["experts"] = config.num_experts;
    out["experts_per_token"] = config.experts_per_token;
    out["moe_layers"] = config.num_moe_layers();
  }
  out["max_position_embeddings"] = config.max_position_embeddings;
  out["parameters"] = size.parameters;
  out["active_parameters"] = size.active_parameters;
  out["embedding_parameters"] = size.embedding_parameters;
  out["dtype"] = dtype_name;
  out["weight_bytes"] = size.weight_bytes;
  out["training_bytes"] = size.training_bytes;
  out["kv_bytes_per_token"] = size.kv_bytes_per_token;
  out["kv_bytes_at_" + std::to_string(context)] = size.kv_bytes_per_token * context;
  print(out.dump(2) + "\n");
}

}  // namespace

void add_info_command(CLI::App& app) {
  struct State {
    std::string model, dtype = "bf16";
    int64_t context = 4096;
  };
  auto state = std::make_shared<State>();
  CLI::App* command =
      app.add_subcommand("info", "parameters, active parameters and memory of a model; without one, this machine");
  command->add_option("model", state->model, "folder of the model, or a config.json");
  command->add_option("--model", state->model, "the same");
  command->add_option("--dtype", state->dtype, "f32 or bf16")
      ->check(CLI::IsMember({"f32", "bf16"}))
      ->capture_default_str();
  command->add_option("--context", state->context, "tokens for which the cache is reckoned")->capture_default_str();
  command->callback([state] { info(state->model, state->dtype, state->context); });
}

}  // namespace tenon::cli
