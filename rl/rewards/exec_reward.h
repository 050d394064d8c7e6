// A reward that is any program: it reads a line of JSON for each sample and answers each with a line holding a number.
//
// A request is the row's columns with "prompt", "completion", "completion_tokens" (their number) and "finished" added.
// An answer is a number, null for 'no reward', or an object with "reward". The program stays running over batches; it
// must flush its output after each line, and ends when its input closes.
#pragma once

#include <optional>
#include <string>

#include "../sample.h"
#include "sandbox.h"

namespace tenon::rl::rewards {

struct ExecOptions {
  double timeout = 30;         // seconds for the answers to a batch
  bool fail_on_error = false;  // a hang, death or answer that is no number: false: NaN for the samples it touches and a
                               // warning in the log; true: Error
  std::optional<SandboxLimits> sandbox;
};

/// `command` is a line for /bin/sh. A program that died is started again for the samples that come after the one it
/// died of, at most three times a batch; one that hangs is killed and started again for the next batch. Error when
/// `sandbox` is asked for and cannot work here.
BatchReward exec_reward(const std::string& command, const ExecOptions& options = {});

}  // namespace tenon::rl::rewards
