// A file system that is full after a few kilobytes: a small tmpfs where mounting is allowed, else a limit on the size
// of files. Either way write(2) fails in the middle, with ENOSPC or EFBIG.
#pragma once

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <string>

#include "temp_dir.h"

namespace tenon::testing {

class FullDisk {
 public:
  /// `bytes` fit, in all (tmpfs) or in one file.
  explicit FullDisk(size_t bytes) {
    const std::string options = "size=" + std::to_string(bytes);
    mounted_ = ::mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, options.c_str()) == 0;
    if (mounted_) return;
    previous_handler_ = ::signal(SIGXFSZ, SIG_IGN);  // the write then fails instead
    ::getrlimit(RLIMIT_FSIZE, &previous_);
    rlimit limited = previous_;
    limited.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limited);
  }
  ~FullDisk() {
    if (mounted_) {
      ::umount2(dir_.path().c_str(), MNT_DETACH);
    } else {
      ::setrlimit(RLIMIT_FSIZE, &previous_);
      ::signal(SIGXFSZ, previous_handler_);
    }
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

  const std::string& path() const { return dir_.path(); }
  std::string operator/(const std::string& name) const { return dir_ / name; }

 private:
  TempDir dir_;
  bool mounted_ = false;
  rlimit previous_{};
  void (*previous_handler_)(int) = SIG_DFL;
};

}  // namespace tenon::testing
