// An exact check of data races in emulated kernels, whatever the schedule. The .cu files are compiled with
// -fsanitize=thread and linked without its library: the calls that the compiler inserts before each memory access
// arrive here. Two accesses to a byte of shared or device memory by different threads, one of them a write, must be
// separated by __syncthreads, by __syncwarp within a warp, or (between blocks) by atomics on a common address. Shared
// memory must have been written by the block before it is read.
#include <algorithm>
#include <set>
#include <unordered_map>

#include "machine.h"

namespace tenon::emulation {
namespace {

struct Stamp {
  uint64_t serial = 0;  // the block's
  const void* pc = nullptr;
  unsigned epoch = 0, warp_epoch = 0;
  uint16_t thread = 0;
  bool atomic = false;
  enum : uint8_t {
    kThread,
    kWarp,
    kBlock,
    kGrid
  } who = kThread;  // reads: by this thread alone, or several of its warp, block, grid
};
struct Cell {
  Stamp write, read;
};
struct Page {
  Cell cells[4096];
};
std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
uintptr_t last_page = 0;  // the one looked up last
Page* page = nullptr;
std::unordered_map<const void*, std::set<uint64_t>>
    released;  // atomic's address -> blocks whose earlier writes it publishes
std::unordered_map<uint64_t, std::set<uint64_t>> acquired;  // block -> blocks whose writes it may read

Cell& cell(uintptr_t p) {
  if (p >> 12 != last_page || !page) {
    auto& owner = pages[last_page = p >> 12];
    if (!owner) owner = std::make_unique<Page>();
    page = owner.get();
  }
  return page->cells[p & 4095];
}

bool ordered(const Stamp& s, const Thread& t, bool shared) {
  if (s.serial < machine.first_serial || (shared && s.serial != t.block->serial)) return true;
  if (s.who == Stamp::kGrid) return false;
  if (s.serial != t.block->serial) {
    auto it = acquired.find(t.block->serial);
    return it != acquired.end() && it->second.count(s.serial);
  }
  if (s.who == Stamp::kThread && s.thread == t.linear) return true;
  return s.epoch < t.block->epoch || (s.who != Stamp::kBlock && s.thread / 32 == t.warp && s.warp_epoch < t.warp_epoch);
}

void report(const char* what, const Thread& t, const void* pc, const Stamp* other, const char* other_what,
            bool shared) {
  if (machine.findings++) return;
  machine.finding = std::string(what) + (shared ? " shared" : " device") + " memory: block " + text(t.block->index) +
                    " thread " + std::to_string(t.linear) + " at " + source_line(pc);
  if (other) {
    uint64_t serial = other->serial;
    machine.finding += std::string(", ") + other_what + " thread " + std::to_string(other->thread) +
                       (serial == t.block->serial ? "" : " of another block") + " at " + source_line(other->pc);
  }
}

void check(const Thread& t, const void* p, size_t bytes, Access kind, const void* pc) {
  const Block& b = *t.block;
  auto address = reinterpret_cast<uintptr_t>(p);
  if (address - reinterpret_cast<uintptr_t>(t.stack) < kStackBytes) return;
  bool shared = address - reinterpret_cast<uintptr_t>(b.shared) < kSharedBytes;
  if (shared) {
    auto* byte = static_cast<const std::byte*>(p);
    if (std::none_of(b.arrays.begin(), b.arrays.end(),
                     [&](const SharedArray& a) { return byte >= a.data && byte + bytes <= a.data + a.bytes; }))
      return report("access outside of every array of", t, pc, nullptr, "", shared);
  } else if (!machine.is_device_range(p, bytes)) {
    return;
  }
  if (kind == Access::atomic && !shared) {
    auto &to = acquired[b.serial], &from = released[p];
    to.insert(from.begin(), from.end());
    from.insert(to.begin(), to.end());
    from.insert(b.serial);
  }
  Stamp now{b.serial,      pc, b.epoch, t.warp_epoch, static_cast<uint16_t>(t.linear), kind == Access::atomic,
            Stamp::kThread};
  for (size_t i = 0; i < bytes; ++i) {
    Cell& c = cell(address + i);
    if (shared && kind != Access::write && c.write.serial != b.serial)
      return report("read of uninitialised", t, pc, nullptr, "", shared);
    if (!ordered(c.write, t, shared) && !(c.write.atomic && kind == Access::atomic))
      return report(kind == Access::read ? "data race, read of" : "data race, write to", t, pc, &c.write,
                    "unordered with the write by", shared);
    if (kind != Access::read) {
      if (!ordered(c.read, t, shared))
        return report("data race, write to", t, pc, &c.read, "unordered with the read by", shared);
      c.write = now;
    } else if (ordered(c.read, t, shared)) {
      c.read = now;
    } else {
      auto who = c.read.serial != b.serial ? Stamp::kGrid : c.read.thread / 32 != t.warp ? Stamp::kBlock : Stamp::kWarp;
      now.who = std::max(who, c.read.who);
      c.read = now;
      now.who = Stamp::kThread;
    }
  }
}

void check_emulated(const Thread& t, const void* p, size_t bytes, Access kind) {
  check(t, p, bytes, kind, __builtin_return_address(0));
}
void forget() {
  pages.clear();
  page = nullptr;
  released.clear();
  acquired.clear();
}
[[maybe_unused]] const bool installed = (on_access = check_emulated, on_launch = forget, true);

void hook(const void* p, size_t bytes, Access kind, const void* pc) {
  if (machine.current) check(*machine.current, p, bytes, kind, pc);
}
}  // namespace
}  // namespace tenon::emulation

#define HOOK(name, bytes, kind)                                                                    \
  extern "C" void __tsan_##name(void* p) {                                                         \
    tenon::emulation::hook(p, bytes, tenon::emulation::Access::kind, __builtin_return_address(0)); \
  }
#define HOOKS(bytes) HOOK(read##bytes, bytes, read) HOOK(write##bytes, bytes, write)
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8) HOOKS(16) HOOK(unaligned_read2, 2, read) HOOK(unaligned_read4, 4, read) HOOK(unaligned_read8, 8, read)
    HOOK(unaligned_read16, 16, read) HOOK(unaligned_write2, 2, write) HOOK(unaligned_write4, 4, write)
        HOOK(unaligned_write8, 8, write) HOOK(unaligned_write16, 16, write) extern "C" {
  void __tsan_read_range(void* p, size_t n) {
    tenon::emulation::hook(p, n, tenon::emulation::Access::read, __builtin_return_address(0));
  }
  void __tsan_write_range(void* p, size_t n) {
    tenon::emulation::hook(p, n, tenon::emulation::Access::write, __builtin_return_address(0));
  }
  void __tsan_init() {}
  void __tsan_func_entry(void*) {}
  void __tsan_func_exit() {}
  void __tsan_vptr_update(void**, void*) {}
}
