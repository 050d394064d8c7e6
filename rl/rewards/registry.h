// Rewards by name, for TOML and the command line: "accuracy", "format", "code", ..., "contains:word,word",
// "model:DIR", "exec:./program arguments". `tenon reward --help` lists them with the columns that each reads.
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

  std::string length_correct = "accuracy";  // the reward that length and cosine ask whether a completion is right
  std::string length_unit = "characters";   // of length and cosine: characters or tokens
  double cosine_min_value_wrong = -1, cosine_max_value_wrong = -0.5;
  double cosine_min_value_correct = 0.5, cosine_max_value_correct = 1;
  int64_t cosine_max_len = 1000;
  int64_t repetition_n_grams = 3;
  double repetition_max_penalty = -1;

  std::string code_language = "python";
  std::string code_score = "all";  // 1 when all tests pass, or "share": their share
  double code_cpu_seconds = 5;     // of each test
  double code_wall_seconds = 15;
  int64_t code_memory_mb = 512;
  int64_t code_processes = 16;
  int64_t code_output_kb = 1024;
  int64_t code_workers = 0;
  std::string code_python = "python3";
  std::string code_compiler = "g++ -std=c++17 -O1";
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
  v.field("length_correct", o.length_correct, "length, cosine: the reward that says whether a completion is right");
  v.choice("length_unit", o.length_unit, {"characters", "tokens"}, "length, cosine: what lengths are counted in");
  v.field("cosine_min_value_wrong", o.cosine_min_value_wrong, "cosine: of a short wrong completion");
  v.field("cosine_max_value_wrong", o.cosine_max_value_wrong, "cosine: of a wrong completion of cosine_max_len");
  v.field("cosine_min_value_correct", o.cosine_min_value_correct, "cosine: of a right completion of cosine_max_len");
  v.field("cosine_max_value_correct", o.cosine_max_value_correct, "cosine: of a short right completion");
  v.field("cosine_max_len", o.cosine_max_len, "cosine: length at which the value no longer changes");
  v.field("repetition_n_grams", o.repetition_n_grams, "repetition_penalty: words of an n-gram");
  v.field("repetition_max_penalty", o.repetition_max_penalty, "repetition_penalty: when all n-grams are one");
  v.choice("code_language", o.code_language, {"python", "cpp", "any"},
           "code: of rows without a column `language`; any: what the block's tag says");
  v.choice("code_score", o.code_score, {"all", "share"}, "code: 1 when all tests pass, or the share that does");
  v.field("code_cpu_seconds", o.code_cpu_seconds, "code: processor time of a test");
  v.field("code_wall_seconds", o.code_wall_seconds, "code: time of a test");
  v.field("code_memory_mb", o.code_memory_mb, "code: memory of each process of a test");
  v.field("code_processes", o.code_processes, "code: processes and threads of a test");
  v.field("code_output_kb", o.code_output_kb, "code: output that a test may write");
  v.field("code_workers", o.code_workers, "code: programs that run at once; 0: one a processor");
  v.field("code_python", o.code_python, "code: the Python interpreter");
  v.field("code_compiler", o.code_compiler, "code: the C++ compiler and its options");
}

/// The reward that `spec` names. Error lists the known names when there is none such.
WeightedReward make_reward(const std::string& spec, const RewardOptions& = {}, float weight = 1);

/// One for each of `specs`; `weights` is empty (all 1) or as long as `specs`.
std::vector<WeightedReward> make_rewards(const std::vector<std::string>& specs, const std::vector<double>& weights,
                                         const RewardOptions& = {});

struct RewardInfo {
  std::string name, about;  // about: what it gives, and the columns it reads
};

/// All that make_reward takes.
std::vector<RewardInfo> known_rewards();

}  // namespace tenon::rl::rewards
