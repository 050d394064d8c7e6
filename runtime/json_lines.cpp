#include "json_lines.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "check.h"
#include "file_io.h"

namespace tenon {
namespace {

bool is_blank(const std::string& line) { return line.find_first_not_of(" \t\r\v\f") == std::string::npos; }

// Where the file's last whole line ends.
off_t end_of_whole_lines(int fd, off_t size) {
  char buffer[4096];
  while (size > 0) {
    const auto part = static_cast<size_t>(std::min<off_t>(size, sizeof buffer));
    const ssize_t got = ::pread(fd, buffer, part, size - static_cast<off_t>(part));
    if (got != static_cast<ssize_t>(part)) return -1;
    for (size_t i = part; i > 0; --i)
      if (buffer[i - 1] == '\n') return size - static_cast<off_t>(part - i);
    size -= static_cast<off_t>(part);
  }
  return 0;
}

}  // namespace

struct JsonLinesReader::Stream {
  std::ifstream file;
  char buffer[1 << 16];
};

JsonLinesReader::JsonLinesReader(std::string path) : path_(std::move(path)), stream_(std::make_unique<Stream>()) {
  struct stat info {};
  if (::stat(path_.c_str(), &info) != 0) fail("cannot read {}: {}", path_, std::strerror(errno));
  check(!S_ISDIR(info.st_mode), "cannot read {}: it is a folder", path_);
  stream_->file.rdbuf()->pubsetbuf(stream_->buffer, sizeof stream_->buffer);
  stream_->file.open(path_, std::ios::binary);
  if (!stream_->file) fail("cannot read {}: {}", path_, std::strerror(errno));
}

JsonLinesReader::~JsonLinesReader() = default;
JsonLinesReader::JsonLinesReader(JsonLinesReader&&) noexcept = default;
JsonLinesReader& JsonLinesReader::operator=(JsonLinesReader&&) noexcept = default;

bool JsonLinesReader::next(std::string& line) {
  while (std::getline(stream_->file, line)) {
    ++line_number_;
    if (line_number_ == 1 && line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);  // a byte order mark
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!is_blank(line)) return true;
  }
  check(!stream_->file.bad(), "cannot read {} after line {}", path_, line_number_);
  return false;
}

JsonLinesWriter::JsonLinesWriter(std::string path, bool append) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | (append ? 0 : O_TRUNC), 0666);
  if (fd_ < 0) fail("cannot write {}: {}", path_, std::strerror(errno));
  struct stat info {};
  if (!append || ::fstat(fd_, &info) != 0 || info.st_size == 0) return;
  const off_t whole = end_of_whole_lines(fd_, info.st_size);
  if (whole < 0 || (whole < info.st_size && ::ftruncate(fd_, whole) != 0)) {
    const int error = errno;
    ::close(std::exchange(fd_, -1));
    fail("cannot remove the torn last line of {}: {}", path_, std::strerror(error));
  }
}

JsonLinesWriter::~JsonLinesWriter() {
  if (fd_ >= 0) ::close(fd_);
}

JsonLinesWriter::JsonLinesWriter(JsonLinesWriter&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

JsonLinesWriter& JsonLinesWriter::operator=(JsonLinesWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

void JsonLinesWriter::write(std::string_view json_object) {
  check(json_object.find('\n') == std::string_view::npos, "{}: a JSON line cannot hold a line break", path_);
  std::string line;
  line.reserve(json_object.size() + 1);
  line.append(json_object).push_back('\n');
  struct stat info {};
  const bool known = ::fstat(fd_, &info) == 0;
  if (const int error = detail::write_all(fd_, line.data(), line.size())) {
    const bool removed = known && ::ftruncate(fd_, info.st_size) == 0;
    fail("cannot write {}: {}{}", path_, std::strerror(error), removed ? "" : " (its last line is torn)");
  }
}

void JsonLinesWriter::flush() {
  // EINVAL: a pipe or terminal, which has nothing to wait for.
  if (::fdatasync(fd_) != 0 && errno != EINVAL && errno != EROFS)
    fail("cannot write {}: {}", path_, std::strerror(errno));
}

}  // namespace tenon
