// JSON lines: one object a line. Rows are text here; who reads them parses them, and says file and line when they are
// malformed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace tenon {

class JsonLinesReader {
 public:
  /// Throws Error when the file cannot be read.
  explicit JsonLinesReader(std::string path);
  ~JsonLinesReader();
  JsonLinesReader(JsonLinesReader&&) noexcept;
  JsonLinesReader& operator=(JsonLinesReader&&) noexcept;

  /// The next line that is not blank, without its end; false at the end of the file.
  bool next(std::string& line);
  /// Of the line that next() gave, from 1.
  int64_t line_number() const { return line_number_; }
  const std::string& path() const { return path_; }

 private:
  struct Stream;
  std::string path_;
  std::unique_ptr<Stream> stream_;
  int64_t line_number_ = 0;
};

/// Every line is one write to the file, so that a process killed at any moment leaves whole lines but for the last.
class JsonLinesWriter {
 public:
  /// Appending removes a torn last line first. Throws Error when the file cannot be opened.
  JsonLinesWriter(std::string path, bool append);
  ~JsonLinesWriter();
  JsonLinesWriter(JsonLinesWriter&&) noexcept;
  JsonLinesWriter& operator=(JsonLinesWriter&&) noexcept;

  /// One object, without line breaks. Throws Error on a full disk; the torn line is removed.
  void write(std::string_view json_object);
  /// Waits until what was written is on the disk.
  void flush();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int fd_ = -1;
};

}  // namespace tenon
