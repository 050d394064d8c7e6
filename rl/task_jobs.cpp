// countdown, word_problems: they write the data of a task.
#include <nlohmann/json.hpp>

#include "../runtime/files.h"
#include "job_parts.h"
#include "tasks/countdown.h"
#include "tasks/word_problems.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::ordered_json;

struct DataFolder {
  std::string output_dir;
};
template <class V>
void describe(V& v, DataFolder& o) {
  v.field("output_dir", o.output_dir, "folder for the files");
}

template <class Options>
class DataJob : public Job {
 public:
  explicit DataJob(const std::string& kind) : Job(kind) {
    settings_.add("", folder_);
    settings_.add(kind, options_);
  }
  std::string output_dir() const override { return folder_.output_dir; }
  void set_output_dir(const std::string& dir) override { folder_.output_dir = dir; }
  std::string run(RunControl) override {
    settings_.validate();
    check(!folder_.output_dir.empty(), "{}: output_dir names no folder", kind_);
    make_folders(folder_.output_dir);
    return write(folder_.output_dir);
  }

 protected:
  virtual std::string write(const std::string& dir) = 0;
  DataFolder folder_;
  Options options_;
};

class CountdownJob : public DataJob<CountdownOptions> {
 public:
  CountdownJob() : DataJob("countdown") {}

 private:
  std::string write(const std::string& dir) override {
    write_countdown(options_, dir);
    const auto [all, held_out] = Countdown(options_).count_problems();
    return Json({{"problems", all}, {"held_out", held_out}, {"documents", options_.documents}}).dump();
  }
};

class WordProblemsJob : public DataJob<WordProblemOptions> {
 public:
  WordProblemsJob() : DataJob("word_problems") {}

 private:
  std::string write(const std::string& dir) override {
    write_word_problems(dir, options_);
    return Json({{"train", options_.train_rows}, {"held_out", options_.held_out_rows}}).dump();
  }
};

}  // namespace

std::vector<JobKind> task_jobs() {
  return {{"countdown", "write the data of the miniature task", make<CountdownJob>},
          {"word_problems", "write one-step word problems, for training and for evaluation", make<WordProblemsJob>}};
}

}  // namespace tenon::rl
