// FP8 checkpoints with block scales: every code, a model quantised here, and what is wrong with one.
#include "../../models/fp8.h"

#include <cmath>
#include <filesystem>

#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../expect_error.h"
#include "../temp_dir.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

// By the definition (OCP 8-bit floating point, table 1), in doubles.
double decoded(int code) {
  const int exponent = (code >> 3) & 15, mantissa = code & 7;
  if (exponent == 15 && mantissa == 7) return NAN;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa / 8.0, -6) : std::ldexp(1 + mantissa / 8.0, exponent - 7);
  return code & 0x80 ? -magnitude : magnitude;
}

// The code nearest to x.
uint8_t encoded(double x) {
  int best = 0;
  for (int code = 0; code < 256; ++code)
    if (std::abs(decoded(code) - x) < std::abs(decoded(best) - x)) best = code;
  return static_cast<uint8_t>(best);
}

TEST(Fp8, AllCodes) {
  for (int code = 0; code < 256; ++code) {
    const float got = models::from_fp8_e4m3(static_cast<uint8_t>(code));
    const double expected = decoded(code);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got)) << code;
    } else {
      EXPECT_EQ(got, expected) << code;
      EXPECT_EQ(std::signbit(got), code >= 128) << code;
    }
  }
  EXPECT_EQ(models::from_fp8_e4m3(0x7e), 448);
}

// A safetensors file with F8_E4M3: its u8 tensors are named anew, in a header of the same length.
void mark_as_fp8(const std::string& path) {
  std::string bytes = read_file(path);
  const std::string u8 = "\"dtype\":\"U8\"", fp8 = "\"dtype\":\"F8_E4M3\"";
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  std::string text = bytes.substr(8, header);
  for (size_t at; (at = text.find(u8)) != std::string::npos;) text.replace(at, u8.size(), fp8);
  const uint64_t length = text.size();
  write_text(path, std::string(reinterpret_cast<const char*>(&length), 8) + text + bytes.substr(8 + header));
}

struct Quantised {
  std::map<std::string, std::vector<float>> expected;  // code times scale
  NamedTensors tensors;
};

// All linear layers of the decoder in FP8, the rest as it is, as DeepSeek does it.
Quantised quantised(models::Model& model, int64_t rows, int64_t cols, const std::string& folder) {
  models::save(model, folder);
  Quantised out;
  const Safetensors file = Safetensors::open(folder + "/model.safetensors");
  for (const SafetensorsEntry& e : file.entries()) {
    const Tensor w = file.tensor(e.name);
    if (e.shape.rank() != 2 || !e.name.starts_with("model.layers.") || e.name.ends_with("gate.weight")) {
      out.tensors.emplace_back(e.name, w.clone());
      continue;
    }
    const int64_t m = e.shape[0], n = e.shape[1], across = (n + cols - 1) / cols;
    std::vector<float> scales(((m + rows - 1) / rows) * across, 0), values(m * n);
    std::vector<uint8_t> codes(m * n);
    const auto scale_of = [&](int64_t i) -> float& { return scales[i / n / rows * across + i % n / cols]; };
    const std::vector<float> all = floats(w);
    for (int64_t i = 0; i < m * n; ++i) scale_of(i) = std::max(scale_of(i), std::abs(all[i]) / 448);
    for (int64_t i = 0; i < m * n; ++i) {
      codes[i] = encoded(all[i] / scale_of(i));
      values[i] = static_cast<float>(decoded(codes[i])) * scale_of(i);
    }
    out.expected[e.name] = values;
    out.tensors.emplace_back(e.name, Tensor::from(codes, e.shape));
    out.tensors.emplace_back(e.name + "_scale_inv",
                             Tensor::from(scales, {static_cast<int64_t>(scales.size()) / across, across}));
  }
  Json config = read_json(folder + "/config.json");
  config["quantization_config"] = {
      {"quant_method", "fp8"}, {"fmt", "e4m3"}, {"activation_scheme", "dynamic"}, {"weight_block_size", {rows, cols}}};
  write_text(folder + "/config.json", config.dump());
  save_safetensors(folder + "/model.safetensors", out.tensors);
  mark_as_fp8(folder + "/model.safetensors");
  return out;
}

models::Model small_model() {
  models::ModelConfig c;
  c.vocab_size = 40;
  c.hidden_size = 160;  // no multiple of 128: blocks at the edge are smaller
  c.num_layers = 1;
  c.num_heads = 5;
  c.num_kv_heads = 1;
  c.head_dim = 32;
  c.intermediate_size = 130;
  return models::create(c, {.dtype = DType::bf16, .initializer = models::Initializer::fan_in});
}

TEST(Fp8, LoadsAsCodeTimesScale) {
  TempDir temp;
  models::Model source = small_model();
  const Quantised q = quantised(source, 128, 128, temp / "fp8");
  ASSERT_EQ(q.expected.size(), 7u);
  models::Model bf16 = models::load(temp / "fp8"), f32 = models::load(temp / "fp8", {.dtype = DType::f32});
  EXPECT_EQ(bf16.dtype(), DType::bf16);
  for (const auto& [name, values] : q.expected) {
    EXPECT_EQ(floats(f32.params().at(name).value()), values) << name;
    EXPECT_EQ(floats(bf16.params().at(name).value()),
              floats(ops::cast(Tensor::from(values, f32.params().at(name).shape()), DType::bf16)))
        << name;
    EXPECT_FALSE(bf16.params().at(name).has_own_master()) << name;
    // 3 bits of mantissa: half a unit of the last is 2^-4 of the value; of small ones 2^-10 of a scale.
    EXPECT_LT(relative_error(values, floats(source.params().at(name).value())), 0.0625) << name;
  }
  models::save(bf16, temp / "plain");
  EXPECT_FALSE(read_json(temp / "plain/config.json").contains("quantization_config"));
  for (const std::string& name : ShardedSafetensors::open_dir(temp / "plain").names())
    EXPECT_FALSE(name.ends_with("_scale_inv")) << name;
  models::Model again = models::load(temp / "plain");
  for (auto& p : again.params().all())
    EXPECT_EQ(floats(p->value()), floats(bf16.params().at(p->name()).value())) << p->name();
}

TEST(Fp8, ExpertsToo) {
  TempDir temp;
  models::Model source = models::load(oracle_dir("dots1"));
  const Quantised q = quantised(source, 8, 12, temp / "fp8");
  models::Model model = models::load(temp / "fp8", {.dtype = DType::f32});
  const std::vector<float> up = floats(model.params().at("model.layers.2.mlp.experts.up_proj.weight").value());
  const auto& expected = q.expected.at("model.layers.2.mlp.experts.5.up_proj.weight");
  const auto begin = up.begin() + static_cast<int64_t>(5 * expected.size());
  EXPECT_EQ(std::vector<float>(begin, begin + static_cast<int64_t>(expected.size())), expected);
}

TEST(Fp8, WhatIsWrongIsSaid) {
  TempDir temp;
  models::Model source = small_model();
  Quantised q = quantised(source, 128, 128, temp / "fp8");
  const std::string config = read_file(temp / "fp8/config.json");
  const auto with_config = [&](const char* key, const Json& value) {
    Json changed = Json::parse(config);
    if (key)
      changed["quantization_config"][key] = value;
    else
      changed.erase("quantization_config");
    write_text(temp / "fp8/config.json", changed.dump());
  };
  with_config("quant_method", "gptq");
  EXPECT_ERROR(models::load(temp / "fp8"), "config.json", "gptq", "fp8");
  with_config("fmt", "e5m2");
  EXPECT_ERROR(models::load(temp / "fp8"), "e5m2");
  with_config("weight_block_size", nullptr);
  EXPECT_ERROR(models::load(temp / "fp8"), "weight_block_size");
  with_config("weight_block_size", {128, 0});
  EXPECT_ERROR(models::load(temp / "fp8"), "weight_block_size");
  with_config("weight_block_size", {64, 64});  // other blocks: other shapes of scales
  EXPECT_ERROR(models::load(temp / "fp8"), "7 of wrong shape", "_scale_inv");
  with_config(nullptr, {});
  EXPECT_ERROR(models::load(temp / "fp8"), "F8_E4M3", "no quantization_config");

  write_text(temp / "fp8/config.json", config);
  std::erase_if(q.tensors, [](const auto& t) { return t.first.ends_with("q_proj.weight_scale_inv"); });
  save_safetensors(temp / "fp8/model.safetensors", q.tensors);
  mark_as_fp8(temp / "fp8/model.safetensors");
  EXPECT_ERROR(models::load(temp / "fp8"), "1 missing: model.layers.0.self_attn.q_proj.weight_scale_inv");
}

}  // namespace
}  // namespace tenon::testing
