// tenon reward: JSON lines with prompt, completion and columns in, a number a line out.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>

#include "../datasets.h"
#include "../rewards/registry.h"
#include "../settings.h"
#include "console.h"

namespace tenon::cli {
namespace {

void reward(const std::string& name, const std::string& file, rl::rewards::RewardOptions options) {
  const rl::WeightedReward reward = rl::rewards::make_reward(name, options);
  const auto data = rl::SftDataset::from_jsonl(file);
  std::vector<rl::Sample> samples;
  for (const rl::Row& row : data.rows()) {
    const auto finished = row.find_column("finished");
    samples.push_back({.row = row,
                       .prompt = row.prompt,
                       .completion = row.messages.empty() ? row.completion : row.messages.back().content,
                       .finished = !finished || *finished == "true"});
  }
  std::string out;
  for (const float value : reward.reward(samples)) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.9g\n", static_cast<double>(value));
    out += std::isnan(value) ? "null\n" : buffer;
  }
  print(out);
}

}  // namespace

void add_reward_command(CLI::App& app) {
  struct State {
    std::string name, file = "/dev/stdin";
    rl::rewards::RewardOptions options;
  };
  auto state = std::make_shared<State>();
  CLI::App* command =
      app.add_subcommand("reward", "score completions: rows of prompt, completion and columns in, a number a line out");
  command->add_option("reward", state->name, "its name; they are listed below")->required();
  command->add_option("file", state->file, "file of JSON lines; default: standard input");
  command->allow_extras();
  command->footer([] {
    rl::Settings settings;
    rl::rewards::RewardOptions options;
    settings.add("", options);
    std::string known;
    size_t width = 0;
    for (const auto& r : rl::rewards::known_rewards()) width = std::max(width, r.name.size());
    for (const auto& r : rl::rewards::known_rewards())
      known += "  " + r.name + std::string(width + 2 - r.name.size(), ' ') + r.about + "\n";
    return "Rewards, and the columns they read:\n" + known + "\nSettings:\n" + settings.help();
  });
  command->callback([state, command] {
    rl::Settings settings;
    settings.add("", state->options);
    std::vector<std::string> words;
    try {
      words = settings.read_arguments(command->remaining());
    } catch (const Error& e) {
      throw UsageError(e.what());
    }
    if (!words.empty()) throw UsageError("reward: what is '" + words[0] + "'?");
    reward(state->name, state->file, state->options);
  });
}

}  // namespace tenon::cli
