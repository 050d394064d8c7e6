// The folder of a run: settings.toml, metrics.jsonl, events for TensorBoard, completions/, checkpoint-N/, report.html.
//
// A checkpoint is written beside its place and renamed there when every file in it is on the disk, so one that is found
// is whole.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace tenon::rl {

class RunFolder {
 public:
  /// Makes the folder where it is missing and removes what an interrupted checkpoint left behind. Error when it cannot
  /// be made.
  explicit RunFolder(std::string path);

  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  std::string settings_file() const { return file("settings.toml"); }
  std::string metrics_file() const { return file("metrics.jsonl"); }
  std::string report_file() const { return file("report.html"); }
  std::string completions_file(int64_t step) const;  // completions/step_000100.jsonl; the folder is made
  std::string checkpoint_dir(int64_t step) const;    // checkpoint-N

  std::vector<int64_t> checkpoints() const;  // steps, ascending
  std::optional<int64_t> latest_checkpoint() const;

  /// Calls `fill` with a fresh folder, makes it durable and gives it its name; on any error the folder is removed and
  /// older checkpoints stand as they were. Then keeps the newest `keep` (0: all).
  void write_checkpoint(int64_t step, const std::function<void(const std::string& dir)>& fill, int64_t keep = 0) const;

 private:
  std::string path_;
};

/// Makes `path` and its parents. Error with the system's reason.
void make_folders(const std::string& path);

/// Flushes the files of `dir` and `dir` itself to the disk.
void sync_folder(const std::string& dir);

}  // namespace tenon::rl
