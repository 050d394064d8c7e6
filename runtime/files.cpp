#include "files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "check.h"
#include "file_io.h"

namespace tenon {
namespace {

std::string folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Names in one folder differ between processes and between the threads of one.
std::string temporary_name(const std::string& path) {
  static std::atomic<unsigned> count{0};
  return fmt::format("{}.tmp-{}-{}", path, getpid(), count.fetch_add(1));
}

}  // namespace

namespace detail {

int write_all(int fd, const void* data, size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(fd, at, bytes);
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    at += written;
    bytes -= static_cast<size_t>(written);
  }
  return 0;
}

}  // namespace detail

std::string read_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail("cannot read {}: {}", path, std::strerror(errno));
  std::string out;
  struct stat info {};
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) out.reserve(static_cast<size_t>(info.st_size) + 1);
  char buffer[1 << 16];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      ::close(fd);
      fail("cannot read {}: {}", path, std::strerror(error));
    }
    if (got == 0) break;
    out.append(buffer, static_cast<size_t>(got));
  }
  ::close(fd);
  return out;
}

void write_file_atomically(const std::string& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), temporary_(temporary_name(path_)) {
  fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("cannot write {}: {}", path_, std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t bytes) {
  check(fd_ >= 0, "{} was committed and takes no more bytes", path_);
  if (const int error = detail::write_all(fd_, data, bytes)) fail_with("cannot write", error);
}

void AtomicFile::commit() {
  check(fd_ >= 0, "{} was committed before", path_);
  if (::fsync(fd_) != 0) fail_with("cannot write", errno);
  if (::close(std::exchange(fd_, -1)) != 0) fail_with("cannot write", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_with("cannot replace", errno);
  temporary_.clear();

  const std::string folder = folder_of(path_);
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail("cannot make {} durable: {}: {}", path_, folder, std::strerror(errno));
  const int error = ::fsync(fd) != 0 ? errno : 0;
  ::close(fd);
  // Some network file systems have no fsync of folders.
  if (error && error != EINVAL && error != ENOTSUP)
    fail("cannot make {} durable: {}: {}", path_, folder, std::strerror(error));
}

void AtomicFile::fail_with(const char* what, int error) {
  fail("{} {}: {} (what was there before is unchanged)", what, path_, std::strerror(error));
}

}  // namespace tenon
