// Ids of words seen before. A text repeats its words, and looking one up is ten times faster than merging it anew.
// Bounded in size, and in the steps of a look-up, so that chosen words cannot make it slow. Internal.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "token_model.h"

namespace tenon::text {

class WordCache final : public ModelScratch {
 public:
  static constexpr size_t kMaxWord = 64;  // bytes; longer ones rarely come again

  static uint64_t hash(std::string_view word) {
    uint64_t h = word.size() * 0x9E3779B97F4A7C15u;
    const char* p = word.data();
    size_t n = word.size();
    for (; n >= 8; p += 8, n -= 8) h = mix(h ^ load(p, 8));
    if (n > 0) h = mix(h ^ load(p, n));
    return h ^ h >> 29;
  }

  /// Ids of `word`, or an empty span.
  std::span<const int32_t> find(std::string_view word, uint64_t h) const {
    for (size_t probe = 0; probe < kProbes; ++probe) {
      const Slot& slot = slots_[(h + probe) & (kSlots - 1)];
      if (slot.count == 0) return {};
      if (slot.hash == h && slot.length == word.size() &&
          std::memcmp(&bytes_[slot.word], word.data(), word.size()) == 0)
        return {&ids_[slot.first], slot.count};
    }
    return {};
  }

  void insert(std::string_view word, uint64_t h, std::span<const int32_t> ids) {
    if (ids.empty()) return;
    if (used_ > kSlots / 2) clear();
    for (size_t probe = 0; probe < kProbes; ++probe) {
      Slot& slot = slots_[(h + probe) & (kSlots - 1)];
      if (slot.count != 0) continue;
      slot = {h, static_cast<uint32_t>(bytes_.size()), static_cast<uint32_t>(ids_.size()),
              static_cast<uint16_t>(word.size()), static_cast<uint16_t>(ids.size())};
      bytes_.insert(bytes_.end(), word.begin(), word.end());
      ids_.insert(ids_.end(), ids.begin(), ids.end());
      ++used_;
      return;
    }
  }

 private:
  static constexpr size_t kSlots = size_t{1} << 16, kProbes = 8;
  struct Slot {
    uint64_t hash = 0;
    uint32_t word = 0, first = 0;
    uint16_t length = 0, count = 0;  // count 0: free
  };

  static uint64_t load(const char* p, size_t n) {
    uint64_t v = 0;
    std::memcpy(&v, p, n);
    return v;
  }
  static uint64_t mix(uint64_t x) {
    x *= 0xD6E8FEB86659FD93u;
    return x ^ x >> 32;
  }
  void clear() {
    slots_.assign(kSlots, Slot{});
    bytes_.clear();
    ids_.clear();
    used_ = 0;
  }

  std::vector<Slot> slots_ = std::vector<Slot>(kSlots);
  std::vector<char> bytes_;
  std::vector<int32_t> ids_;
  size_t used_ = 0;
};

}  // namespace tenon::text
