// tenon score: the log-probability of each token of a text, as the model sees it.
#include <memory>
#include <nlohmann/json.hpp>

#include "../../autograd/var.h"
#include "../../models/text/tokenizer.h"
#include "../../ops/loss_head.h"
#include "../../runtime/check.h"
#include "../jobs.h"
#include "console.h"

namespace tenon::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

struct Options {
  rl::ModelOptions model;
  std::string text, ids;
  float temperature = 1;
};

std::vector<int32_t> tokens_of(const Options& o, const models::Model& model) {
  if (!o.ids.empty()) {
    const auto json = OrderedJson::parse(o.ids, nullptr, false);
    check(json.is_array(), "--ids must be a JSON list of integers, got '{}'", o.ids.substr(0, 80));
    std::vector<int32_t> out;
    for (const auto& id : json) {
      check(id.is_number_integer(), "--ids must be a JSON list of integers, got {}", id.dump());
      const auto value = id.get<int64_t>();
      check(value >= 0 && value < model.config().vocab_size, "--ids: {} is not in the vocabulary of {} tokens", value,
            model.config().vocab_size);
      out.push_back(static_cast<int32_t>(value));
    }
    return out;
  }
  check(model.tokenizer() != nullptr, "{}: the model has no tokenizer; give --ids", model.source_dir());
  return model.tokenizer()->encode(o.text.empty() ? read_standard_input() : o.text, true);
}

void score(const Options& o) {
  models::Model model = rl::open_model(o.model);
  const std::vector<int32_t> ids = tokens_of(o, model);
  check(ids.size() >= 2, "score: a text of {} tokens has nothing to predict", ids.size());
  const NoGrad no_grad;
  const models::Forward forward = model.forward(models::pack_sequences({ids}, model.device()));
  const auto count = static_cast<int64_t>(ids.size());
  const Tensor hidden = forward.hidden.value().slice(0, 0, count - 1).contiguous();
  const Tensor targets = Tensor::from_vector(std::vector<int32_t>(ids.begin() + 1, ids.end())).to(model.device());
  const ops::TokenLogProbs scored =
      ops::token_logprobs(hidden, model.head_weight().value(), targets, o.temperature, true);
  const auto logprobs = scored.logprob.to(Device::cpu()).to_vector<float>();
  const auto entropies = scored.entropy.to(Device::cpu()).to_vector<float>();
  double sum = 0;
  for (const float v : logprobs) sum += v;
  OrderedJson out;
  out["ids"] = ids;
  if (const auto tokenizer = model.tokenizer()) {
    OrderedJson tokens = OrderedJson::array();
    for (const int32_t id : ids) tokens.push_back(tokenizer->token(id));
    out["tokens"] = std::move(tokens);
  }
  out["logprobs"] = OrderedJson::array({nullptr});  // nothing comes before the first token
  for (const float v : logprobs) out["logprobs"].push_back(v);
  out["entropies"] = OrderedJson::array({nullptr});
  for (const float v : entropies) out["entropies"].push_back(v);
  out["sum"] = sum;
  out["mean"] = sum / static_cast<double>(logprobs.size());
  print(out.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

}  // namespace

void add_score_command(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("score", "log-probability of each token of a text, as JSON");
  command->add_option("--model", options->model.model, "folder of the model, or of an adapter")->required();
  command->add_option("--adapter", options->model.adapter, "folder of a LoRA adapter to put on the model");
  command->add_option("--device", options->model.device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  command->add_option("--dtype", options->model.dtype, "f32 or bf16")->check(CLI::IsMember({"f32", "bf16"}));
  CLI::Option* text = command->add_option("--text", options->text, "the text; default: standard input");
  command->add_option("--ids", options->ids, "token ids instead, a JSON list")->excludes(text);
  command->add_option("--temperature", options->temperature, "divides the logits")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->callback([options] { score(*options); });
}

}  // namespace tenon::cli
