// Random numbers by counter: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
//
// A draw is a function of (seed, stream, element) alone, so that it is the same on every device and for any number of
// threads.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace tenon {

/// One block of four words.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

struct RandomKey {
  uint64_t seed = 0;
  uint64_t stream = 0;
  friend bool operator==(const RandomKey&, const RandomKey&) = default;
};

/// A key for a part of what `key` is for: draws of different `part`s are independent.
RandomKey derive(RandomKey key, uint64_t part);

uint32_t random_u32(RandomKey, uint64_t element);
/// [0, 1) in steps of 2^-24.
float random_uniform(RandomKey, uint64_t element);
/// [0, 1) in steps of 2^-53.
double random_uniform_double(RandomKey, uint64_t element);
/// Mean 0, variance 1 (Box-Muller).
float random_normal(RandomKey, uint64_t element);

/// Elements first, first + 1, ... at once, in parallel: the same values as one by one.
void fill_uniform(RandomKey, uint64_t first, std::span<float> out);
void fill_normal(RandomKey, uint64_t first, std::span<float> out);

/// A sequence of draws whose state is three integers, which go into a checkpoint.
class Rng {
 public:
  explicit Rng(uint64_t seed = 0, uint64_t stream = 0) : key_{seed, stream} {}

  uint32_t next_u32() { return random_u32(key_, position_++); }
  uint64_t next_u64();
  /// Uniform in [0, n), without bias; n > 0.
  uint64_t below(uint64_t n);
  float uniform() { return random_uniform(key_, position_++); }
  float normal() { return random_normal(key_, position_++); }

  template <class T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

  uint64_t seed() const { return key_.seed; }
  uint64_t stream() const { return key_.stream; }
  uint64_t position() const { return position_; }
  void set_state(uint64_t seed, uint64_t stream, uint64_t position) {
    key_ = {seed, stream};
    position_ = position;
  }

 private:
  RandomKey key_;
  uint64_t position_ = 0;
};

}  // namespace tenon
