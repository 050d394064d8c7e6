#include "../../runtime/threads.h"

#include <gtest/gtest.h>
#include <omp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <vector>

#include "../../runtime/cpu.h"
#include "../expect_error.h"

namespace tenon {
namespace {

class Threads : public ::testing::Test {
 protected:
  void SetUp() override { set_num_threads(4); }
  void TearDown() override { set_num_threads(before_); }
  int before_ = num_threads();
};

TEST_F(Threads, RangesCoverEverythingOnce) {
  for (int64_t n : {0, 1, 3, 4, 5, 1000, 1003}) {
    for (int64_t grain : {1, 7, 2000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
      std::atomic<int> ranges{0};
      parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        ++ranges;
        EXPECT_LT(begin, end);
        for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
      });
      for (const auto& count : seen) ASSERT_EQ(count, 1);
      EXPECT_LE(ranges, n <= grain ? 1 : 4);
    }
  }
}

TEST_F(Threads, NestedRegionsAreSequential) {
  std::atomic<int> inner_threads{0};
  parallel_for(4, 1, [&](int64_t, int64_t) {
    const int self = omp_get_thread_num();
    parallel_for(100, 1, [&](int64_t begin, int64_t end) {
      EXPECT_EQ(omp_get_thread_num(), self);
      EXPECT_EQ(end - begin, 100);
      ++inner_threads;
    });
  });
  EXPECT_EQ(inner_threads, 4);
}

TEST_F(Threads, ExceptionsReachTheCaller) {
  const auto work = [](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      if (i == 10 || i == 90) throw Error("row " + std::to_string(i));
  };
  for (int i = 0; i < 20; ++i) EXPECT_ERROR(parallel_for(100, 1, work), "row 10");
  EXPECT_ERROR(parallel_each(100,
                             [](int64_t i) {
                               if (i == 50) throw Error("item 50");
                             }),
               "item 50");
  EXPECT_ERROR(parallel_blocks(RowBlocks(100, 1), [](int64_t, int64_t, int64_t) { throw Error("block"); }), "block");
  int64_t sum = 0;  // the pool is in order afterwards
  std::vector<int64_t> parts(4);
  parallel_each(4, [&](int64_t i) { parts[static_cast<size_t>(i)] = i; });
  sum = std::accumulate(parts.begin(), parts.end(), int64_t{0});
  EXPECT_EQ(sum, 6);
}

TEST_F(Threads, BlocksDependOnRowsAlone) {
  for (int64_t rows : {0, 1, 63, 64, 65, 4095, 4096, 100'000}) {
    const RowBlocks blocks(rows, 64);
    EXPECT_LE(blocks.count(), 64);
    int64_t at = 0;
    for (int64_t b = 0; b < blocks.count(); ++b) {
      EXPECT_EQ(blocks.begin(b), at);
      EXPECT_GT(blocks.end(b), at);
      at = blocks.end(b);
    }
    EXPECT_EQ(at, rows);

    std::vector<int64_t> ends(static_cast<size_t>(blocks.count()));
    parallel_blocks(blocks, [&](int64_t b, int64_t, int64_t end) { ends[static_cast<size_t>(b)] = end; });
    for (int64_t b = 0; b < blocks.count(); ++b) EXPECT_EQ(ends[static_cast<size_t>(b)], blocks.end(b));
  }
}

TEST_F(Threads, TheHostsSettingIsRestored) {
  omp_set_num_threads(3);
  {
    ThreadCountScope scope;
    EXPECT_EQ(omp_get_max_threads(), 4);
  }
  EXPECT_EQ(omp_get_max_threads(), 3);
  omp_set_num_threads(before_);
  EXPECT_ERROR(set_num_threads(0), "0 threads");
}

TEST_F(Threads, AForkedChildIsRefusedInsteadOfHanging) {
  parallel_for(100, 1, [](int64_t, int64_t) {});  // the pool stands
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    int code = 1;
    try {
      parallel_for(100, 1, [](int64_t, int64_t) {});
    } catch (const Error& e) {
      code = std::string(e.what()).find("forked") != std::string::npos ? 0 : 2;
    }
    _exit(code);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  EXPECT_NO_THROW(check_forked());
}

TEST(Cpu, IsaIsWhatTheCompilersCheckSays) {
  const Isa isa = cpu_isa();
  EXPECT_FALSE(name(isa).empty());
  EXPECT_EQ(has_native_bf16(), isa >= Isa::avx512_bf16);
#if defined(__x86_64__)
  EXPECT_TRUE(isa < Isa::avx2 || (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")));
  EXPECT_TRUE(isa < Isa::avx512 || (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")));
#endif
  const char* cap = std::getenv("TENON_MAX_ISA");
  EXPECT_TRUE(!cap || std::string(cap) != "generic" || isa == Isa::generic);
}

// The answer is kept for the process, so that the cap is tried in processes of its own.
TEST(Cpu, IsCappedByTheEnvironment) {
  const auto with = [](const char* value) {
    const std::string self = std::filesystem::read_symlink("/proc/self/exe");
    const std::string command =
        std::string("TENON_MAX_ISA=") + value + " '" + self + "' --gtest_filter=Cpu.IsaIsWhat* > /dev/null 2>&1";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  EXPECT_EQ(with("generic"), 0);
  EXPECT_EQ(with("avx1024"), 1);
}

}  // namespace
}  // namespace tenon
