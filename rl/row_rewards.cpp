#include "row_rewards.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "../runtime/check.h"
#include "../runtime/nearest_name.h"

namespace tenon::rl {
namespace {

constexpr const char* kColumn = "rewards";

bool takes(const Row& row, const std::string& reward) {
  const auto named = rewards_of(row);
  return !named || std::find(named->begin(), named->end(), reward) != named->end();
}

}  // namespace

std::optional<std::vector<std::string>> rewards_of(const Row& row) {
  const auto text = row.find_column(kColumn);
  if (!text) return std::nullopt;
  const auto list = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  const bool strings =
      list.is_array() && std::all_of(list.begin(), list.end(), [](const auto& name) { return name.is_string(); });
  check(strings && !list.empty(), "{}: column '{}' must be a list of names of rewards, got {}",
        row.source.empty() ? "row" : row.source, kColumn, *text);
  return list.get<std::vector<std::string>>();
}

WeightedReward where_named(WeightedReward reward) {
  reward.reward = [name = reward.name, all = std::move(reward.reward)](std::span<const Sample> samples) {
    std::vector<size_t> places;
    for (size_t i = 0; i < samples.size(); ++i)
      if (takes(samples[i].row, name)) places.push_back(i);
    if (places.size() == samples.size()) return all(samples);
    std::vector<float> out(samples.size(), std::numeric_limits<float>::quiet_NaN());
    if (places.empty()) return out;
    std::vector<Sample> asked;
    for (const size_t i : places) asked.push_back(samples[i]);
    const std::vector<float> values = all(asked);
    check(values.size() == asked.size(), "reward '{}' gave {} values for {} samples", name, values.size(),
          asked.size());
    for (size_t i = 0; i < places.size(); ++i) out[places[i]] = values[i];
    return out;
  };
  return reward;
}

void check_row_rewards(std::span<const Row> rows, std::span<const WeightedReward> rewards) {
  std::vector<std::string> names;
  std::string all;
  for (const WeightedReward& r : rewards) {
    names.push_back(r.name);
    all += (all.empty() ? "" : ", ") + r.name;
  }
  for (const Row& row : rows) {
    const auto named = rewards_of(row);
    if (!named) continue;
    for (const std::string& name : *named) {
      if (std::find(names.begin(), names.end(), name) != names.end()) continue;
      const std::string nearest = nearest_name(name, names);
      fail("{}: the run has no reward '{}', which the row names{}; it has {}", row.source.empty() ? "row" : row.source,
           name, nearest.empty() ? "" : "; did it mean '" + nearest + "'?", all);
    }
  }
}

}  // namespace tenon::rl
