// Which two tokens merge into which, and how early: a hash table read in the inner loop of BPE. Internal.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

namespace tenon::text {

struct Merge {
  uint32_t rank = UINT32_MAX;  // UINT32_MAX: the two do not merge
  int32_t id = -1;
};

class MergeTable {
 public:
  MergeTable() = default;
  explicit MergeTable(size_t merges)
      : slots_(std::bit_ceil(2 * merges + 2)), shift_(64 - std::countr_zero(slots_.size())) {}

  /// A pair given again takes the later rank. At most as many pairs as were announced.
  void insert(int32_t left, int32_t right, Merge merge) {
    Slot& slot = slots_[find_slot(key(left, right))];
    slot = {key(left, right), merge};
  }

  Merge find(int32_t left, int32_t right) const {
    const Slot& slot = slots_[find_slot(key(left, right))];
    return slot.merge;
  }

 private:
  struct Slot {
    uint64_t key = UINT64_MAX;  // no pair: ids are not negative
    Merge merge;
  };

  static uint64_t key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }

  size_t find_slot(uint64_t k) const {
    size_t i = (k * 0x9E3779B97F4A7C15u ^ (k >> 32) * 0xC2B2AE3D27D4EB4Fu) >> shift_;
    while (slots_[i].key != k && slots_[i].key != UINT64_MAX) i = (i + 1) & (slots_.size() - 1);
    return i;
  }

  std::vector<Slot> slots_ = std::vector<Slot>(2);
  int shift_ = 63;
};

}  // namespace tenon::text
