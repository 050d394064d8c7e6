// config.json in, config.json out; sizes of published models; configs that no model can have.
#include "../../models/config.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "../../models/rope_frequencies.h"
#include "../../runtime/error.h"
#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../test_data.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

using models::ModelConfig;

Json llama_json() { return read_json(oracle_dir("llama") + "/config.json"); }

std::string error_of(const std::string& text) {
  try {
    models::config_from_json(text, "config.json");
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

std::string error_with(const char* key, const Json& value) {
  Json json = llama_json();
  json[key] = value;
  return error_of(json.dump());
}

TEST(Config, WritingAndReadingIsTheIdentity) {
  for (const std::string& family : oracle_families()) {
    for (const char* file : {"/config.json", "/config_v5.json"}) {
      std::string text = read_file(oracle_dir(family) + file);
      std::string written = models::config_to_json(models::config_from_json(text, file));
      EXPECT_EQ(models::config_to_json(models::config_from_json(written, file)), written) << family << file;
      // What transformers reads from the file stays as it was.
      Json before = Json::parse(text), after = Json::parse(written);
      for (auto& [key, value] : before.items()) {
        if (value.is_null() || key == "num_local_experts" || key == "head_dim" || key == "max_window_layers" ||
            key == "sliding_window")
          continue;
        if (key == "rope_scaling" || key == "rope_parameters") continue;  // compared through the frequencies
        EXPECT_EQ(after[key], value) << family << file << " " << key;
      }
      models::RopeFrequencies a = models::rope_frequencies(models::config_from_json(text, file));
      models::RopeFrequencies b = models::rope_frequencies(models::config_from_json(written, file));
      EXPECT_EQ(a.inv_freq, b.inv_freq);
      EXPECT_EQ(a.attention_factor, b.attention_factor);
    }
  }
}

TEST(Config, KeysUnknownToUsStay) {
  Json json = llama_json();
  json["my_own_key"] = {1, 2, 3};
  Json written = Json::parse(models::config_to_json(models::config_from_json(json.dump(), "config.json")));
  EXPECT_EQ(written["my_own_key"], Json({1, 2, 3}));
}

TEST(Config, EndTokensOfGenerationConfigCount) {
  EXPECT_EQ(models::load_config(oracle_dir("llama")).eos_token_ids, std::vector<int64_t>{2});
  Json json = llama_json();
  json["eos_token_id"] = {2, 7};
  EXPECT_EQ(models::config_from_json(json.dump(), "config.json").eos_token_ids, (std::vector<int64_t>{2, 7}));
}

TEST(Config, ErrorsNameTheKey) {
  EXPECT_NE(error_of("{").find("config.json"), std::string::npos);
  EXPECT_NE(error_of("[1]").find("object"), std::string::npos);
  EXPECT_NE(error_of("{}").find("architectures"), std::string::npos);
  std::string unknown = error_with("architectures", Json::array({"GPT5ForCausalLM"}));
  EXPECT_NE(unknown.find("GPT5ForCausalLM"), std::string::npos) << unknown;
  EXPECT_NE(unknown.find("Qwen3MoeForCausalLM"), std::string::npos) << unknown;
  EXPECT_EQ(unknown.find('\n'), std::string::npos);
  for (const char* key : {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "intermediate_size", "head_dim", "max_position_embeddings"}) {
    for (const Json& value : {Json(0), Json(-3), Json("many"), Json(1e300), Json(int64_t{1} << 60), Json(2.5)}) {
      std::string text = error_with(key, value);
      EXPECT_NE(text.find(key), std::string::npos) << key << " = " << value << ": " << text;
    }
  }
  for (const char* key :
       {"vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"}) {
    EXPECT_NE(error_with(key, nullptr).find(key), std::string::npos);
  }
  EXPECT_NE(error_with("num_key_value_heads", 3), "");
  EXPECT_NE(error_with("head_dim", 7), "");
  EXPECT_NE(error_with("rms_norm_eps", -1.0), "");
  EXPECT_NE(error_with("rms_norm_eps", "small"), "");
  EXPECT_NE(error_with("rope_theta", 0), "");
  EXPECT_NE(error_with("hidden_act", "gelu").find("gelu"), std::string::npos);
  EXPECT_NE(error_with("tie_word_embeddings", 1).find("tie_word_embeddings"), std::string::npos);
  EXPECT_NE(error_with("rope_scaling", {{"rope_type", "longrope"}, {"factor", 2}}).find("longrope"), std::string::npos);
  EXPECT_NE(error_with("rope_scaling", {{"rope_type", "llama3"}}).find("factor"), std::string::npos);
}

// Whatever stands in the file, the answer is a config or an Error.
TEST(Config, AnyValueOfAnyKeyIsReadOrRefused) {
  const std::vector<Json> values = {nullptr,
                                    true,
                                    -1,
                                    0,
                                    3,
                                    1.5,
                                    -1e308,
                                    INT64_MIN,
                                    INT64_MAX,
                                    UINT64_MAX,
                                    "",
                                    "text",
                                    Json::array(),
                                    {1, "x", nullptr},
                                    Json::object(),
                                    {{"rope_type", 3}}};
  int read = 0;
  for (const std::string& family : oracle_families()) {
    for (const char* file : {"/config.json", "/config_v5.json"}) {
      const Json whole = read_json(oracle_dir(family) + file);
      for (auto& [key, unused] : whole.items()) {
        for (const Json& value : values) {
          Json changed = whole;
          changed[key] = value;
          try {
            models::config_to_json(models::config_from_json(changed.dump(), "config.json"));
            ++read;
          } catch (const Error&) {
          }
        }
      }
    }
  }
  EXPECT_GT(read, 0);
}

TEST(Config, ExpertsThatCannotBe) {
  auto error = [](const char* family, const char* key, const Json& value) {
    Json json = read_json(oracle_dir(family) + "/config.json");
    json[key] = value;
    return error_of(json.dump());
  };
  EXPECT_NE(error("mixtral", "num_experts_per_tok", 5), "");
  EXPECT_NE(error("mixtral", "num_experts_per_tok", 0), "");
  EXPECT_NE(error("mixtral", "num_local_experts", -1), "");
  EXPECT_NE(error("dots1", "n_group", 3), "");
  EXPECT_NE(error("dots1", "topk_group", 5), "");
  EXPECT_NE(error("dots1", "topk_group", 1), "");  // 2 experts a group, 3 wanted
  EXPECT_NE(error("dots1", "n_shared_experts", 0), "");
  EXPECT_NE(error("dots1", "layer_types", Json::array({"full_attention"})), "");
}

TEST(Config, AnArchitectureIsWhatItIs) {
  auto error = [](auto change) -> std::string {
    ModelConfig config = models::load_config(oracle_dir("llama"));
    config.raw_json.clear();
    change(config);
    try {
      models::create(config);
    } catch (const Error& e) {
      return e.what();
    }
    return {};
  };
  EXPECT_EQ(error([](auto&) {}), "");
  EXPECT_NE(error([](auto& c) { c.qk_norm = models::QkNorm::head; }).find("qk_norm"), std::string::npos);
  EXPECT_NE(error([](auto& c) { c.attention_bias = true; }).find("bias"),
            std::string::npos);  // Llama has one switch for q, k, v and o
  EXPECT_NE(error([](auto& c) { c.sliding_window = 4; }).find("sliding window"), std::string::npos);
  EXPECT_NE(error([](auto& c) {
              c.moe_layer = {true, true};
              c.num_experts = 4;
              c.experts_per_token = c.routing.top_k = 2;
              c.moe_intermediate_size = 8;
            }).find("experts"),
            std::string::npos);
}

TEST(Config, DeepseekWritesWhatItsOwnReadersNeed) {
  auto path = data_path("configs/deepseek-ai--DeepSeek-V3.config.json");
  if (!path) GTEST_SKIP() << "no test data";
  Json before = read_json(*path),
       after = Json::parse(models::config_to_json(models::config_from_json(before.dump(), *path)));
  for (auto& [key, value] : before["rope_scaling"].items()) EXPECT_EQ(after["rope_scaling"][key], value) << key;
  EXPECT_FALSE(after.contains("head_dim"));
  EXPECT_EQ(after["num_nextn_predict_layers"], 1);
  before["routed_scaling_factor"] = 2.446;
  after = Json::parse(models::config_to_json(models::config_from_json(before.dump(), *path)));
  EXPECT_EQ(after["routed_scaling_factor"].dump(), "2.446");
}

TEST(Config, OneLineForWhatDeepseekHasAndWeHaveNot) {
  if (auto path = data_path("configs/deepseek-ai--DeepSeek-V3.2.config.json")) {
    std::string line;
    try {
      models::create(models::config_from_json(read_file(*path), *path));
    } catch (const Error& e) {
      line = e.what();
    }
    EXPECT_NE(line.find("DeepseekV32ForCausalLM"), std::string::npos) << line;
    EXPECT_NE(line.find("indexer"), std::string::npos) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos);
  }
  auto error = [](const char* family, const char* key, const Json& value) {
    Json json = read_json(oracle_dir(family) + "/config.json");
    json[key] = value;
    std::string line = error_of(json.dump());
    EXPECT_NE(line.find(key), std::string::npos) << line;
    return line;
  };
  EXPECT_NE(error("deepseek_v3", "scoring_func", "softmax").find("sigmoid"), std::string::npos);
  EXPECT_NE(error("deepseek_v3", "topk_method", "greedy").find("noaux_tc"), std::string::npos);
  EXPECT_NE(error("deepseek_v3", "rope_interleave", false), "");
  EXPECT_NE(error("deepseek_v3", "moe_layer_freq", 2), "");
  EXPECT_NE(error("deepseek_v3", "kv_lora_rank", 0), "");
  EXPECT_NE(error("deepseek_v3", "q_lora_rank", -3), "");
  EXPECT_NE(error("deepseek_v3", "qk_rope_head_dim", 7), "");
  EXPECT_NE(error("deepseek_v3", "num_key_value_heads", 2), "");
  EXPECT_NE(error("deepseek_v3", "num_nextn_predict_layers", -1), "");
  EXPECT_NE(error("deepseek_v2", "scoring_func", "sigmoid").find("softmax"), std::string::npos);
  EXPECT_NE(error("deepseek_v2", "topk_method", "noaux_tc").find("group_limited_greedy"), std::string::npos);
  EXPECT_NE(error("deepseek_v2", "norm_topk_prob", true), "");
  EXPECT_NE(error("deepseek_v2", "mlp_bias", true), "");
}

}  // namespace
}  // namespace tenon::testing
