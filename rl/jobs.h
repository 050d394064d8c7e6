// The commands that do work, as objects: their settings, and run(). The binary `tenon` runs one from a TOML file and a
// command line; the recipe runner (r1.h) runs a list of them.
//
//   kind           what it does                                   sections of its settings
//   pretrain       next-token training, from nothing or on        [model_config] [data] [pretrain]
//   sft            supervised fine-tuning                         [data] [eval_data] [sft]
//   grpo           reinforcement learning                         [data] [reward] [grpo]
//   distill        a teacher's distributions into a student       [data] [distill]
//   dpo            preferred answers made more probable           [data] [eval_data] [dpo]
//   reward-model   a model that scores answers, from preferences  [data] [eval_data] [reward-model]
//   ppo            reinforcement learning with a value model      [data] [reward] [ppo]
//   sample         rejection sampling                             [data] [reward] [sample]
//   eval           pass@1, majority vote, pass@k                  [data] [reward] [eval]
//   countdown      writes the miniature task's data               [countdown]
//   word_problems  writes one-step word problems                  [word_problems]
//
// Keys that name the model stand at the top of the file; other keys may as well where only one section has them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "open_model.h"
#include "settings.h"
#include "trainer.h"

namespace tenon::rl {

class Job {
 public:
  virtual ~Job() = default;

  const std::string& kind() const { return kind_; }
  Settings& settings() { return settings_; }
  const Settings& settings() const { return settings_; }

  void read_toml(const std::string& path);
  /// For pretrain: a config.json as text, its keys those of Hugging Face; vocab_size and end tokens come from the
  /// tokenizer where absent.
  void set_model_config(std::string json) { model_config_ = std::move(json); }

  /// Where the job writes; what its settings call output_dir or, for files, the folder of these.
  virtual std::string output_dir() const = 0;
  virtual void set_output_dir(const std::string& dir) = 0;

  /// Validates the settings and does the work; gives its figures as a JSON object on one line. Throws Error
  /// "interrupted" when control.stop was set before the end; what was done is saved and the next run goes on from
  /// there.
  virtual std::string run(RunControl control) = 0;

 protected:
  explicit Job(std::string kind) : kind_(std::move(kind)) {}

  std::string kind_;
  Settings settings_;
  std::string model_config_;
};

/// Error lists the kinds when there is none such.
std::unique_ptr<Job> make_job(const std::string& kind);
const std::vector<std::string>& job_kinds();
/// What a kind does, in one line; Error as make_job.
const char* job_description(const std::string& kind);

}  // namespace tenon::rl
