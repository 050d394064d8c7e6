#include "config.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/json.h"
#include "zoo/family.h"

namespace tenon::models {
namespace {

using nlohmann::json;
using zoo::ConfigReader;

// transformers 4: `rope_theta` and `rope_scaling` (absent, null, or with `type` / `rope_type`). transformers 5: all in
// `rope_parameters`.
void read_rope(const ConfigReader& reader, ModelConfig& config) {
  config.rope_theta = reader.number("rope_theta", 10000);
  auto rope = reader.object(reader.first_of({"rope_parameters", "rope_scaling"}));
  if (!rope) return;
  config.rope_theta = rope->number("rope_theta", config.rope_theta);
  check(rope->number("partial_rotary_factor", 1) == 1, "{}: `partial_rotary_factor` other than 1 is not supported",
        rope->where());
  std::string type = rope->text(rope->first_of({"rope_type", "type"}), "default");
  if (type == "default") return;

  RopeScaling& s = config.rope_scaling;
  s.type = type;
  check(type == "linear" || type == "llama3" || type == "yarn",
        "{}: rope scaling `{}` is not supported; linear, llama3 and yarn are", rope->where(), type);
  check(rope->has("factor"), "{}: `factor` is missing", rope->where());
  s.factor = rope->number("factor", 1);
  check(std::isfinite(s.factor) && s.factor >= 1, "{}: `factor` {} must be at least 1", rope->where(), s.factor);
  if (type == "linear") return;

  s.original_max_position_embeddings =
      rope->integer("original_max_position_embeddings",
                    reader.integer("original_max_position_embeddings", config.max_position_embeddings));
  check(s.original_max_position_embeddings > 0, "{}: `original_max_position_embeddings` must be positive",
        rope->where());
  if (type == "llama3") {
    s.low_freq_factor = rope->number("low_freq_factor", 1);
    s.high_freq_factor = rope->number("high_freq_factor", 4);
    check(s.low_freq_factor > 0 && s.high_freq_factor > s.low_freq_factor,
          "{}: `high_freq_factor` {} must be greater than `low_freq_factor` {}, both positive", rope->where(),
          s.high_freq_factor, s.low_freq_factor);
  } else {
    s.beta_fast = rope->number("beta_fast", 32);
    s.beta_slow = rope->number("beta_slow", 1);
    s.attention_factor = rope->number("attention_factor", 0);
    s.mscale = rope->number("mscale", 0);
    s.mscale_all_dim = rope->number("mscale_all_dim", 0);
    check(std::isfinite(s.mscale) && s.mscale >= 0 && std::isfinite(s.mscale_all_dim) && s.mscale_all_dim >= 0,
          "{}: `mscale` {} and `mscale_all_dim` {} must not be negative", rope->where(), s.mscale, s.mscale_all_dim);
    check(s.beta_slow > 0 && s.beta_fast >= s.beta_slow,
          "{}: `beta_fast` {} must not be less than `beta_slow` {}, both positive", rope->where(), s.beta_fast,
          s.beta_slow);
  }
}

void write_rope(const ModelConfig& config, json& out) {
  const json before = out.value(out.contains("rope_parameters") ? "rope_parameters" : "rope_scaling", json());
  json scaling = nullptr;
  const RopeScaling& s = config.rope_scaling;
  if (!s.type.empty()) {
    scaling = {{"rope_type", s.type}, {"factor", s.factor}};
    if (before.is_object() && before.contains("type")) scaling["type"] = s.type;  // DeepSeek's own code reads it
    if (s.type != "linear") scaling["original_max_position_embeddings"] = s.original_max_position_embeddings;
    if (s.type == "llama3") {
      scaling["low_freq_factor"] = s.low_freq_factor;
      scaling["high_freq_factor"] = s.high_freq_factor;
    } else if (s.type == "yarn") {
      scaling["beta_fast"] = s.beta_fast;
      scaling["beta_slow"] = s.beta_slow;
      if (s.attention_factor != 0) scaling["attention_factor"] = s.attention_factor;
      if (s.mscale != 0) scaling["mscale"] = s.mscale;
      if (s.mscale_all_dim != 0) scaling["mscale_all_dim"] = s.mscale_all_dim;
    }
  }
  if (out.contains("rope_parameters")) {  // the file was in the style of transformers 5: stay with it
    if (scaling.is_null()) scaling = {{"rope_type", "default"}};
    scaling["rope_theta"] = config.rope_theta;
    out["rope_parameters"] = scaling;
    out.erase("rope_theta");
    out.erase("rope_scaling");
  } else {
    out["rope_theta"] = config.rope_theta;
    out["rope_scaling"] = scaling;
  }
}

constexpr std::string_view kLanguageModel = "ForCausalLM", kClassifier = "ForSequenceClassification";

// A model with a scalar head is another class of the same family, which the zoo lists by its language model.
void read_head(const json& parsed, const std::string& where, ModelConfig& config) {
  std::string& name = config.architecture;
  if (!name.ends_with(kClassifier)) return;
  name.replace(name.size() - kClassifier.size(), std::string::npos, kLanguageModel);
  config.scalar_head = true;
  const auto names = parsed.find("id2label");
  const bool named = names != parsed.end() && names->is_object();
  const int64_t labels =
      named ? static_cast<int64_t>(names->size()) : ConfigReader(parsed, where).integer("num_labels", 2);
  check(labels == 1, "{}: a classifier of {} labels is not supported; one label (a reward) is", where, labels);
}

void write_head(const ModelConfig& config, json& out) {
  std::string name = config.architecture;
  if (config.scalar_head) {
    if (name.ends_with(kLanguageModel))
      name.replace(name.size() - kLanguageModel.size(), std::string::npos, kClassifier);
    out["id2label"] = {{"0", "LABEL_0"}};
    out["label2id"] = {{"LABEL_0", 0}};
  } else {
    out.erase("id2label");
    out.erase("label2id");
  }
  out["architectures"] = {name};
}

std::string architecture_of(const ConfigReader& reader) {
  std::vector<std::string> names = reader.texts("architectures");
  if (!names.empty()) return names.front();
  std::string type = reader.text("model_type", "");
  for (const zoo::Family& f : zoo::families()) {
    if (type == f.model_type) return f.architecture;
  }
  check(!type.empty(), "{}: neither `architectures` nor `model_type` is there", reader.where());
  return type;  // unknown; the error about it names it
}

json parse_object(const std::string& text, const std::string& where) {
  json parsed = parse_json(text, where);
  check(parsed.is_object(), "{}: a JSON object is expected", where);
  return parsed;
}

double yarn_magnitude(double factor, double a) { return 0.1 * a * std::log(factor) + 1; }

}  // namespace

double RopeScaling::rotation_factor() const {
  if (type != "yarn") return 1;
  if (attention_factor != 0) return attention_factor;
  if (mscale != 0 && mscale_all_dim != 0)
    return yarn_magnitude(factor, mscale) / yarn_magnitude(factor, mscale_all_dim);
  return yarn_magnitude(factor, 1);
}

double RopeScaling::softmax_factor() const {
  const double m = type == "yarn" ? yarn_magnitude(factor, mscale_all_dim) : 1;
  return m * m;
}

int64_t ModelConfig::num_moe_layers() const { return std::count(moe_layer.begin(), moe_layer.end(), true); }

int64_t ModelConfig::window(int64_t layer) const {
  if (sliding_window <= 0) return 0;
  return window_layer.empty() || window_layer[static_cast<size_t>(layer)] ? sliding_window : 0;
}

ModelConfig config_from_json(const std::string& text, const std::string& where) {
  json parsed = parse_object(text, where);
  ConfigReader reader(parsed, where);
  ModelConfig c;
  c.architecture = architecture_of(reader);
  read_head(parsed, where, c);
  const zoo::Family& family = zoo::family(c.architecture, where);
  c.model_type = family.model_type;

  c.vocab_size = reader.integer("vocab_size");
  c.hidden_size = reader.integer("hidden_size");
  c.num_layers = reader.integer("num_hidden_layers");
  c.num_heads = reader.integer("num_attention_heads");
  c.num_kv_heads = reader.integer("num_key_value_heads", c.num_heads);
  check(c.num_layers > 0 && c.num_layers <= 10000, "{}: `num_hidden_layers` is {}, which no model has", where,
        c.num_layers);
  check(c.num_heads > 0, "{}: `num_attention_heads` is {}, which no model has", where, c.num_heads);
  c.head_dim = reader.integer("head_dim", c.hidden_size / c.num_heads);
  c.intermediate_size = reader.integer("intermediate_size");
  c.max_position_embeddings = reader.integer("max_position_embeddings", c.max_position_embeddings);
  c.rms_norm_eps = reader.number("rms_norm_eps", c.rms_norm_eps);
  c.initializer_range = reader.number("initializer_range", c.initializer_range);
  c.tie_word_embeddings = reader.flag("tie_word_embeddings", false);
  std::string activation = reader.text("hidden_act", "silu");
  check(activation == "silu" || activation == "swish", "{}: `hidden_act` is `{}`; only silu is supported", where,
        activation);
  read_rope(reader, c);
  c.bos_token_id = reader.integers("bos_token_id").empty() ? -1 : reader.integers("bos_token_id").front();
  c.pad_token_id = reader.integers("pad_token_id").empty() ? -1 : reader.integers("pad_token_id").front();
  c.eos_token_ids = reader.integers("eos_token_id");
  c.dtype = reader.text(reader.first_of({"dtype", "torch_dtype"}), "");
  c.router_seq_aux_loss_coef = reader.number("router_seq_aux_loss_coef", 0);
  c.router_z_loss_coef = reader.number("router_z_loss_coef", 0);
  family.read(reader, c);
  check(c.experts_per_token >= 0 && c.experts_per_token <= 4096, "{}: `num_experts_per_tok` is {}, which no model has",
        where, c.experts_per_token);
  c.routing.top_k = static_cast<int>(c.experts_per_token);
  if (c.num_moe_layers() == 0) {
    c.num_experts = 0;
    c.moe_layer.clear();
  }
  c.raw_json = text;
  check_config(c, where);
  return c;
}

ModelConfig load_config(const std::string& dir) {
  namespace fs = std::filesystem;
  std::string path = (fs::path(dir) / "config.json").string();
  std::error_code ignored;
  check(fs::is_directory(dir, ignored), "{}: no such folder", dir);
  check(fs::exists(path, ignored), "{}: no config.json, so this is not the folder of a model", dir);
  ModelConfig config = config_from_json(read_file(path), path);
  std::string generation = (fs::path(dir) / "generation_config.json").string();
  if (fs::exists(generation, ignored)) {
    json parsed = parse_object(read_file(generation), generation);
    ConfigReader reader(parsed, generation);
    // Chat models end turns with a token that config.json often does not name (Qwen: <|im_end|> and <|endoftext|>).
    if (reader.has("eos_token_id")) config.eos_token_ids = reader.integers("eos_token_id");
  }
  return config;
}

namespace {

// Things that an architecture fixes, or that its config.json has no key for: what is written must read as what was
// meant.
void check_expressible(const ModelConfig& meant, const std::string& written) {
  const ModelConfig c = config_from_json(written, "config of " + meant.architecture);
  auto same = [&](const char* what, auto a, auto b) {
    check(a == b, "config: {} is {}, which a {} cannot have ({} there)", what, a, meant.architecture, b);
  };
  same("model_type", meant.model_type, c.model_type);
  same("scalar_head", meant.scalar_head, c.scalar_head);
  same("attention_bias", meant.attention_bias, c.attention_bias);
  same("attention_output_bias", meant.attention_output_bias, c.attention_output_bias);
  same("mlp_bias", meant.mlp_bias, c.mlp_bias);
  auto norm_name = [](QkNorm n) {
    return std::string(n == QkNorm::none ? "none" : n == QkNorm::head ? "head" : "projection");
  };
  same("qk_norm", norm_name(meant.qk_norm), norm_name(c.qk_norm));
  same("clip_qkv", meant.clip_qkv, c.clip_qkv);
  same("q_lora_rank", meant.q_lora_rank, c.q_lora_rank);
  same("kv_lora_rank", meant.kv_lora_rank, c.kv_lora_rank);
  same("qk_nope_head_dim", meant.qk_nope_head_dim, c.qk_nope_head_dim);
  same("qk_rope_head_dim", meant.qk_rope_head_dim, c.qk_rope_head_dim);
  same("v_head_dim", meant.v_head_dim, c.v_head_dim);
  same("index_topk", meant.index_topk, c.index_topk);
  same("index_heads", meant.index_heads, c.index_heads);
  same("index_head_dim", meant.index_head_dim, c.index_head_dim);
  same("num_mtp_layers", meant.num_mtp_layers, c.num_mtp_layers);
  same("num_experts", meant.num_moe_layers() > 0 ? meant.num_experts : 0, c.num_experts);
  for (int64_t i = 0; i < meant.num_layers; ++i) {
    const std::string layer = " of layer " + std::to_string(i);
    same(("experts" + layer).c_str(), meant.is_moe_layer(i), c.is_moe_layer(i));
    same(("sliding window" + layer).c_str(), meant.window(i), c.window(i));
  }
  if (meant.num_moe_layers() == 0) return;
  same("experts_per_token", meant.experts_per_token, c.experts_per_token);
  same("moe_intermediate_size", meant.moe_intermediate_size, c.moe_intermediate_size);
  same("shared_intermediate_size", meant.shared_intermediate_size, c.shared_intermediate_size);
  same("shared_expert_gate", meant.shared_expert_gate, c.shared_expert_gate);
  same("routing_bias", meant.routing_bias, c.routing_bias);
  const ops::RoutingOptions &a = meant.routing, &b = c.routing;
  auto name = [](ops::RouterScore score) {
    return std::string(score == ops::RouterScore::sigmoid ? "sigmoid" : "softmax");
  };
  same("routing.score", name(a.score), name(b.score));
  same("routing.normalize", a.normalize, b.normalize);
  same("routing.scale", a.scale, b.scale);
  same("routing.n_group", a.n_group, b.n_group);
  same("routing.topk_group", a.topk_group, b.topk_group);
}

}  // namespace

std::string config_to_json(const ModelConfig& c) {
  check_config(c, "config of " + c.architecture);
  const zoo::Family& family = zoo::family(c.architecture, "config");
  json out = c.raw_json.empty() ? json::object() : parse_object(c.raw_json, "config.json");

  out.erase("quantization_config");  // FP8 is read, not written
  write_head(c, out);
  out["model_type"] = c.model_type;
  out["vocab_size"] = c.vocab_size;
  out["hidden_size"] = c.hidden_size;
  out["num_hidden_layers"] = c.num_layers;
  out["num_attention_heads"] = c.num_heads;
  out["num_key_value_heads"] = c.num_kv_heads;
  out["head_dim"] = c.head_dim;
  out["intermediate_size"] = c.intermediate_size;
  out["max_position_embeddings"] = c.max_position_embeddings;
  out["rms_norm_eps"] = c.rms_norm_eps;
  out["initializer_range"] = c.initializer_range;
  out["tie_word_embeddings"] = c.tie_word_embeddings;
  out["hidden_act"] = "silu";
  write_rope(c, out);
  if (c.bos_token_id >= 0) out["bos_token_id"] = c.bos_token_id;
  if (c.pad_token_id >= 0) out["pad_token_id"] = c.pad_token_id;
  if (c.raw_json.empty() && !c.eos_token_ids.empty()) {
    out["eos_token_id"] = c.eos_token_ids.size() == 1 ? json(c.eos_token_ids.front()) : json(c.eos_token_ids);
  }
  if (!c.dtype.empty()) out[out.contains("dtype") ? "dtype" : "torch_dtype"] = c.dtype;
  if (c.router_seq_aux_loss_coef != 0) out["router_seq_aux_loss_coef"] = c.router_seq_aux_loss_coef;
  if (c.router_z_loss_coef != 0) out["router_z_loss_coef"] = c.router_z_loss_coef;
  if (!out.contains("use_cache")) out["use_cache"] = true;
  family.write(c, out);
  std::string text = out.dump(2) + "\n";
  check_expressible(c, text);
  return text;
}

void check_config(const ModelConfig& c, const std::string& where) {
  zoo::family(c.architecture, where);
  auto in_range = [&](const char* key, int64_t value, int64_t most) {
    check(value > 0 && value <= most, "{}: `{}` is {}, which no model has", where, key, value);
  };
  in_range("vocab_size", c.vocab_size, INT32_MAX);
  in_range("hidden_size", c.hidden_size, 1 << 20);
  in_range("num_hidden_layers", c.num_layers, 10000);
  in_range("num_attention_heads", c.num_heads, 1 << 14);
  in_range("num_key_value_heads", c.num_kv_heads, 1 << 14);
  in_range("head_dim", c.head_dim, 1 << 14);
  in_range("max_position_embeddings", c.max_position_embeddings, int64_t{1} << 30);
  in_range("intermediate_size", c.intermediate_size, 1 << 24);
  check(c.num_heads % c.num_kv_heads == 0, "{}: {} attention heads cannot share {} key-value heads evenly", where,
        c.num_heads, c.num_kv_heads);
  check(c.rotary_dim() % 2 == 0, "{}: `{}` {} is odd, and rotary embedding turns pairs", where,
        c.is_mla() ? "qk_rope_head_dim" : "head_dim", c.rotary_dim());
  check(c.kv_lora_rank >= 0 && c.q_lora_rank >= 0, "{}: `kv_lora_rank` {} and `q_lora_rank` {} must not be negative",
        where, c.kv_lora_rank, c.q_lora_rank);
  if (c.is_mla()) {
    in_range("kv_lora_rank", c.kv_lora_rank, 1 << 20);
    if (c.q_lora_rank > 0) in_range("q_lora_rank", c.q_lora_rank, 1 << 20);
    in_range("qk_nope_head_dim", c.qk_nope_head_dim, 1 << 13);
    in_range("qk_rope_head_dim", c.qk_rope_head_dim, 1 << 13);
    in_range("v_head_dim", c.v_head_dim, 1 << 14);
    check(c.head_dim == c.qk_nope_head_dim + c.qk_rope_head_dim,
          "{}: head_dim {} must be qk_nope_head_dim {} + qk_rope_head_dim {}", where, c.head_dim, c.qk_nope_head_dim,
          c.qk_rope_head_dim);
    check(c.num_kv_heads == c.num_heads,
          "{}: latent attention has as many key-value heads as heads; `num_key_value_heads` is {}, "
          "`num_attention_heads` {}",
          where, c.num_kv_heads, c.num_heads);
    check(c.qk_norm == QkNorm::none && c.clip_qkv == 0 && c.sliding_window == 0,
          "{}: latent attention knows neither norms of heads nor clipping nor sliding windows", where);
  }
  if (c.index_topk != 0) {
    check(c.is_mla() && c.q_lora_rank > 0, "{}: an indexer reads the latent of queries, which is missing", where);
    in_range("index_topk", c.index_topk, 1 << 30);
    in_range("index_n_heads", c.index_heads, 1 << 14);
    in_range("index_head_dim", c.index_head_dim, 1 << 14);
  }
  check(c.num_mtp_layers == 0 || c.is_mla(), "{}: modules that predict further tokens are known with latent attention",
        where);
  check(c.num_mtp_layers >= 0 && c.num_mtp_layers <= 16,
        "{}: {} modules that predict further tokens (`num_nextn_predict_layers`); up to 16 are supported", where,
        c.num_mtp_layers);
  check(c.num_mtp_layers == 0 || c.num_moe_layers() > 0,
        "{}: modules that predict further tokens are layers of experts, and the model has none", where);
  check(std::isfinite(c.rms_norm_eps) && c.rms_norm_eps >= 0 && c.rms_norm_eps < 1, "{}: `rms_norm_eps` is {}", where,
        c.rms_norm_eps);
  check(std::isfinite(c.rope_theta) && c.rope_theta > 1, "{}: `rope_theta` is {}", where, c.rope_theta);
  check(std::isfinite(c.initializer_range) && c.initializer_range >= 0, "{}: `initializer_range` is {}", where,
        c.initializer_range);
  check(std::isfinite(c.clip_qkv) && c.clip_qkv >= 0, "{}: `clip_qkv` is {}", where, c.clip_qkv);
  check(c.sliding_window >= 0, "{}: `sliding_window` is {}", where, c.sliding_window);
  check(c.window_layer.empty() || static_cast<int64_t>(c.window_layer.size()) == c.num_layers,
        "{}: {} window flags for {} layers", where, c.window_layer.size(), c.num_layers);
  check(c.moe_layer.empty() || static_cast<int64_t>(c.moe_layer.size()) == c.num_layers,
        "{}: {} expert flags for {} layers", where, c.moe_layer.size(), c.num_layers);
  if (c.num_moe_layers() > 0) {
    in_range("num_experts", c.num_experts, 1 << 16);
    in_range("moe_intermediate_size", c.moe_intermediate_size, 1 << 24);
    check(c.shared_intermediate_size >= 0 && c.shared_intermediate_size <= 1 << 24, "{}: shared experts of width {}",
          where, c.shared_intermediate_size);
    check(!c.shared_expert_gate || c.shared_intermediate_size > 0, "{}: a gate for shared experts that there are not",
          where);
    check(c.experts_per_token > 0 && c.experts_per_token <= c.num_experts, "{}: {} experts a token, of {}", where,
          c.experts_per_token, c.num_experts);
    check(c.routing.top_k == c.experts_per_token, "{}: routing.top_k {} and experts_per_token {} differ", where,
          c.routing.top_k, c.experts_per_token);
    int64_t groups = c.routing.n_group, best = c.routing.topk_group;
    check(groups > 0 && c.num_experts % groups == 0, "{}: {} experts in {} groups (`n_group`) is uneven", where,
          c.num_experts, groups);
    check(best > 0 && best <= groups, "{}: `topk_group` {} of {} groups", where, best, groups);
    check(c.num_experts / groups * best >= c.experts_per_token, "{}: {} experts a token, but {} groups hold only {}",
          where, c.experts_per_token, best, c.num_experts / groups * best);
    check(std::isfinite(c.routing.scale) && c.routing.scale > 0, "{}: `routed_scaling_factor` is {}", where,
          c.routing.scale);
    check(std::isfinite(c.router_aux_loss_coef) && std::isfinite(c.router_seq_aux_loss_coef) &&
              std::isfinite(c.router_z_loss_coef),
          "{}: coefficients of router losses must be finite", where);
  }
  // Products of the limits above stay below 2^63 tensor by tensor; the sum over layers and experts may not.
  double experts = static_cast<double>(c.num_moe_layers()) * static_cast<double>(c.num_experts) *
                   static_cast<double>(c.moe_intermediate_size);
  double per_column = 2.0 * static_cast<double>(c.vocab_size) + 3 * experts +
                      static_cast<double>(c.num_layers) * (3.0 * static_cast<double>(c.intermediate_size) +
                                                           4.0 * static_cast<double>(c.num_heads * c.head_dim));
  double latent = static_cast<double>(c.num_layers * c.num_heads) *
                  (static_cast<double>(c.head_dim) * static_cast<double>(c.q_lora_rank) +
                   static_cast<double>(c.qk_nope_head_dim + c.v_head_dim) * static_cast<double>(c.kv_lora_rank));
  per_column += 3.0 * static_cast<double>(c.num_moe_layers()) * static_cast<double>(c.shared_intermediate_size);
  check(per_column * static_cast<double>(c.hidden_size) + latent < 1e14,
        "{}: more than 1e14 parameters, which no model has", where);
}

}  // namespace tenon::models
