#include "../../runtime/files.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "../../runtime/json.h"
#include "../../runtime/json_lines.h"
#include "../../runtime/log.h"
#include "../expect_error.h"
#include "../full_disk.h"
#include "../temp_dir.h"

namespace tenon {
namespace {

using testing::FullDisk;
using testing::read_text;
using testing::TempDir;
using testing::write_text;

size_t files_in(const std::string& dir) {
  return static_cast<size_t>(
      std::distance(std::filesystem::directory_iterator(dir), std::filesystem::directory_iterator()));
}

TEST(Files, AreReadWhole) {
  TempDir dir;
  const std::string content = std::string(200'000, 'x') + '\0' + "end";
  write_text(dir / "a", content);
  EXPECT_EQ(read_file(dir / "a"), content);
  EXPECT_ERROR(read_file(dir / "missing"), "missing", "No such file");
  EXPECT_ERROR(read_file(dir.path()), dir.path(), "directory");
}

TEST(AtomicFile, AppearsAtCommit) {
  TempDir dir;
  write_text(dir / "a", "old");
  {
    AtomicFile file(dir / "a");
    file.write("new ");
    file.write("content");
    EXPECT_EQ(read_text(dir / "a"), "old");
    file.commit();
    EXPECT_EQ(read_text(dir / "a"), "new content");
    EXPECT_ERROR(file.commit(), "committed");
    EXPECT_ERROR(file.write("more"), "committed");
  }
  { AtomicFile(dir / "a").write("dropped"); }
  EXPECT_EQ(read_text(dir / "a"), "new content");
  EXPECT_EQ(files_in(dir.path()), 1u) << "a temporary file was left";
  EXPECT_ERROR(write_file_atomically(dir / "no/such/folder", "x"), "no/such/folder");
  // A folder stands where the file should go: the rename fails.
  std::filesystem::create_directory(dir / "folder");
  EXPECT_ERROR(write_file_atomically(dir / "folder", "x"), "cannot replace");
  EXPECT_EQ(files_in(dir.path()), 2u);
}

TEST(AtomicFile, AFullDiskLeavesTheOldFileWhole) {
  FullDisk disk(64 << 10);
  write_file_atomically(disk / "checkpoint", std::string(20'000, 'a'));
  EXPECT_ERROR(write_file_atomically(disk / "checkpoint", std::string(200'000, 'b')), disk / "checkpoint", "unchanged");
  EXPECT_EQ(read_text(disk / "checkpoint"), std::string(20'000, 'a'));
  EXPECT_EQ(files_in(disk.path()), 1u) << "the temporary file still takes the space";
  EXPECT_NO_THROW(write_file_atomically(disk / "checkpoint", "small"));
}

TEST(AtomicFile, AKilledWriterLeavesTheOldFileWhole) {
  TempDir dir;
  write_text(dir / "a", "old");
  const pid_t child = fork();
  if (child == 0) {
    AtomicFile file(dir / "a");
    file.write("half of the new");
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(read_text(dir / "a"), "old");
}

TEST(JsonLines, AreReadWithNumbers) {
  TempDir dir;
  write_text(dir / "a.jsonl", "\xEF\xBB\xBF{\"a\":1}\r\n\n   \n{\"b\":2}\n{\"c\":3}");
  JsonLinesReader reader(dir / "a.jsonl");
  std::string line;
  std::vector<std::pair<int64_t, std::string>> got;
  while (reader.next(line)) got.emplace_back(reader.line_number(), line);
  EXPECT_EQ(got, (std::vector<std::pair<int64_t, std::string>>{{1, "{\"a\":1}"}, {4, "{\"b\":2}"}, {5, "{\"c\":3}"}}));
  EXPECT_ERROR(JsonLinesReader(dir / "none.jsonl"), "none.jsonl");
  EXPECT_ERROR(JsonLinesReader(dir.path()), "folder");
  write_text(dir / "empty", "");
  EXPECT_FALSE(JsonLinesReader(dir / "empty").next(line));
}

TEST(JsonLines, AppendingDropsATornLine) {
  TempDir dir;
  const std::string path = dir / "metrics.jsonl";
  {
    JsonLinesWriter writer(path, false);
    writer.write("{\"step\":1}");
    writer.write("{\"step\":2}");
    writer.flush();
  }
  write_text(path, read_text(path) + "{\"step\":3, \"lo" + std::string(10'000, 's'));  // killed in the middle of a line
  {
    JsonLinesWriter writer(path, true);
    JsonLinesWriter moved(std::move(writer));
    moved.write("{\"step\":3}");
  }
  EXPECT_EQ(read_text(path), "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n");
  { JsonLinesWriter(path, false).write("{}"); }
  EXPECT_EQ(read_text(path), "{}\n");
  write_text(path, "torn and nothing else");
  { JsonLinesWriter(path, true).write("{}"); }
  EXPECT_EQ(read_text(path), "{}\n");
  EXPECT_ERROR(JsonLinesWriter(path, true).write("{\n}"), "line break");
  EXPECT_ERROR(JsonLinesWriter(dir / "no/folder", true), "no/folder");
}

TEST(JsonLines, AFullDiskLeavesWholeLines) {
  FullDisk disk(16 << 10);
  const std::string path = disk / "metrics.jsonl";
  JsonLinesWriter writer(path, true);
  writer.write("{\"step\":1}");
  EXPECT_ERROR(writer.write('"' + std::string(100'000, 'x') + '"'), path);
  EXPECT_EQ(read_text(path), "{\"step\":1}\n");
}

TEST(Json, ErrorsSayWhere) {
  EXPECT_EQ(parse_json("{\"a\": [1, 2]}", "x")["a"][1], 2);
  EXPECT_ERROR(parse_json("{\n  \"a\": 1,\n  oops\n}", "config.json"), "config.json", "line 3, column 3");
  EXPECT_ERROR(parse_json("", "empty.json"), "empty.json", "line 1, column 1");
  EXPECT_ERROR(parse_json("{\"a\": 1} trailing", "x"), "line 1");
  EXPECT_ERROR(parse_json("{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", "x"), "\"c\"", "twice");
  EXPECT_ERROR(parse_json("{\"a\": 1e999}", "x"), "x");
  EXPECT_ERROR(parse_json("\"\xff\"", "x"), "x");
  EXPECT_NO_THROW(parse_json("[{\"a\": 1}, {\"a\": 2}]", "x"));
  TempDir dir;
  write_text(dir / "bad.json", "{");
  EXPECT_ERROR(read_json(dir / "bad.json"), dir / "bad.json");
}

TEST(Log, GoesToTheSinkOrNowhere) {
  std::vector<std::string> lines;
  log(LogLevel::warning, "dropped");
  set_log_sink([&](LogLevel level, std::string_view text) {
    lines.push_back((level == LogLevel::info ? "info " : "other ") + std::string(text));
  });
  log(LogLevel::info, "kept");
  set_log_sink({});
  log(LogLevel::info, "dropped");
  EXPECT_EQ(lines, std::vector<std::string>{"info kept"});
}

}  // namespace
}  // namespace tenon
