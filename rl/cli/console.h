// What the program `tenon` adds to the library: the terminal, Ctrl-C, exit codes.
#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <string>
#include <vector>

#include "../../runtime/error.h"
#include "../progress.h"

namespace tenon::cli {

/// A mistake on the command line: exit code 2 instead of 1.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Set by the first Ctrl-C (or SIGTERM); the second one ends the program at once.
extern std::atomic<bool> stop_requested;
void catch_signals();

/// Progress on standard error: a bar where that is a terminal, lines elsewhere.
rl::Progress console_progress();

/// What the library has to say on standard error: `info` and above, or from the level that TENON_LOG names.
void show_log();

/// Everything on standard input.
std::string read_standard_input();

/// Writes to standard output; an Error when that is closed or full.
void print(std::string_view text);

// The commands, each in its own file; they register themselves with the program.
void add_job_commands(CLI::App& app);       // pretrain sft grpo distill eval sample countdown
void add_recipe_command(CLI::App& app);     // r1
void add_report_command(CLI::App& app);     // report
void add_generate_commands(CLI::App& app);  // generate chat
void add_text_commands(CLI::App& app);      // tokenize render tokenizer
void add_score_command(CLI::App& app);      // score
void add_reward_command(CLI::App& app);     // reward
void add_info_command(CLI::App& app);       // info
void add_merge_command(CLI::App& app);      // merge

}  // namespace tenon::cli
