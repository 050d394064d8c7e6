// Whole files, read at once and replaced at once. A reader finds the old file or the new one, never a part of it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tenon {

/// Throws Error naming the path and the system's reason.
std::string read_file(const std::string& path);

/// Writes beside, fsyncs, renames, fsyncs the folder. On failure (a full disk) throws Error; the old file is whole and
/// the temporary one is removed.
void write_file_atomically(const std::string& path, std::string_view bytes);

/// The same for a file written piece by piece: it appears under `path` at commit().
class AtomicFile {
 public:
  explicit AtomicFile(std::string path);
  /// Removes what was written unless it was committed.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  [[noreturn]] void fail_with(const char* what, int error);

  std::string path_, temporary_;
  int fd_ = -1;
};

}  // namespace tenon
