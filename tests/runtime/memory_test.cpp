#include "../../runtime/memory.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>

#include "../../runtime/random.h"
#include "../../runtime/tensor.h"
#include "../../runtime/workspace.h"
#include "../expect_error.h"

namespace tenon {
namespace {

const Device kCpu = Device::cpu();

size_t used_by(const std::string& name) {
  for (const MemoryUse& use : memory_use(kCpu))
    if (use.name == name) return use.current;
  return 0;
}

size_t peak_of(const std::string& name) {
  for (const MemoryUse& use : memory_use(kCpu))
    if (use.name == name) return use.peak;
  return 0;
}

TEST(Memory, BooksUnderNamesWithPeaks) {
  reset_peak(kCpu);
  const size_t before = memory_current(kCpu);
  {
    MemoryTag outer("parameters");
    const Tensor a = Tensor::empty({1 << 20}, DType::f32);
    {
      MemoryTag inner("gradients");
      const Tensor b = Tensor::empty({1 << 19}, DType::f32);
      EXPECT_EQ(used_by("gradients"), size_t{1} << 21);
    }
    EXPECT_EQ(used_by("parameters"), size_t{1} << 22);
    EXPECT_EQ(used_by("gradients"), 0u);
    EXPECT_EQ(peak_of("gradients"), size_t{1} << 21);
    const Tensor c = Tensor::empty({1}, DType::f32);
    EXPECT_EQ(used_by("parameters"), (size_t{1} << 22) + 64);
  }
  EXPECT_EQ(memory_current(kCpu), before);
  EXPECT_GE(memory_peak(kCpu), before + (size_t{3} << 21));
  reset_peak(kCpu);
  EXPECT_EQ(memory_peak(kCpu), before);
  EXPECT_EQ(peak_of("gradients"), 0u);
}

TEST(Memory, IsAlignedAndReused) {
  for (int64_t n : {0, 1, 15, 16, 17, 1000, 100'000, 3'000'000}) {
    const Tensor t = Tensor::empty({n}, DType::u8);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.raw()) % 64, 0u) << n;
  }
  empty_cache(kCpu);
  EXPECT_EQ(memory_cached(kCpu), 0u);
#ifndef TENON_SANITIZED
  const void* first = Tensor::empty({12'345}, DType::f32).raw();
  EXPECT_GT(memory_cached(kCpu), 12'345u * 4);
  const Tensor again = Tensor::empty({12'345}, DType::f32);
  EXPECT_EQ(again.raw(), first);
  EXPECT_EQ(memory_cached(kCpu), 0u);
#endif
}

TEST(Memory, TheLimitsErrorSaysWhoHoldsWhat) {
  const size_t limit = memory_limit(kCpu);
  EXPECT_GT(limit, 0u);
  MemoryTag tag("parameters");
  const Tensor held = Tensor::empty({4 << 20}, DType::u8);
  set_memory_limit(kCpu, memory_current(kCpu) + (1 << 20));
  EXPECT_NO_THROW(Tensor::empty({1 << 20}, DType::u8));
  {
    MemoryTag activations("activations");
    EXPECT_ERROR(Tensor::empty({2 << 20}, DType::u8), "out of memory on cpu", "2.0 MiB", "for activations",
                 "parameters 4.0 MiB", "gradient_checkpointing");
  }
  {
    MemoryTag cache("kv cache");
    EXPECT_ERROR(Tensor::empty({2 << 20}, DType::u8), "max_completion_length");
  }
  set_memory_limit(kCpu, 0);
  EXPECT_NO_THROW(Tensor::empty({2 << 20}, DType::u8));
  EXPECT_ERROR(Tensor::empty({int64_t{1} << 55}, DType::u8), "out of memory", "32.0 PiB");  // the system refuses it
  set_memory_limit(kCpu, limit);
  EXPECT_ERROR(Tensor::empty({int64_t{1} << 50}, DType::u8), "of at most");
}

TEST(Memory, KeptBlocksGiveWayToTheLimit) {
  empty_cache(kCpu);
  const size_t limit = memory_limit(kCpu), base = memory_current(kCpu);
  Tensor::empty({3 << 20}, DType::u8);  // kept after release
  set_memory_limit(kCpu, base + (4 << 20));
  EXPECT_NO_THROW(Tensor::empty({4 << 20}, DType::u8));
  set_memory_limit(kCpu, limit);
}

// Steps of many different lengths: blocks kept of one serve the next, so that the process holds no more than its peak.
TEST(Memory, ChangingShapesDoNotPileUp) {
  empty_cache(kCpu);
  reset_peak(kCpu);
  size_t largest = 0, held = 0;
  for (int64_t step = 0; step < 60; ++step) {
    const int64_t tokens = 300 + step * 173 % 400;
    std::vector<Tensor> step_tensors;
    size_t asked = 0;
    for (int64_t width : {256, 640, 1152, 3000}) {
      step_tensors.push_back(Tensor::empty({tokens, width}, DType::f32));
      asked += step_tensors.back().nbytes();
    }
    largest = std::max(largest, asked);
    held = std::max(held, memory_current(kCpu) + memory_cached(kCpu));
  }
  EXPECT_LE(held, memory_peak(kCpu));
  EXPECT_LE(memory_peak(kCpu), 2 * largest);  // a block is at most twice what was asked for
  empty_cache(kCpu);
}

TEST(Memory, ThreadsAllocateAtOnce) {
  const size_t before = memory_current(kCpu);
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([t] {
      Rng rng(t);
      std::vector<Tensor> held;
      for (int i = 0; i < 500; ++i) {
        held.push_back(Tensor::full({static_cast<int64_t>(1 + rng.below(5000))}, static_cast<float>(t), DType::i32));
        if (held.size() > 20) {
          const size_t at = rng.below(held.size());
          for (int32_t x : held[at].to_vector<int32_t>()) ASSERT_EQ(x, static_cast<int32_t>(t));
          std::swap(held[at], held.back());
          held.pop_back();
        }
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(memory_current(kCpu), before);
}

TEST(Memory, BytesAreReadable) {
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
  EXPECT_EQ(format_bytes(size_t{3} << 30), "3.0 GiB");
}

TEST(Workspace, GivesLastInFirstOut) {
  Workspace workspace;
  auto a = workspace.get<float>(10);
  const float* second = nullptr;
  {
    auto b = workspace.get<float>(100);
    second = b.data();
    EXPECT_GE(reinterpret_cast<uintptr_t>(second), reinterpret_cast<uintptr_t>(a.data() + 10));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(second) % 64, 0u);
  }
  auto c = workspace.zeros<int32_t>(100);
  EXPECT_EQ(static_cast<const void*>(c.data()), second) << "the space of b is used again";
  for (int32_t x : c) EXPECT_EQ(x, 0);
  EXPECT_EQ(c.size(), 100);
}

TEST(Workspace, GrowsWithoutMovingWhatIsInUse) {
  Workspace workspace;
  {
    auto a = workspace.get<uint8_t>(600'000);
    std::fill(a.begin(), a.end(), uint8_t{7});
    {
      auto b = workspace.get<uint8_t>(5'000'000);
      std::fill(b.begin(), b.end(), uint8_t{9});
      auto c = workspace.zeros<uint8_t>(700'000);
    }
    for (uint8_t x : a) ASSERT_EQ(x, 7);
  }
  const auto whole = workspace.get<uint8_t>(5'600'000);
  EXPECT_GE(workspace.capacity(), 5'600'000u);
  const size_t capacity = workspace.capacity();
  { auto more = workspace.get<uint8_t>(100'000); }
  EXPECT_EQ(workspace.capacity(), capacity);
  EXPECT_EQ(Workspace().get<float>(0).size(), 0);
  EXPECT_ERROR(workspace.get<float>(-1), "out of memory");
}

TEST(Workspace, IsOnePerThread) {
  Workspace *here = &Workspace::host(), *there = nullptr;
  std::thread([&] { there = &Workspace::host(); }).join();
  EXPECT_NE(here, there);
  EXPECT_EQ(here, &Workspace::host());
}

}  // namespace
}  // namespace tenon
