#include "sample.h"

#include <charconv>

#include "../runtime/check.h"

namespace tenon::rl {

std::optional<std::string_view> Row::find_column(std::string_view name) const {
  for (const auto& [key, value] : columns) {
    if (key == name) return std::string_view(value);
  }
  return std::nullopt;
}

std::string Row::column(std::string_view name) const {
  if (const auto found = find_column(name)) return std::string(*found);
  std::string have;
  for (const auto& [key, value] : columns) have += (have.empty() ? "" : ", ") + key;
  fail("{}: no column '{}' (has {})", source.empty() ? "row" : source, name, have.empty() ? "none" : have);
}

double Row::number(std::string_view name) const {
  const std::string text = column(name);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(error == std::errc() && end == text.data() + text.size(), "{}: column '{}' is not a number: '{}'",
        source.empty() ? "row" : source, name, text);
  return value;
}

BatchReward batched(Reward reward) {
  return [reward = std::move(reward)](std::span<const Sample> samples) {
    std::vector<float> out;
    out.reserve(samples.size());
    for (const Sample& s : samples) out.push_back(reward(s));
    return out;
  };
}

}  // namespace tenon::rl
