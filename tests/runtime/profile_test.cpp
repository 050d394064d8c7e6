#include "../../runtime/profile.h"

#include <gtest/gtest.h>

#include <map>
#include <thread>

namespace tenon::profile {
namespace {

using std::chrono::milliseconds;

std::map<std::string, OpTotal> by_name() {
  std::map<std::string, OpTotal> out;
  for (const OpTotal& op : totals()) out.emplace(op.op, op);
  return out;
}

Cost bytes(double n) { return {.bytes = n}; }

TEST(Profile, IsOffUntilItIsStarted) {
  bool asked = false;
  {
    OpTimer timer("off", Device::cpu(), [&] { return asked = true, Cost{}; });
  }
  EXPECT_FALSE(asked);
  start();
  {
    OpTimer timer("on", Device::cpu(), [&] { return asked = true, bytes(8); });
  }
  stop();
  EXPECT_TRUE(asked);
  {
    OpTimer timer("off again", Device::cpu(), [] { return Cost{}; });
  }
  const auto ops = by_name();
  EXPECT_EQ(ops.size(), 1u);
  EXPECT_EQ(ops.at("on").calls, 1);
  EXPECT_EQ(ops.at("on").cost.bytes, 8);
  const double run = seconds();
  std::this_thread::sleep_for(milliseconds(2));
  EXPECT_EQ(seconds(), run);

  start();
  EXPECT_TRUE(totals().empty()) << "from zero";
  stop();
}

TEST(Profile, AnOpHasTheTimeOfItsOwn) {
  start();
  {
    OpTimer outer("outer", Device::cpu(), [] { return Cost{}; });
    std::this_thread::sleep_for(milliseconds(5));
    for (int i = 0; i < 3; ++i) {
      OpTimer inner("inner", Device::cpu(), [] { return bytes(100); });
      std::this_thread::sleep_for(milliseconds(20));
      OpTimer innermost("innermost", Device::cpu(), [] { return Cost{}; });
    }
  }
  stop();
  const auto ops = by_name();
  EXPECT_EQ(ops.at("outer").calls, 1);
  EXPECT_EQ(ops.at("inner").calls, 3);
  EXPECT_EQ(ops.at("innermost").calls, 3);
  EXPECT_EQ(ops.at("inner").cost.bytes, 300);
  EXPECT_GE(ops.at("inner").seconds, 0.060);
  EXPECT_GE(ops.at("outer").seconds, 0.005);
  double sum = 0;
  for (const auto& [name, op] : ops) sum += op.seconds;
  EXPECT_LE(sum, seconds()) << "nothing counts twice";
  EXPECT_EQ(totals().front().op, "inner") << "longest first";
}

TEST(Profile, CountsTheOpsOfAllThreads) {
  start();
  {
    OpTimer outer("here", Device::cpu(), [] { return Cost{}; });
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([] {
        for (int i = 0; i < 100; ++i) OpTimer timer("there", Device::cpu(), [] { return bytes(1); });
      });
    for (std::thread& t : threads) t.join();
  }
  stop();
  EXPECT_EQ(by_name().at("there").calls, 400);
  EXPECT_EQ(by_name().at("there").cost.bytes, 400);
  EXPECT_EQ(by_name().at("here").calls, 1);
}

TEST(Profile, WhatThrowsIsMeasuredToo) {
  start();
  try {
    OpTimer timer("throws", Device::cpu(), [] { return Cost{}; });
    throw 1;
  } catch (int) {
  }
  {
    OpTimer timer("next", Device::cpu(), [] { return Cost{}; });
  }
  stop();
  EXPECT_EQ(by_name().at("throws").calls, 1);
  EXPECT_EQ(by_name().at("next").calls, 1);
}

}  // namespace
}  // namespace tenon::profile
