// What TRL's trainer computes on fixed inputs: tests/data/grpo.json.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>

#include "../test_data.h"

namespace tenon::testing {

inline const nlohmann::json& grpo_oracle() {
  static const nlohmann::json json = [] {
    std::ifstream file(tree_data_path("grpo.json"));
    return nlohmann::json::parse(file);
  }();
  return json;
}

}  // namespace tenon::testing
