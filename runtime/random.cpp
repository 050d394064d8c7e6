#include "random.h"

#include <cmath>
#include <numbers>

#include "check.h"
#include "threads.h"

namespace tenon {
namespace {

constexpr int64_t kGrain = 1 << 14;

std::array<uint32_t, 4> block_of(RandomKey key, uint64_t block) {
  return philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                     static_cast<uint32_t>(key.stream), static_cast<uint32_t>(key.stream >> 32)},
                    {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
}

float to_uniform(uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

// Two normals of two words. In double, so that a libm's last bit does not show in the float.
std::array<float, 2> normal_pair(uint32_t a, uint32_t b) {
  const double radius = std::sqrt(-2 * std::log((static_cast<double>(a) + 1) * 0x1p-32));  // (0, 1]: the log is finite
  const double angle = 2 * std::numbers::pi * (static_cast<double>(b) * 0x1p-32);
  return {static_cast<float>(radius * std::cos(angle)), static_cast<float>(radius * std::sin(angle))};
}

// Calls write(i, values) for every block of four elements; `first` need not begin one.
template <class F>
void for_blocks(RandomKey key, uint64_t first, std::span<float> out, F&& values_of) {
  const uint64_t end = first + out.size();
  const uint64_t first_block = first / 4, blocks = out.empty() ? 0 : (end + 3) / 4 - first_block;
  parallel_for(static_cast<int64_t>(blocks), kGrain, [&](int64_t b0, int64_t b1) {
    for (int64_t b = b0; b < b1; ++b) {
      const uint64_t block = first_block + static_cast<uint64_t>(b);
      const std::array<float, 4> values = values_of(block_of(key, block));
      for (uint64_t j = 0; j < 4; ++j) {
        const uint64_t element = 4 * block + j;
        if (element >= first && element < end) out[element - first] = values[j];
      }
    }
  });
}

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += 0x9E3779B9;  // the golden ratio
    k[1] += 0xBB67AE85;  // sqrt(3) - 1
  }
  return c;
}

RandomKey derive(RandomKey key, uint64_t part) {
  // The part and the stream are mixed through a block of a counter that no draw uses: its upper half is all ones.
  const auto a = philox4x32({static_cast<uint32_t>(part), static_cast<uint32_t>(part >> 32), ~0u, ~0u},
                            {static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)});
  const auto b = philox4x32({a[0], a[1], a[2], a[3]},
                            {static_cast<uint32_t>(key.stream), static_cast<uint32_t>(key.stream >> 32)});
  return {b[0] | uint64_t{b[1]} << 32, b[2] | uint64_t{b[3]} << 32};
}

uint32_t random_u32(RandomKey key, uint64_t element) { return block_of(key, element / 4)[element % 4]; }

float random_uniform(RandomKey key, uint64_t element) { return to_uniform(random_u32(key, element)); }

double random_uniform_double(RandomKey key, uint64_t element) {
  const auto words = block_of(key, element / 2);
  const size_t i = element % 2 * 2;
  return static_cast<double>((words[i] | uint64_t{words[i + 1]} << 32) >> 11) * 0x1p-53;
}

float random_normal(RandomKey key, uint64_t element) {
  const auto words = block_of(key, element / 4);
  const size_t i = element % 4 / 2 * 2;
  return normal_pair(words[i], words[i + 1])[element % 2];
}

void fill_uniform(RandomKey key, uint64_t first, std::span<float> out) {
  for_blocks(key, first, out, [](std::array<uint32_t, 4> w) {
    return std::array{to_uniform(w[0]), to_uniform(w[1]), to_uniform(w[2]), to_uniform(w[3])};
  });
}

void fill_normal(RandomKey key, uint64_t first, std::span<float> out) {
  for_blocks(key, first, out, [](std::array<uint32_t, 4> w) {
    const auto a = normal_pair(w[0], w[1]), b = normal_pair(w[2], w[3]);
    return std::array{a[0], a[1], b[0], b[1]};
  });
}

uint64_t Rng::next_u64() {
  const uint64_t low = next_u32();
  return low | uint64_t{next_u32()} << 32;
}

// Lemire 2019, "Fast random integer generation in an interval", with 64-bit words.
uint64_t Rng::below(uint64_t n) {
  check(n > 0, "Rng::below(0): there is no such number");
  const uint64_t threshold = (0 - n) % n;
  for (;;) {
    const auto product = static_cast<unsigned __int128>(next_u64()) * n;
    if (static_cast<uint64_t>(product) >= threshold) return static_cast<uint64_t>(product >> 64);
  }
}

}  // namespace tenon
