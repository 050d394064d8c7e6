#include "jobs.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "../runtime/check.h"
#include "job_parts.h"
#include "metrics.h"

namespace tenon::rl {
namespace {

const std::vector<JobKind>& kinds() {
  static const std::vector<JobKind> all = [] {
    std::vector<JobKind> out;
    for (const auto& family : {training_jobs(), rlhf_jobs(), sampling_jobs(), task_jobs()})
      out.insert(out.end(), family.begin(), family.end());
    return out;
  }();
  return all;
}

const JobKind& kind_named(const std::string& name) {
  for (const JobKind& k : kinds()) {
    if (name == k.name) return k;
  }
  std::string known;
  for (const std::string& other : job_kinds()) known += (known.empty() ? "" : ", ") + other;
  fail("unknown kind '{}'; known are {}", name, known);
}

}  // namespace

std::string training_result(const std::string& output_dir) {
  constexpr size_t kLines = 10;  // single steps of reinforcement learning scatter
  nlohmann::ordered_json out = nlohmann::ordered_json::object();
  if (!std::filesystem::exists(output_dir + "/metrics.jsonl")) return out.dump();
  const auto lines = read_metrics(output_dir + "/metrics.jsonl");
  if (lines.empty()) return out.dump();
  out["steps"] = lines.back().step;
  const size_t first = lines.size() - std::min(kLines, lines.size());
  for (const auto& [name, last] : lines.back().values) {
    double sum = 0;
    int count = 0;
    for (size_t i = first; i < lines.size(); ++i) {
      for (const auto& [other, value] : lines[i].values) {
        if (other == name && std::isfinite(value)) sum += value, ++count;
      }
    }
    const bool total = name == "num_tokens" || name == "epoch";
    if (count > 0) out[name] = total ? last : sum / count;
  }
  return out.dump();
}

std::unique_ptr<Job> make_job(const std::string& kind) { return kind_named(kind).make(); }

const char* job_description(const std::string& kind) { return kind_named(kind).description; }

const std::vector<std::string>& job_kinds() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const JobKind& k : kinds()) out.emplace_back(k.name);
    return out;
  }();
  return names;
}

}  // namespace tenon::rl
