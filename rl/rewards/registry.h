// Rewards by name, for TOML and the command line: "accuracy", "format", "language_consistency", "countdown",
// "contains:word,word", "exec:./program arguments".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../sample.h"

namespace tenon::rl::rewards {

/// What named rewards need beside their name; a section [reward] of a settings file.
struct RewardOptions {
  double exec_timeout = 30;             // seconds for the answers to a batch
  std::string exec_on_failure = "nan";  // "nan": the samples get no reward; "error": the run stops
  bool sandbox = false;                 // run exec programs without network, with the limits below
  double sandbox_cpu_seconds = 10;      // of processor time, for each process
  int64_t sandbox_memory_mb = 512;
  int64_t sandbox_processes = 32;
  int64_t sandbox_file_mb = 16;
};

template <class V>
void describe(V& v, RewardOptions& o) {
  v.field("exec_timeout", o.exec_timeout, "seconds that an exec reward may take to answer a batch");
  v.choice("exec_on_failure", o.exec_on_failure, {"nan", "error"},
           "a program that hangs, dies or answers nonsense: no reward, or stop");
  v.field("sandbox", o.sandbox, "run exec rewards in a sandbox: no network, read-only files, limits");
  v.field("sandbox_cpu_seconds", o.sandbox_cpu_seconds, "processor time of each sandboxed process");
  v.field("sandbox_memory_mb", o.sandbox_memory_mb, "memory of each sandboxed process");
  v.field("sandbox_processes", o.sandbox_processes, "processes and threads in the sandbox");
  v.field("sandbox_file_mb", o.sandbox_file_mb, "size of a file, and of the temporary folder, in the sandbox");
}

/// The reward that `spec` names. Error lists the known names when there is none such.
WeightedReward make_reward(const std::string& spec, const RewardOptions& = {}, float weight = 1);

/// One for each of `specs`; `weights` is empty (all 1) or as long as `specs`.
std::vector<WeightedReward> make_rewards(const std::vector<std::string>& specs, const std::vector<double>& weights,
                                         const RewardOptions& = {});

std::vector<std::string> reward_names();

}  // namespace tenon::rl::rewards
