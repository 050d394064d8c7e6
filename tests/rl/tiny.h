// Models small enough to train in a test: 32 channels, two layers, a vocabulary of twenty words.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "../../models/model.h"
#include "../../models/text/tokenizer.h"
#include "../../ops/cast.h"
#include "../../rl/datasets.h"
#include "../../rl/metrics.h"

namespace tenon::testing {

inline std::shared_ptr<const text::Tokenizer> tiny_tokenizer() {
  const std::vector<std::string> special = {"<pad>", "<bos>", "<eos>"};
  const std::vector<std::string> words = {"zero", "one",  "two",   "three", "four", "five", "six", "seven", "eight",
                                          "nine", "plus", "minus", "is",    "what", "yes",  "no",  "a",     "b"};
  return text::Tokenizer::from_json(
      text::word_level_tokenizer_json(special, words, "<pad>"), "tiny",
      text::tokenizer_config_json({.bos = "<bos>", .eos = "<eos>", .pad = "<pad>", .unk = ""}));
}

struct TinyOptions {
  bool experts = false;
  bool latent = false;     // with experts: latent attention, DeepSeek-V3's make
  int64_t mtp_layers = 0;  // of latent: modules that predict further tokens
  int64_t layers = 2;
  DType dtype = DType::f32;
  uint64_t seed = 1;
  double seq_aux_loss = 0;  // the model's own coefficient, with experts
  Device device = Device::cpu();
};

inline models::Model tiny_model(const TinyOptions& o = {}) {
  models::ModelConfig c;
  c.vocab_size = 24;
  c.hidden_size = 32;
  c.num_layers = o.layers;
  c.num_heads = 2;
  c.num_kv_heads = 1;
  c.head_dim = 16;
  c.intermediate_size = 48;
  c.max_position_embeddings = 64;
  c.eos_token_ids = {2};
  if (o.experts) {
    c.architecture = "Dots1ForCausalLM";
    c.model_type = "dots1";
    c.qk_norm = models::QkNorm::head;
    c.moe_layer.assign(static_cast<size_t>(o.layers), true);
    c.num_experts = 4;
    c.experts_per_token = 2;
    c.moe_intermediate_size = 16;
    c.shared_intermediate_size = 16;
    c.routing = {.top_k = 2, .score = ops::RouterScore::sigmoid};
    c.routing_bias = true;
    c.router_seq_aux_loss_coef = o.seq_aux_loss;
  }
  if (o.latent) {
    c.architecture = "DeepseekV3ForCausalLM";
    c.model_type = "deepseek_v3";
    c.qk_norm = models::QkNorm::none;
    c.num_kv_heads = c.num_heads;
    c.kv_lora_rank = 12;
    c.qk_nope_head_dim = c.qk_rope_head_dim = c.v_head_dim = 8;
    c.num_mtp_layers = o.mtp_layers;
  }
  models::Model model = models::create(
      c, {.device = o.device, .dtype = o.dtype, .seed = o.seed, .initializer = models::Initializer::fan_in});
  model.set_tokenizer(tiny_tokenizer());
  return model;
}

/// Every weight and buffer, for comparisons bit for bit.
inline std::map<std::string, std::vector<float>> weights_of(models::Model& model) {
  std::map<std::string, std::vector<float>> out;
  for (const auto& p : model.params().all()) out[p->name()] = ops::cast(p->master(), DType::f32).to_vector<float>();
  for (const auto& [name, tensor] : model.params().buffers()) out[name] = tensor->to_vector<float>();
  return out;
}

inline rl::Row document(std::string text) {
  rl::Row row;
  row.text = std::move(text);
  return row;
}

inline rl::Row example(std::string prompt, std::string completion) {
  rl::Row row;
  row.prompt = std::move(prompt);
  row.completion = std::move(completion);
  return row;
}

/// Sums of two digits, spelled out.
inline std::vector<std::pair<std::string, std::string>> sums() {
  const std::vector<std::string> digits = {"zero", "one", "two",   "three", "four",
                                           "five", "six", "seven", "eight", "nine"};
  std::vector<std::pair<std::string, std::string>> out;
  for (size_t a = 0; a < 5; ++a)
    for (size_t b = 0; b < 5; ++b) out.emplace_back("what is " + digits[a] + " plus " + digits[b], digits[a + b]);
  return out;
}

inline rl::SftDataset sum_examples() {
  std::vector<rl::Row> rows;
  for (const auto& [question, answer] : sums()) rows.push_back(example(question, answer));
  return rl::SftDataset::from_rows(std::move(rows));
}

inline rl::TextDataset sum_documents() {
  std::vector<std::string> texts;
  for (const auto& [question, answer] : sums()) texts.push_back(question + " " + answer);
  return rl::TextDataset::from_texts(std::move(texts));
}

inline rl::PromptDataset sum_prompts() {
  std::vector<rl::Row> rows;
  for (const auto& [question, answer] : sums()) rows.push_back(rl::make_row(question, {{"answer", answer}}));
  return rl::PromptDataset::from_rows(std::move(rows));
}

/// metrics.jsonl without what the clock says.
inline std::vector<rl::MetricsLine> timeless_metrics(const std::string& run) {
  std::vector<rl::MetricsLine> lines = rl::read_metrics(run + "/metrics.jsonl");
  for (rl::MetricsLine& line : lines)
    std::erase_if(line.values,
                  [](const auto& v) { return v.first.ends_with("_time") || v.first.ends_with("per_second"); });
  return lines;
}

inline double metric(const rl::MetricsLine& line, const std::string& name) {
  for (const auto& [n, value] : line.values)
    if (n == name) return value;
  throw Error("there is no metric " + name);
}

}  // namespace tenon::testing
