// Rewards that are programs: batches, nonsense, NaN, death, hangs, and the sandbox's walls (network, memory, processes,
// time, disk).
#include "../../rl/rewards/exec_reward.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "../../rl/datasets.h"
#include "../../rl/rewards/registry.h"
#include "../../rl/rewards/subprocess.h"
#include "../../runtime/error.h"
#include "../../runtime/log.h"
#include "../temp_dir.h"

namespace tenon::rl {
namespace {

using rewards::exec_reward;
using rewards::ExecOptions;

double seconds_since(std::chrono::steady_clock::time_point begun) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

class ExecReward : public ::testing::Test {
 protected:
  ExecReward() {
    set_log_sink([this](LogLevel, std::string_view text) { warnings += std::string(text) + "\n"; });
    for (int i = 0; i < 4; ++i) rows.push_back(make_row("p" + std::to_string(i), {{"answer", std::to_string(i)}}));
  }
  ~ExecReward() override { set_log_sink({}); }

  std::string script(const std::string& body, const std::string& name = "reward.sh") {
    const std::string path = dir / name;
    testing::write_text(path, "#!/bin/sh\n" + body);
    std::filesystem::permissions(path, std::filesystem::perms(0755));
    return path;
  }
  std::string python(const std::string& body) {
    const std::string path = dir / "reward.py";
    testing::write_text(path, "import json, os, sys\n" + body);
    return "python3 -u " + path;
  }
  std::vector<Sample> samples(const std::vector<std::string>& completions) {
    std::vector<Sample> out;
    for (size_t i = 0; i < completions.size(); ++i) {
      out.push_back(
          {.row = rows[i % rows.size()], .prompt = rows[i % rows.size()].prompt, .completion = completions[i]});
    }
    return out;
  }

  testing::TempDir dir;
  std::vector<Row> rows;
  std::string warnings;
};

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST_F(ExecReward, AnswersEverySampleAndStaysRunning) {
  const auto reward =
      exec_reward(python("n = 0\n"
                         "for line in sys.stdin:\n"
                         "  s = json.loads(line)\n"
                         "  n += 1\n"
                         "  print(json.dumps({'reward': int(s['answer']) + 10 * n}) if n % 2 else int(s['answer']) + "
                         "10 * n, flush=True)\n"));
  EXPECT_EQ(reward(samples({"a", "b"})), (std::vector<float>{10, 21}));
  EXPECT_EQ(reward(samples({"a", "b"})), (std::vector<float>{30, 41})) << "the same process counts on";
}

TEST_F(ExecReward, ThousandsOfLongLinesDoNotBlock) {
  // Far more than both pipes hold, while the program answers only after each line.
  const auto reward = exec_reward("while read -r line; do echo ${#line}; done");
  const std::vector<std::string> completions(400, std::string(3000, 'x'));
  const auto values = reward(samples(completions));
  ASSERT_EQ(values.size(), 400u);
  for (const float v : values) EXPECT_GT(v, 3000);
}

TEST_F(ExecReward, NonsenseAndNanAreMissingWithAClearLine) {
  const auto reward = exec_reward(
      script("while read -r line; do read -r b; echo 1; echo none; read -r c; echo NaN; read -r d; echo null; done\n"));
  const auto values = reward(samples({"a", "b", "c", "d"}));
  EXPECT_EQ(values[0], 1);
  EXPECT_TRUE(std::isnan(values[1]));
  EXPECT_TRUE(std::isnan(values[2]));
  EXPECT_TRUE(std::isnan(values[3]));
  EXPECT_NE(warnings.find("sample 2: answered 'none' where a number was expected"), std::string::npos) << warnings;
  EXPECT_NE(warnings.find("sample 3: answered 'NaN'"), std::string::npos) << warnings;
  EXPECT_EQ(warnings.find("sample 4"), std::string::npos) << "null says 'no reward' and is no mistake";

  const auto strict = exec_reward(script("while read -r line; do echo none; done\n"), {.fail_on_error = true});
  EXPECT_NE(error_of([&] { strict(samples({"a"})); }).find("answered 'none' where a number was expected"),
            std::string::npos);
}

TEST_F(ExecReward, OneThatDiesIsStartedAgainForTheRest) {
  const std::string command = python(
      "for line in sys.stdin:\n"
      "  s = json.loads(line)\n"
      "  if s['completion'] == 'poison':\n"
      "    sys.exit('I cannot take this')\n"
      "  print(1, flush=True)\n");
  const auto values = exec_reward(command)(samples({"a", "poison", "c", "d"}));
  EXPECT_EQ(values[0], 1);
  EXPECT_TRUE(std::isnan(values[1]));
  EXPECT_EQ(values[2], 1);
  EXPECT_EQ(values[3], 1);
  EXPECT_NE(warnings.find("ended (exit code 1) at sample 2 of 4; it said: I cannot take this"), std::string::npos)
      << warnings;

  const auto strict = exec_reward(command, {.fail_on_error = true});
  EXPECT_NE(error_of([&] { strict(samples({"poison"})); }).find("exit code 1"), std::string::npos);
  EXPECT_EQ(strict(samples({"a"})), (std::vector<float>{1})) << "usable after the error";
}

TEST_F(ExecReward, OneThatDiesBetweenBatchesCostsNoSample) {
  const auto reward = exec_reward(script("read -r line; echo 5\n"));  // ends after one answer
  EXPECT_EQ(reward(samples({"a"})), (std::vector<float>{5}));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(reward(samples({"a"})), (std::vector<float>{5}));
  EXPECT_NE(warnings.find("ended (exit code 0) between batches; started again"), std::string::npos) << warnings;
}

TEST_F(ExecReward, TooFewAndTooManyLines) {
  const auto few = exec_reward(script("read -r line; echo 5\n"));
  const auto values = few(samples({"a", "b", "c"}));
  EXPECT_EQ(values[0], 5);
  EXPECT_TRUE(std::isnan(values[1])) << "it ended there";
  EXPECT_EQ(values[2], 5);
  const auto many = exec_reward(script("while read -r line; do echo 1; echo 2; done\n"));
  EXPECT_EQ(many(samples({"a"}))[0], 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(many(samples({"a"}))[0], 1) << "the line too many is no answer to the next batch";
  EXPECT_NE(warnings.find("said 1 line(s) more than it was asked for"), std::string::npos) << warnings;
}

TEST_F(ExecReward, NumbersBeyondFloatsAreNone) {
  const auto reward = exec_reward(script("while read -r line; do echo 1e39; done\n"));
  EXPECT_TRUE(std::isnan(reward(samples({"a"}))[0]));
  EXPECT_NE(warnings.find("answered '1e39'"), std::string::npos) << warnings;
}

TEST_F(ExecReward, SeveralAtOnce) {
  std::vector<BatchReward> rewards;
  for (int i = 0; i < 4; ++i)
    rewards.push_back(exec_reward("while read -r line; do echo " + std::to_string(i) + "; done"));
  std::vector<std::vector<float>> values(rewards.size());
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < rewards.size(); ++i)
      threads.emplace_back([&, i] { values[i] = rewards[i](samples({"a", "b", "c"})); });
  }
  for (size_t i = 0; i < rewards.size(); ++i) EXPECT_EQ(values[i], std::vector<float>(3, static_cast<float>(i)));
}

TEST_F(ExecReward, OneThatCannotStartSaysSo) {
  const auto values = exec_reward("./no-such-program")(samples({"a", "b"}));
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_NE(warnings.find("exit code 127"), std::string::npos) << warnings;
  EXPECT_NE(warnings.find("not found"), std::string::npos) << warnings;
}

TEST_F(ExecReward, OneThatHangsIsKilledWithItsChildren) {
  const auto begun = std::chrono::steady_clock::now();
  const auto reward = exec_reward(script("read -r line; echo 5\nsleep 100 & wait\n"), {.timeout = 0.5});
  const auto values = reward(samples({"a", "b"}));
  EXPECT_LT(seconds_since(begun), 20);
  EXPECT_EQ(values[0], 5);
  EXPECT_TRUE(std::isnan(values[1]));
  EXPECT_NE(warnings.find("no answer to sample 2 of 2 within 1 s (exec_timeout); it was killed"), std::string::npos)
      << warnings;
  EXPECT_EQ(reward(samples({"a"})), (std::vector<float>{5})) << "started again for the next batch";
  const auto strict = exec_reward("sleep 100", {.timeout = 0.2, .fail_on_error = true});
  EXPECT_NE(error_of([&] { strict(samples({"a"})); }).find("exec_timeout"), std::string::npos);
}

TEST(RewardRegistry, NamesAndMistakes) {
  EXPECT_EQ(rewards::make_reward("countdown").name, "countdown");
  EXPECT_EQ(rewards::make_reward("exec:/some/where/mine.py --fast").name, "mine.py");
  EXPECT_NE(error_of([] { rewards::make_reward("countdwn"); }).find("did you mean 'countdown'"), std::string::npos);
  EXPECT_NE(error_of([] {
              rewards::make_rewards({"countdown"}, {1, 2});
            }).find("2 values for 1 rewards"),
            std::string::npos);
  EXPECT_NE(error_of([] {
              rewards::make_rewards({"countdown", "countdown"}, {});
            }).find("given twice"),
            std::string::npos);
  const auto all = rewards::make_rewards({"countdown", "countdown_format"}, {1, 0.5});
  EXPECT_EQ(all[1].weight, 0.5f);
  const Row row = make_row("p");
  const auto contains = rewards::make_reward("contains:wait,等").reward;
  EXPECT_EQ(contains(std::vector<Sample>{{.row = row, .completion = "so 等 x"}, {.row = row, .completion = "no"}}),
            (std::vector<float>{1, 0}));
}

// The walls. Each program answers with what it could do inside.
class Sandbox : public ExecReward {
 protected:
  void SetUp() override {
    if (!sandbox_problem().empty()) GTEST_SKIP() << "no sandbox here: " << sandbox_problem();
  }
  // The number that `body` prints for one sample.
  float inside(const std::string& body, SandboxLimits limits = {}, double timeout = 20) {
    const auto reward = exec_reward(python("for line in sys.stdin:\n" + body), {.timeout = timeout, .sandbox = limits});
    return reward(samples({"a"}))[0];
  }
};

TEST_F(Sandbox, RunsWhatNeedsNothing) {
  EXPECT_EQ(inside("  print(len(json.loads(line)['completion']))\n"), 1) << warnings;
}

TEST_F(Sandbox, HasNoNetwork) {
  EXPECT_EQ(inside("  import socket\n"
                   "  names = [n for _, n in socket.if_nameindex() if n != 'lo']\n"
                   "  try:\n"
                   "    socket.create_connection(('192.0.2.1', 80), 1)\n"
                   "    print(1)\n"
                   "  except OSError:\n"
                   "    print(10 + len(names))\n"),
            10)
      << warnings;
}

TEST_F(Sandbox, CannotWriteToTheMachine) {
  const std::string target = dir / "stolen";
  EXPECT_EQ(
      inside("  try:\n    open('" + target + "', 'w').write('x')\n    print(1)\n  except OSError:\n    print(0)\n"), 0)
      << warnings;
  EXPECT_FALSE(std::filesystem::exists(target));
}

TEST_F(Sandbox, BoundsMemory) {
  EXPECT_EQ(inside("  try:\n    x = bytearray(1 << 30)\n    print(1)\n  except MemoryError:\n    print(0)\n",
                   {.memory_mb = 256}),
            0)
      << warnings;
}

TEST_F(Sandbox, BoundsProcesses) {
  const float started = inside(
      "  n = 0\n"
      "  try:\n"
      "    while n < 1000:\n"
      "      if os.fork() == 0:\n"
      "        import time; time.sleep(60)\n"
      "      n += 1\n"
      "  except OSError:\n"
      "    pass\n"
      "  print(n)\n",
      {.processes = 20});
  EXPECT_GT(started, 0) << warnings;
  EXPECT_LT(started, 20) << "a fork bomb fizzles";
}

TEST_F(Sandbox, EndsAnEndlessLoop) {
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(std::isnan(inside("  while True: pass\n", {.cpu_seconds = 1}, 30)));
  EXPECT_LT(seconds_since(begun), 15) << "the processor limit ends it, not the timeout";
}

TEST_F(Sandbox, BoundsFilesAndTheTemporaryFolder) {
  EXPECT_LE(inside("  n = 0\n"
                   "  import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
                   "  try:\n"
                   "    for i in range(100):\n"
                   "      with open('/tmp/f%d' % i, 'wb') as f: n += f.write(b'x' * 1000000)\n"
                   "  except OSError:\n"
                   "    pass\n"
                   "  print(n)\n",
                   {.file_mb = 8}),
            8 << 20)
      << warnings;
  EXPECT_EQ(inside("  try:\n    open('/dev/shm/f', 'wb').write(b'x' * (20 << 20))\n    print(1)\n  except OSError:\n   "
                   " print(0)\n",
                   {.file_mb = 8}),
            0)
      << warnings;
}

// Processes whose command line holds `text`.
int count_processes(const std::string& text) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline");
    const std::string line{std::istreambuf_iterator<char>(file), {}};
    count += line.find(text) != std::string::npos;
  }
  return count;
}

TEST_F(Sandbox, DoesNotOutliveItsOwner) {
  {
    const auto reward = exec_reward(
        python("for line in sys.stdin:\n  if os.fork() == 0:\n    import time; time.sleep(1000)\n  print(1)\n"),
        {.sandbox = SandboxLimits{}});
    EXPECT_EQ(reward(samples({"a"}))[0], 1) << warnings;
    EXPECT_GE(count_processes(dir.path()), 2);
  }
  int left = count_processes(dir.path());
  for (int i = 0; i < 50 && left > 0; ++i) {  // the kernel takes a moment over a process namespace
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    left = count_processes(dir.path());
  }
  EXPECT_EQ(left, 0);
}

TEST(SandboxLimits, MustBePositive) {
  EXPECT_NE(error_of([] { sandboxed("true", {.memory_mb = 0}); }).find("sandbox_memory_mb"), std::string::npos);
}

TEST(Processes, RunToTheEndOrTheTimeout) {
  const ProcessResult good = run_process({"/bin/sh", "-c", "echo out; echo err >&2; exit 3"}, 10);
  EXPECT_EQ(good.exit_code, 3);
  EXPECT_EQ(good.output, "out\n");
  EXPECT_EQ(good.errors, "err\n");
  EXPECT_TRUE(run_process({"sleep", "100"}, 0.2).timed_out);
  EXPECT_NE(error_of([] { run_process({"/no/such/program"}, 1); }).find("/no/such/program"), std::string::npos);
}

}  // namespace
}  // namespace tenon::rl
