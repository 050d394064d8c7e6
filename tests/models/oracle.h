// A folder of tests/data/models: a tiny model and what transformers computes with it.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "../../models/model.h"
#include "../../ops/cast.h"
#include "../../runtime/safetensors.h"
#include "../test_data.h"

namespace tenon::testing {

inline std::string oracle_dir(const std::string& family) { return tree_data_path("models/" + family); }

inline std::vector<std::string> oracle_families() {
  return {"llama", "llama_tied",  "llama2",           "mistral",    "qwen2",
          "qwen3", "mixtral",     "qwen2_moe",        "qwen3_moe",  "olmoe",
          "dots1", "deepseek_v2", "deepseek_v2_lite", "deepseek_v3"};
}

struct Oracle {
  explicit Oracle(const std::string& family) : file(Safetensors::open(oracle_dir(family) + "/expected.safetensors")) {}

  /// The batch of the oracle: a sequence of 24 tokens, then two of 10 and 14.
  std::vector<std::vector<int32_t>> sequences() const {
    std::vector<int64_t> ids = file.tensor("input_ids").to_vector<int64_t>();
    std::vector<std::vector<int32_t>> out;
    for (auto [begin, end] : {std::pair{0, 24}, {24, 34}, {34, 48}})
      out.emplace_back(ids.begin() + begin, ids.begin() + end);
    return out;
  }
  /// targets[t] is the token after t in its sequence, -100 for the last.
  Tensor targets() const {
    std::vector<int32_t> out;
    for (const auto& s : sequences()) {
      out.insert(out.end(), s.begin() + 1, s.end());
      out.push_back(-100);
    }
    return Tensor::from_vector(out);
  }
  std::vector<float> expected(const std::string& name) const { return file.tensor(name).to_vector<float>(); }

  Safetensors file;
};

/// Largest difference as a share of the largest entry of `expected`.
inline double relative_error(const std::vector<float>& got, const std::vector<float>& expected) {
  EXPECT_EQ(got.size(), expected.size());
  double largest = 0, worst = 0;
  for (size_t i = 0; i < std::min(got.size(), expected.size()); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    double difference = std::abs(static_cast<double>(got[i]) - expected[i]);
    if (!(difference <= worst)) worst = difference;  // keeps a NaN
  }
  return largest > 0 ? worst / largest : worst;
}

inline std::vector<float> floats(const Tensor& t) { return ops::cast(t.contiguous(), DType::f32).to_vector<float>(); }

}  // namespace tenon::testing
