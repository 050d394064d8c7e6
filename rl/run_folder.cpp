#include "run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "../runtime/check.h"

namespace tenon::rl {
namespace fs = std::filesystem;
namespace {

constexpr const char* kPrefix = "checkpoint-";

std::optional<int64_t> step_of(const std::string& name) {
  if (name.rfind(kPrefix, 0) != 0) return std::nullopt;
  const char* begin = name.data() + std::strlen(kPrefix);
  int64_t step = 0;
  const auto [end, error] = std::from_chars(begin, name.data() + name.size(), step);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return step;
}

void sync_path(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
  check(fd >= 0, "{}: cannot open to flush it: {}", path, std::strerror(errno));
  const int result = ::fsync(fd);
  const int error = errno;
  ::close(fd);
  check(result == 0, "{}: cannot flush it to the disk: {}", path, std::strerror(error));
}

}  // namespace

void make_folders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  check(!error && fs::is_directory(path), "{}: cannot make the folder: {}", path,
        error ? error.message() : "a file is in the way");
}

void sync_folder(const std::string& dir) {
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    if (entry.is_regular_file()) sync_path(entry.path().string(), O_RDONLY);
    if (entry.is_directory()) sync_path(entry.path().string(), O_RDONLY | O_DIRECTORY);
  }
  sync_path(dir, O_RDONLY | O_DIRECTORY);
}

RunFolder::RunFolder(std::string path) : path_(std::move(path)) {
  check(!path_.empty(), "the run folder (output_dir) has no name");
  make_folders(path_);
  for (const auto& entry : fs::directory_iterator(path_)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(".checkpoint-", 0) == 0) {
      std::error_code ignored;
      fs::remove_all(entry.path(), ignored);
    }
  }
}

std::string RunFolder::completions_file(int64_t step) const {
  make_folders(file("completions"));
  std::string number = std::to_string(step);
  if (number.size() < 6) number.insert(0, 6 - number.size(), '0');
  return file("completions/step_" + number + ".jsonl");
}

std::string RunFolder::checkpoint_dir(int64_t step) const { return file(kPrefix + std::to_string(step)); }

std::vector<int64_t> RunFolder::checkpoints() const {
  std::vector<int64_t> out;
  for (const auto& entry : fs::directory_iterator(path_)) {
    if (!entry.is_directory()) continue;
    if (const auto step = step_of(entry.path().filename().string())) out.push_back(*step);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::optional<int64_t> RunFolder::latest_checkpoint() const {
  const auto all = checkpoints();
  return all.empty() ? std::nullopt : std::optional(all.back());
}

void RunFolder::write_checkpoint(int64_t step, const std::function<void(const std::string& dir)>& fill,
                                 int64_t keep) const {
  const std::string fresh = file(".checkpoint-" + std::to_string(step));
  const std::string old = file(".checkpoint-old");
  const std::string final_dir = checkpoint_dir(step);
  fs::remove_all(fresh);
  fs::remove_all(old);
  make_folders(fresh);
  try {
    fill(fresh);
    sync_folder(fresh);
    // A checkpoint of the same step is there when a run is repeated from an earlier one. Folders cannot be swapped in
    // one rename, so for a moment neither has the name; older checkpoints are whole all the time.
    if (fs::exists(final_dir)) fs::rename(final_dir, old);
    fs::rename(fresh, final_dir);
    sync_path(path_, O_RDONLY | O_DIRECTORY);
  } catch (const fs::filesystem_error& e) {
    std::error_code ignored;
    fs::remove_all(fresh, ignored);
    fail("{}: cannot write the checkpoint: {}", final_dir, e.code().message());
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(fresh, ignored);
    throw;
  }
  std::error_code ignored;
  fs::remove_all(old, ignored);
  if (keep <= 0) return;
  auto all = checkpoints();
  for (size_t i = 0; i + static_cast<size_t>(keep) < all.size(); ++i) {
    // Renamed first: a checkpoint half removed must not be taken for a whole one.
    const std::string gone = file(".checkpoint-gone-" + std::to_string(all[i]));
    fs::rename(checkpoint_dir(all[i]), gone, ignored);
    fs::remove_all(gone, ignored);
  }
}

}  // namespace tenon::rl
