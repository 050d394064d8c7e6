// What the runtime does with a GPU: memory, copies, streams and errors. On the GPU of this machine, or on the emulated
// one.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <numeric>
#include <span>
#include <vector>

#include "../../ops/cast.h"
#include "../../ops/elementwise.h"
#include "../../ops/embedding.h"
#include "../../ops/rms_norm.h"
#include "../../ops/rope.h"
#include "../../runtime/cuda.h"
#include "../../runtime/memory.h"
#include "../../runtime/profile.h"
#include "../../runtime/tensor.h"
#include "../../runtime/workspace.h"
#include "../expect_error.h"

namespace tenon {
namespace {

class Cuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
  }
  const Device device = Device::cuda();
};

Tensor counting(const Shape& shape, DType dtype = DType::f32) {
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  std::iota(values.begin(), values.end(), 1.0f);
  Tensor out = Tensor::from(values, shape);
  if (dtype == DType::f32) return out;
  std::vector<bf16> narrow(values.size());
  for (size_t i = 0; i < values.size(); ++i) narrow[i] = from_float<bf16>(values[i]);
  return Tensor::from(narrow, shape);
}

TEST_F(Cuda, CopiesThereAndBack) {
  for (const int64_t n : {1, 33, 1000, 5'000'000}) {  // the last one in several pieces of the staging memory
    const Tensor x = counting({n});
    EXPECT_EQ(x.to(device).to(Device::cpu()).to_vector<float>(), x.to_vector<float>()) << n;
  }
}

TEST_F(Cuda, ViewsBecomeContiguousAsOnTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x = counting({3, 5, 33, 16}, dtype), there = x.to(device);
    const auto same = [&](const auto& view, const char* what) {
      const Tensor wanted = view(x).contiguous(), got = view(there).contiguous().to(Device::cpu());
      ASSERT_EQ(wanted.shape(), got.shape());
      EXPECT_EQ(std::memcmp(wanted.raw(), got.raw(), wanted.nbytes()), 0) << what;
    };
    same([](const Tensor& t) { return t.transpose(2, 3); }, "last two turned");
    same([](const Tensor& t) { return t.transpose(1, 2); }, "rows moved");
    same([](const Tensor& t) { return t.transpose(0, 3); }, "first and last turned");
    same([](const Tensor& t) { return t.slice(3, 1, 14); }, "an odd part of rows");
    same([](const Tensor& t) { return t.slice(3, 8, 16).slice(1, 1, 4); }, "an even part of rows");
    same([](const Tensor& t) { return t.select(2, 7); }, "one row of each");
  }
}

TEST_F(Cuda, FillsWithZerosAndValues) {
  for (const int64_t n : {1, 7, 31, 33, 4099}) {
    EXPECT_EQ(Tensor::zeros({n}, DType::f32, device).to_vector<float>(), std::vector<float>(n, 0.0f));
    EXPECT_EQ(Tensor::full({n}, 1.5f, DType::f32, device).to_vector<float>(), std::vector<float>(n, 1.5f));
    EXPECT_EQ(Tensor::full({n}, -3, DType::bf16, device).to_vector<bf16>(), std::vector<bf16>(n, from_float<bf16>(-3)));
    EXPECT_EQ(Tensor::full({n}, 200, DType::u8, device).to_vector<uint8_t>(), std::vector<uint8_t>(n, 200));
    EXPECT_EQ(Tensor::full({n}, 7, DType::i64, device).to_vector<int64_t>(), std::vector<int64_t>(n, 7));
  }
}

TEST_F(Cuda, MemoryIsBookedByNameAndGivenOutAgain) {
  empty_cache(device);
  const size_t before = memory_current(device);
  const void* first = nullptr;
  {
    MemoryTag tag("kv cache");
    const Tensor x = Tensor::empty({1000}, DType::f32, device);
    first = x.raw();
    EXPECT_GE(memory_current(device), before + 4000);
    bool booked = false;
    for (const MemoryUse& use : memory_use(device)) booked |= use.name == "kv cache" && use.current >= 4000;
    EXPECT_TRUE(booked);
  }
  EXPECT_EQ(memory_current(device), before);
  EXPECT_GT(memory_cached(device), 0u);
  EXPECT_EQ(Tensor::empty({1000}, DType::f32, device).raw(), first);
  empty_cache(device);
  EXPECT_EQ(memory_cached(device), 0u);
}

TEST_F(Cuda, OutOfMemorySaysWhatWasAskedForAndWhatIsHeld) {
  const Tensor held = Tensor::empty({1 << 20}, DType::f32, device);
  EXPECT_ERROR(Tensor::empty({int64_t{1} << 50}, DType::u8, device), "out of memory on cuda:0: 1.0 PiB");
  EXPECT_ERROR(Tensor::empty({int64_t{1} << 50}, DType::u8, device), "other 4.0 MiB");
}

TEST_F(Cuda, OnlyCopiesToTheHostWait) {
  const Tensor x = counting({8, 64}).to(device), weight = Tensor::full({64}, 1, DType::f32, device);
  const uint64_t before = cuda::synchronizations();
  Tensor y = x;
  for (int i = 0; i < 5; ++i) y = ops::rms_norm(counting({8, 64}).to(device), weight, 1e-6f).y;
  EXPECT_EQ(cuda::synchronizations(), before);
  y.to_vector<float>();
  EXPECT_EQ(cuda::synchronizations(), before + 1);
}

TEST_F(Cuda, ProfilesBetweenEventsWithoutWaiting) {
  const Tensor x = counting({8, 64}).to(device), weight = Tensor::full({64}, 1, DType::f32, device);
  profile::start();
  const uint64_t before = cuda::synchronizations();
  for (int i = 0; i < 4; ++i) ops::rms_norm(x, weight, 1e-6f);
  for (int i = 0; i < 5000; ++i)  // more than are kept unread
    const profile::OpTimer timer("nothing", device, [] { return profile::Cost{}; });
  EXPECT_EQ(cuda::synchronizations(), before);
  {
    const profile::OpTimer outer("outer", device, [] { return profile::Cost{}; });
    ops::rms_norm(x, weight, 1e-6f);
  }
  profile::stop();
  std::map<std::string, profile::OpTotal> ops;
  double seconds = 0;
  for (const profile::OpTotal& op : profile::totals()) {
    EXPECT_EQ(op.device, device);
    seconds += op.seconds;
    ops.emplace(op.op, op);
  }
  EXPECT_LE(seconds, profile::seconds()) << "nothing counts twice";
  EXPECT_EQ(ops.at("rms_norm").calls, 5);
  EXPECT_EQ(ops.at("rms_norm").cost.bytes, 5 * 4.0 * (2 * 8 * 64 + 64 + 8));
  EXPECT_GT(ops.at("rms_norm").seconds, 0);
  EXPECT_EQ(ops.at("nothing").calls, 5000);
  EXPECT_LT(ops.at("outer").seconds, ops.at("rms_norm").seconds);
}

TEST_F(Cuda, ScratchComesFromTheDevice) {
  auto scratch = Workspace::of(device).zeros<float>(100);
  const Tensor seen = Tensor::borrow(scratch.data(), {100}, DType::f32, device);
  EXPECT_EQ(seen.to_vector<float>(), std::vector<float>(100, 0.0f));
  auto more = Workspace::of(device).get<float>(3);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(more.data()) % 256, 0u);  // cuBLASLt's workspace comes from it
}

TEST_F(Cuda, WhatKernelsReportIsAnErrorAtTheNextWait) {
  const Tensor table = counting({10, 4}).to(device);
  const Tensor ids = Tensor::from({3, 12, 5}, {3}).to(device);
  const Tensor y = ops::embedding(table, ids);
  EXPECT_ERROR(y.to_vector<float>(), "embedding: index 12 at place 1 is outside [0, 10)");
  EXPECT_EQ(y.to_vector<float>()[0], 13);  // told once; the other rows are there

  const std::vector<double> frequencies = {1, 0.5};
  ops::RopeTable rotary = ops::rope_table(std::span<const double>(frequencies), 8);
  rotary = {rotary.cos.to(device), rotary.sin.to(device)};
  const Tensor positions = Tensor::from({0, -1}, {2}).to(device);
  const Tensor turned = ops::rope(counting({2, 1, 4}).to(device), rotary, positions);
  EXPECT_ERROR(cuda::synchronize(device), "rope: position -1 at place 1 is outside [0, 8)");
}

TEST_F(Cuda, ErrorsNameTheOpAndItsTensors) {
  const Tensor x = Tensor::zeros({2, 100'000}, DType::f32, device);
  const Tensor weight = Tensor::zeros({100'000}, DType::f32, device);
  const Tensor rstd = Tensor::zeros({2}, DType::f32, device);
  Tensor dweight = Tensor::zeros({100'000}, DType::f32, device);
  // 400,000 bytes of shared memory are more than any GPU has.
  EXPECT_ERROR(ops::rms_norm_backward(x, x, weight, rstd, &dweight),
               "in rms_norm_backward(f32 [2, 100000], f32 [2, 100000], f32 [100000], f32 [2], f32 [2, 100000], f32 "
               "[100000])");
}

TEST_F(Cuda, RecordedWorkRunsAgainOnTheSameMemory) {
  if (!cuda::records_graphs()) GTEST_SKIP() << "each op is waited for";
  Tensor x = counting({4, 64}).to(device);
  const Tensor weight = Tensor::full({64}, 1, DType::f32, device);
  MemoryArena arena(device);
  {
    cuda::Graph graph(device);
    Tensor y;
    const auto work = [&] {
      y = {};
      const Tensor twice = ops::add(x, x);
      y = ops::rms_norm(ops::add(twice, x), weight, 0).y;
    };
    graph.record(arena, work);
    const void* place = y.raw();
    const size_t held = arena.bytes(), others = memory_current(device);
    for (const float factor : {1.0f, -2.0f}) {
      ops::copy_into(x, ops::scale(counting({4, 64}).to(device), factor));
      graph.replay();
      EXPECT_EQ(y.to_vector<float>(), ops::rms_norm(ops::scale(x, 3), weight, 0).y.to_vector<float>()) << factor;
    }
    EXPECT_EQ(y.raw(), place);
    EXPECT_EQ(arena.bytes(), held);
    EXPECT_EQ(memory_current(device), others);
    // A second graph finds the memory of the first.
    const Tensor kept = y.clone();
    y = {};
    cuda::Graph again(device);
    again.record(arena, work);
    EXPECT_EQ(arena.bytes(), held);
    again.replay();
    EXPECT_EQ(y.to_vector<float>(), kept.to_vector<float>());
  }
}

TEST_F(Cuda, WhatCannotBeRecordedIsAnErrorAndLeavesTheStreamUsable) {
  if (!cuda::records_graphs()) GTEST_SKIP() << "each op is waited for";
  MemoryArena arena(device);
  cuda::Graph graph(device);
  EXPECT_ERROR(graph.replay(), "replayed before it was recorded");
  const Tensor x = counting({8}).to(device);
  EXPECT_ERROR(graph.record(arena, [&] { x.to_vector<float>(); }),
               "the device is waited for while a graph is recorded");
  EXPECT_ERROR(graph.record(arena, [&] { counting({8}).to(device); }), "memory of the host is copied while");
  std::vector<Tensor> grows;
  EXPECT_ERROR(graph.record(arena, [&] { grows.push_back(Tensor::empty({1000}, DType::f32, device)); }),
               "memory is asked for that an earlier run did not take while a graph is recorded");
  EXPECT_EQ(ops::add(x, x).to_vector<float>()[7], 16);
}

// A block's dynamic and static shared memory together pass 48 KiB, either alone does not.
TEST_F(Cuda, SharedMemoryJustBelowTheLimit) {
  const int64_t dim = 12288;
  const Tensor x = Tensor::full({2, dim}, 1, DType::f32, device), weight = Tensor::full({dim}, 1, DType::f32, device);
  Tensor dweight = Tensor::zeros({dim}, DType::f32, device);
  const auto y = ops::rms_norm(x, weight, 0);
  ops::rms_norm_backward(x, x, weight, y.rstd, &dweight);
  EXPECT_EQ(dweight.to_vector<float>(), std::vector<float>(dim, 2.0f));
}

TEST_F(Cuda, TensorsOfTwoDevicesDoNotMix) {
  EXPECT_ERROR(ops::rms_norm(counting({2, 4}), Tensor::zeros({4}, DType::f32, device), 1e-6f),
               "x is on cpu, weight on cuda:0");
}

}  // namespace
}  // namespace tenon
