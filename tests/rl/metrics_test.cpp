// Run folder, metrics.jsonl across kills and resumes, TensorBoard records, progress.
#include "../../rl/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <thread>

#include "../../rl/event_file.h"
#include "../../rl/long_work.h"
#include "../../rl/progress.h"
#include "../../runtime/error.h"
#include "../../runtime/files.h"
#include "../temp_dir.h"

namespace tenon::rl {
namespace {

namespace fs = std::filesystem;

TEST(RunFolder, CheckpointsAreWholeOrAbsent) {
  const testing::TempDir dir;
  const RunFolder run(dir.path() + "/run");
  EXPECT_FALSE(run.latest_checkpoint());
  run.write_checkpoint(10, [](const std::string& d) { write_file_atomically(d + "/a", "ten"); });
  run.write_checkpoint(20, [](const std::string& d) { write_file_atomically(d + "/a", "twenty"); });
  EXPECT_THROW(run.write_checkpoint(30,
                                    [](const std::string& d) {
                                      write_file_atomically(d + "/a", "half");
                                      throw Error("disk full");
                                    }),
               Error);
  EXPECT_EQ(run.checkpoints(), (std::vector<int64_t>{10, 20}));
  EXPECT_EQ(read_file(run.checkpoint_dir(20) + "/a"), "twenty");
  run.write_checkpoint(20, [](const std::string& d) { write_file_atomically(d + "/a", "again"); });
  EXPECT_EQ(read_file(run.checkpoint_dir(20) + "/a"), "again");
  run.write_checkpoint(
      30, [](const std::string& d) { write_file_atomically(d + "/a", "thirty"); }, 2);
  EXPECT_EQ(run.checkpoints(), (std::vector<int64_t>{20, 30}));

  // What a killed process leaves is not taken for a checkpoint and is removed.
  fs::create_directory(run.path() + "/.checkpoint-40");
  EXPECT_EQ(RunFolder(run.path()).latest_checkpoint(), 30);
  EXPECT_FALSE(fs::exists(run.path() + "/.checkpoint-40"));
}

TEST(RunFolder, AFileInTheWayIsAnError) {
  const testing::TempDir dir;
  write_file_atomically(dir.path() + "/file", "x");
  EXPECT_THROW(RunFolder(dir.path() + "/file/run"), Error);
  EXPECT_THROW(RunFolder(""), Error);
}

TEST(Metrics, ResumingDropsLaterAndTornLines) {
  const testing::TempDir dir;
  const RunFolder run(dir.path());
  {
    MetricsWriter writer(run);
    for (int64_t step = 1; step <= 5; ++step)
      writer.log(step, {{"loss", 1.0 / static_cast<double>(step)}, {"kl", std::nan("")}});
  }
  const std::string unbroken = read_file(run.metrics_file());
  write_file_atomically(run.metrics_file(), unbroken + "{\"step\": 6, \"lo");
  {
    MetricsWriter writer(run, 3);
    for (int64_t step = 4; step <= 5; ++step)
      writer.log(step, {{"loss", 1.0 / static_cast<double>(step)}, {"kl", std::nan("")}});
  }
  EXPECT_EQ(read_file(run.metrics_file()), unbroken) << "a resumed run's file is that of an unbroken one";
  const auto lines = read_metrics(run.metrics_file());
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[1].step, 2);
  EXPECT_EQ(lines[1].values[0], (std::pair<std::string, double>("loss", 0.5)));
  EXPECT_TRUE(std::isnan(lines[1].values[1].second));

  write_file_atomically(run.metrics_file(), "{\"step\":1}\nnonsense\n");
  try {
    read_metrics(run.metrics_file());
    FAIL() << "expected an error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("metrics.jsonl:2"), std::string::npos) << e.what();
  }
}

TEST(EventFile, Crc32cIsThatOfRfc3720) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);
}

// Reads records back by the format's own description: length, masked checksum, data, masked checksum.
TEST(EventFile, RecordsHaveLengthsAndChecksums) {
  const testing::TempDir dir;
  std::string path;
  {
    EventWriter writer(dir.path(), 7);
    writer.scalars(300, {{"loss", 0.5}, {"reward", -1.25}});
    path = writer.path();
  }
  const std::string bytes = read_file(path);
  const auto masked = [](std::string_view s) {
    const uint32_t crc = crc32c(s);
    return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
  };
  std::vector<std::string> records;
  for (size_t at = 0; at < bytes.size();) {
    uint64_t length = 0;
    uint32_t crc = 0;
    std::memcpy(&length, bytes.data() + at, 8);
    std::memcpy(&crc, bytes.data() + at + 8, 4);
    ASSERT_EQ(crc, masked(std::string_view(bytes).substr(at, 8)));
    ASSERT_LE(at + 12 + length + 4, bytes.size());
    records.push_back(bytes.substr(at + 12, length));
    std::memcpy(&crc, bytes.data() + at + 12 + length, 4);
    ASSERT_EQ(crc, masked(records.back()));
    at += 12 + length + 4;
  }
  ASSERT_EQ(records.size(), 3u);
  EXPECT_NE(records[0].find("brain.Event:2"), std::string::npos);
  // step 300 as a varint of field 2; then field 5, whose values hold tag (1) and simple_value (2).
  EXPECT_EQ(records[2].substr(9, 3), std::string("\x10\xAC\x02"));
  const std::string value = std::string("\x0A\x0B\x0A\x04loss\x15", 9) + std::string("\x00\x00\x00\x3F", 4);
  EXPECT_NE(records[2].find(value), std::string::npos);
}

TEST(Progress, ABarOnATerminalAndLinesInAPipe) {
  std::string out;
  const TextSink sink = [&](std::string_view text) { out += text; };
  Progress bar(sink, true, 60);
  bar.begin("sft", 10);
  bar.update(5, {{"loss", 1.5}});
  EXPECT_NE(out.find("\rsft [############............] 5/10"), std::string::npos) << out;
  EXPECT_NE(out.find(" left"), std::string::npos);
  EXPECT_NE(out.find("loss 1.5"), std::string::npos);
  bar.end();
  EXPECT_EQ(out.back(), '\n');

  out.clear();
  Progress lines(sink, false);
  lines.begin("sft", 3);
  lines.update(1);
  lines.update(2);
  lines.update(3, {{"loss", 0.25}});
  lines.end();
  EXPECT_EQ(out.find('\r'), std::string::npos);
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 2) << "the title and the last step: " << out;
  EXPECT_NE(out.find("loss 0.25"), std::string::npos);

  Progress silent;
  silent.begin("x", 1);
  silent.update(1);
  silent.end();
}

TEST(Progress, KeyMetricsFirst) {
  std::string out;
  Progress lines([&](std::string_view text) { out += text; }, false);
  const auto line = [&](const Metrics& metrics) {
    lines.begin("grpo", 1);
    out.clear();
    lines.update(1, metrics);
    lines.end();
    return out.substr(out.find("grpo"));
  };
  EXPECT_NE(line({{"loss", 1e-4},
                  {"grad_norm", 0.5},
                  {"clip_ratio/low_mean", 0},
                  {"completions/mean_length", 104.79},
                  {"reward", 1.25},
                  {"kl", 0.0517},
                  {"tokens_per_second", 15401.9}})
                .find("  reward 1.25  length 105  kl 0.0517  loss 0.0001  tokens/s 15402  grad_norm 0.5\n"),
            std::string::npos)
      << out;
  EXPECT_NE(line({{"kept", 12}, {"wrong", 3}}).find("  kept 12  wrong 3\n"), std::string::npos) << out;
}

TEST(Progress, LongWorkShowsWhenItIsLong) {
  std::string out;
  Progress progress([&](std::string_view text) { out += text; }, true);
  std::atomic<bool> stop{false};
  RunControl control;
  control.progress = &progress;
  control.stop = &stop;
  LongWork work(control, "tokenizing", 1000000);
  for (int i = 0; i < 100; ++i) work.advance();
  EXPECT_EQ(out, "") << "within a second";
  std::this_thread::sleep_for(std::chrono::milliseconds(1020));
  work.advance();
  EXPECT_NE(out.find("tokenizing ["), std::string::npos) << out;
  EXPECT_NE(out.find("101/1000000"), std::string::npos) << out;
  const size_t drawn = out.size();
  work.advance();
  EXPECT_EQ(out.size(), drawn) << "a bar is not drawn more often than eyes follow";
  stop = true;
  EXPECT_THROW(work.advance(), Error);
}

TEST(Progress, Durations) {
  EXPECT_EQ(duration_text(12.4), "12 s");
  EXPECT_EQ(duration_text(245), "4:05");
  EXPECT_EQ(duration_text(3723), "1:02:03");
}

}  // namespace
}  // namespace tenon::rl
