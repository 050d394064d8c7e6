// Internal: what the files of jobs share. A family of jobs is one file, which makes a table of its kinds; jobs.cpp
// joins the tables.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../runtime/check.h"
#include "datasets.h"
#include "jobs.h"
#include "rewards/registry.h"

namespace tenon::rl {

struct JobKind {
  const char* name;
  const char* description;  // one line for the list of commands
  std::unique_ptr<Job> (*make)();
};

template <class T>
std::unique_ptr<Job> make() {
  return std::make_unique<T>();
}

std::vector<JobKind> training_jobs();
std::vector<JobKind> rlhf_jobs();
std::vector<JobKind> sampling_jobs();
std::vector<JobKind> task_jobs();

/// How a dataset is read, and from where.
template <class Reading>
struct FileOptions : Reading {
  std::vector<std::string> path;
};
template <class V, class Reading>
void describe(V& v, FileOptions<Reading>& o) {
  v.field("path", o.path, "the file of JSON lines, or several that make one dataset; one named twice counts twice");
  describe(v, static_cast<Reading&>(o));
}
using DataOptions = FileOptions<DatasetOptions>;

/// Error where the section names no file.
template <class Reading>
const std::vector<std::string>& need_path(const FileOptions<Reading>& data, const char* section) {
  check(!data.path.empty(), "no data: set {}.path", section);
  return data.path;
}

struct RewardList {
  std::vector<std::string> reward_funcs;
  std::vector<double> reward_weights;
  rewards::RewardOptions options;

  /// Error in the name of `kind` when there is none.
  std::vector<WeightedReward> make(const std::string& kind) const {
    check(!reward_funcs.empty(), "{}: no rewards; set reward_funcs, for example [\"accuracy\", \"format\"]", kind);
    return rewards::make_rewards(reward_funcs, reward_weights, options);
  }
};
template <class V>
void describe(V& v, RewardList& o) {
  v.field("reward_funcs", o.reward_funcs,
          "the rewards by name; exec:PROGRAM is any program that answers JSON lines with numbers. A row's column "
          "`rewards` names those that count for it; without it all do");
  v.field("reward_weights", o.reward_weights, "their weights in the sum; empty: 1 each");
  describe(v, o.options);
}

/// Figures of a training run as a JSON object: those of its last lines of metrics, averaged, and its time.
std::string training_result(const std::string& output_dir);

/// What the jobs that train have in common. Reading: how their data are read.
template <class Options, class Reading = DatasetOptions>
class TrainingJob : public Job {
 public:
  TrainingJob(const std::string& kind) : Job(kind) {
    settings_.add("", model_options_);
    settings_.add("data", data_options_);
  }
  std::string output_dir() const override { return options_.output_dir; }
  void set_output_dir(const std::string& dir) override { options_.output_dir = dir; }

  std::string run(RunControl control) override {
    settings_.validate();
    check(!options_.output_dir.empty(), "{}: output_dir names no folder for the run", kind_);
    control.settings_toml = settings_.to_toml();
    models::Model model = open();
    train(model, control);
    check(!control.stop || !control.stop->load(), "interrupted");
    models::save(model, model_options_.output.empty() ? options_.output_dir + "/model" : model_options_.output);
    return training_result(options_.output_dir);
  }

 protected:
  virtual models::Model open() {
    bool mtp = false;
    if constexpr (requires { options_.mtp_loss_weight; }) mtp = options_.mtp_loss_weight > 0;
    return open_model(model_options_, mtp);
  }
  virtual void train(models::Model& model, const RunControl& control) = 0;

  ModelOptions model_options_;
  FileOptions<Reading> data_options_;
  Options options_;
};

}  // namespace tenon::rl
