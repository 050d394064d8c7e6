// tenon merge: a LoRA adapter into the weights of its base, as a plain folder.
#include <memory>
#include <nlohmann/json.hpp>

#include "../../models/lora.h"
#include "../jobs.h"
#include "console.h"

namespace tenon::cli {
namespace {

struct Options {
  rl::ModelOptions model;
};

void merge(const Options& o) {
  models::Model model = rl::open_model(o.model);
  const models::LoraOptions* lora = models::lora_of(model);
  if (!lora) throw Error(o.model.model + ": it is no adapter; give an adapter's folder, or the base and --adapter");
  const nlohmann::ordered_json out = {{"r", lora->r},
                                      {"lora_alpha", lora->alpha},
                                      {"target_modules", lora->target_modules},
                                      {"base", model.source_dir()},
                                      {"output", o.model.output}};
  models::merge_lora(model);
  models::save(model, o.model.output);
  print(out.dump() + "\n");
}

}  // namespace

void add_merge_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("merge", "a LoRA adapter into the weights of its base, as a plain model folder");
  command->add_option("model,--model", options->model.model, "folder of the adapter, or of its base with --adapter")
      ->required();
  command->add_option("--adapter", options->model.adapter, "folder of the adapter");
  command->add_option("--dtype", options->model.dtype, "f32 or bf16; default: as the base")
      ->check(CLI::IsMember({"f32", "bf16"}));
  command->add_option("--output", options->model.output, "folder to write")->required();
  command->callback([options] { merge(*options); });
}

}  // namespace tenon::cli
