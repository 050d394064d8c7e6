#include "registry.h"

#include <algorithm>

#include "../../runtime/check.h"
#include "../../runtime/nearest_name.h"
#include "../settings.h"
#include "../tasks/countdown.h"
#include "exec_reward.h"
#include "format.h"
#include "language_consistency.h"
#include "math_accuracy.h"

namespace tenon::rl::rewards {
namespace {

// "contains:wait,等": 1 when one of the words stands in the completion.
Reward contains(const std::string& words) {
  std::vector<std::string> list;
  for (size_t at = 0; at <= words.size();) {
    const size_t end = std::min(words.find(',', at), words.size());
    if (end > at) list.push_back(words.substr(at, end - at));
    at = end + 1;
  }
  check(!list.empty(), "reward 'contains:': no words; write contains:WORD,WORD");
  return [list](const Sample& s) {
    return std::any_of(list.begin(), list.end(),
                       [&](const std::string& w) { return s.completion.find(w) != std::string::npos; })
               ? 1.0f
               : 0.0f;
  };
}

struct Entry {
  const char* name;
  Reward (*make)();
};

constexpr Entry kRewards[] = {
    {"accuracy", [] { return math_accuracy(); }},   {"format", format},
    {"language_consistency", language_consistency}, {"countdown", countdown},
    {"countdown_format", countdown_format},         {"countdown_language", countdown_language},
};

}  // namespace

std::vector<std::string> reward_names() {
  std::vector<std::string> out;
  for (const Entry& e : kRewards) out.emplace_back(e.name);
  out.emplace_back("contains:WORD,WORD");
  out.emplace_back("exec:PROGRAM");
  return out;
}

WeightedReward make_reward(const std::string& spec, const RewardOptions& options, float weight) {
  if (spec.rfind("exec:", 0) == 0) {
    ExecOptions exec{
        .timeout = options.exec_timeout, .fail_on_error = options.exec_on_failure == "error", .sandbox = {}};
    if (options.sandbox) {
      exec.sandbox = SandboxLimits{.cpu_seconds = options.sandbox_cpu_seconds,
                                   .memory_mb = options.sandbox_memory_mb,
                                   .processes = options.sandbox_processes,
                                   .file_mb = options.sandbox_file_mb};
    }
    // The metric is named after the program, without its folder and arguments.
    std::string name = spec.substr(5, spec.find(' ') == std::string::npos ? std::string::npos : spec.find(' ') - 5);
    if (const size_t slash = name.rfind('/'); slash != std::string::npos) name.erase(0, slash + 1);
    return {name, exec_reward(spec.substr(5), exec), weight};
  }
  if (spec.rfind("contains:", 0) == 0) return {spec, batched(contains(spec.substr(9))), weight};
  for (const Entry& e : kRewards) {
    if (spec == e.name) return {spec, batched(e.make()), weight};
  }
  std::string known;
  for (const std::string& name : reward_names()) known += (known.empty() ? "" : ", ") + name;
  std::vector<std::string> names;
  for (const Entry& e : kRewards) names.emplace_back(e.name);
  const std::string nearest = nearest_name(spec, names);
  fail("unknown reward '{}'{}; known are {}", spec, nearest.empty() ? "" : ", did you mean '" + nearest + "'?", known);
}

std::vector<WeightedReward> make_rewards(const std::vector<std::string>& specs, const std::vector<double>& weights,
                                         const RewardOptions& options) {
  check(weights.empty() || weights.size() == specs.size(), "reward_weights has {} values for {} rewards (reward_funcs)",
        weights.size(), specs.size());
  std::vector<WeightedReward> out;
  for (size_t i = 0; i < specs.size(); ++i) {
    out.push_back(make_reward(specs[i], options, weights.empty() ? 1.0f : static_cast<float>(weights[i])));
    for (size_t j = 0; j < i; ++j) check(out[j].name != out[i].name, "the reward '{}' is given twice", out[i].name);
  }
  return out;
}

}  // namespace tenon::rl::rewards
