#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "check.h"
#include "cuda.h"
#include "workspace.h"

namespace tenon {
namespace {

#ifdef TENON_SANITIZED
constexpr bool kKeepBlocks = false;  // so that the address sanitizer sees uses after release
#else
constexpr bool kKeepBlocks = true;
#endif

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;

// Eight classes between powers of two: at most an eighth is lost to rounding.
size_t size_class(size_t bytes) {
  if (bytes <= kAlignment) return kAlignment;
  const size_t step = std::max(kAlignment, std::bit_floor(bytes - 1) / 8);
  return (bytes + step - 1) / step * step;
}

// The machine's memory, or what its container may use of it.
size_t host_memory() {
  size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGE_SIZE));
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    size_t limit = 0;
    if (file >> limit && limit > 0) bytes = std::min(bytes, limit);
  }
  return bytes;
}

void* system_allocate(Device device, size_t bytes) {
  if (!device.is_cpu()) return cuda::allocate(device, bytes);
  const bool large = bytes >= 2 * kHugePage;
  void* data = std::aligned_alloc(large ? kHugePage : kAlignment,
                                  large ? (bytes + kHugePage - 1) / kHugePage * kHugePage : bytes);
  if (data && large) madvise(data, bytes, MADV_HUGEPAGE);  // a hint: activations of gigabytes cost fewer page faults
  return data;
}

void system_release(Device device, void* data, cuda::Stream stream) noexcept {
  if (device.is_cpu())
    std::free(data);
  else
    cuda::release(device, data, stream);
}

// nullptr on the host, which has no streams.
cuda::Stream stream_of(Device device) { return device.is_cpu() ? nullptr : cuda::current_stream(device); }

// Names that allocations are booked under. Number 0 is "other".
class Tags {
 public:
  int find(const char* name) {
    std::lock_guard lock(mutex_);
    for (size_t i = 0; i < names_.size(); ++i)
      if (names_[i] == name) return static_cast<int>(i);
    names_.emplace_back(name);
    return static_cast<int>(names_.size() - 1);
  }
  std::string name(int tag) {
    std::lock_guard lock(mutex_);
    return names_[static_cast<size_t>(tag)];
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> names_{"other"};
};

// Never destroyed: tensors with static storage may be released after it would be.
Tags& tags() {
  static Tags* instance = new Tags;
  return *instance;
}

thread_local int current_tag = 0;

const char* advice(const std::string& name) {
  if (name == "activations" || name == "workspace" || name == "other")
    return "a smaller per_device_train_batch_size, shorter sequences or gradient_checkpointing = true need less";
  if (name == "kv cache") return "a smaller cache or max_batch, or a shorter max_completion_length needs less";
  if (name == "parameters") return "a smaller model or dtype = \"bf16\" needs less";
  return "a smaller model, or training fewer of its parameters, needs less";
}

class Pool {
 public:
  explicit Pool(Device device)
      : device_(device), limit_(device.is_cpu() ? host_memory() : cuda::total_memory(device)) {}

  // A kept block up to an eighth larger will do; up to twice as large where a new one would raise what the process
  // holds above its peak, as when every step has another number of tokens. `exactly`: neither.
  detail::Block allocate(size_t bytes, bool exactly = false) {
    const int tag = current_tag;
    if (bytes > size_t{1} << 62) throw_out_of_memory(bytes, tag, false);
    const size_t wanted = size_class(bytes);
    std::lock_guard lock(mutex_);
    const bool grows = current_ + cached_ + wanted > peak_;
    const size_t most = exactly ? wanted : grows ? 2 * wanted : wanted + wanted / 8;
    if (auto it = kept_.lower_bound(wanted); it != kept_.end() && it->first <= most) {
      const KeptBlock kept = it->second.back();
      const detail::Block block{kept.data, it->first, tag};
      if (kept.stream != stream_of(device_)) cuda::wait_for(device_, device_, kept.stream);
      forget_kept(it);
      book(tag, block.bytes);
      return block;
    }
    if (grows) drop_kept(peak_ > current_ + wanted ? peak_ - current_ - wanted : 0);
    if (limit_ && current_ + cached_ + wanted > limit_) drop_kept(0);
    if (limit_ && current_ + wanted > limit_) throw_out_of_memory(bytes, tag, true);
    void* data = system_allocate(device_, wanted);
    if (!data) {
      drop_kept(0);
      data = system_allocate(device_, wanted);
    }
    if (!data && !device_.is_cpu()) {
      // What was given back is free in the order of a stream: once that has got there, the driver can put it together.
      cuda::synchronize(device_);
      cuda::trim(device_);
      data = system_allocate(device_, wanted);
    }
    if (!data) throw_out_of_memory(bytes, tag, false);
    book(tag, wanted);
    return {data, wanted, tag};
  }

  void release(const detail::Block& block) noexcept {
    std::lock_guard lock(mutex_);
    current_ -= block.bytes;
    uses_[static_cast<size_t>(block.tag)].current -= block.bytes;
    cuda::Stream stream = nullptr;
    try {
      stream = stream_of(device_);
      if (kKeepBlocks) {
        kept_[block.bytes].push_back({block.data, stream});
        cached_ += block.bytes;
        return;
      }
    } catch (const std::exception&) {  // no memory for the list, or a device that failed
      if (const auto it = kept_.find(block.bytes); it != kept_.end() && it->second.empty()) kept_.erase(it);
    }
    system_release(device_, block.data, stream);
  }

  std::vector<MemoryUse> uses() {
    std::lock_guard lock(mutex_);
    std::vector<MemoryUse> out;
    for (size_t i = 0; i < uses_.size(); ++i)
      if (uses_[i].peak) out.push_back({tags().name(static_cast<int>(i)), uses_[i].current, uses_[i].peak});
    return out;
  }

  size_t current() { return locked(current_); }
  size_t peak() { return locked(peak_); }
  size_t cached() { return locked(cached_); }
  size_t limit() { return locked(limit_); }

  void reset_peak() {
    std::lock_guard lock(mutex_);
    peak_ = current_;
    for (Use& use : uses_) use.peak = use.current;
  }
  void set_limit(size_t bytes) {
    std::lock_guard lock(mutex_);
    limit_ = bytes;
  }
  void empty_cache() {
    std::lock_guard lock(mutex_);
    drop_kept(0);
    if (!device_.is_cpu()) cuda::trim(device_);
  }
  void hand_over(cuda::Stream from, cuda::Stream to) noexcept {
    std::lock_guard lock(mutex_);
    for (auto& [bytes, blocks] : kept_)
      for (KeptBlock& block : blocks)
        if (block.stream == from) block.stream = to;
  }

 private:
  struct Use {
    size_t current = 0, peak = 0;
  };

  size_t locked(const size_t& value) {
    std::lock_guard lock(mutex_);
    return value;
  }

  void book(int tag, size_t bytes) {
    if (uses_.size() <= static_cast<size_t>(tag)) uses_.resize(static_cast<size_t>(tag) + 1);
    Use& use = uses_[static_cast<size_t>(tag)];
    use.current += bytes;
    use.peak = std::max(use.peak, use.current);
    current_ += bytes;
    peak_ = std::max(peak_, current_);
  }

  struct KeptBlock {
    void* data;
    cuda::Stream stream;  // on which it was released
  };
  using Kept = std::map<size_t, std::vector<KeptBlock>>;

  void forget_kept(Kept::iterator it) noexcept {
    cached_ -= it->first;
    it->second.pop_back();
    if (it->second.empty()) kept_.erase(it);
  }

  /// Gives kept blocks back to the system, the largest first, until at most `bytes` are kept.
  void drop_kept(size_t bytes) noexcept {
    while (cached_ > bytes) {
      const auto largest = std::prev(kept_.end());
      system_release(device_, largest->second.back().data, largest->second.back().stream);
      forget_kept(largest);
    }
  }

  [[noreturn]] void throw_out_of_memory(size_t bytes, int tag, bool by_limit) {
    std::vector<std::pair<size_t, std::string>> holders;
    for (size_t i = 0; i < uses_.size(); ++i)
      if (uses_[i].current) holders.emplace_back(uses_[i].current, tags().name(static_cast<int>(i)));
    std::sort(holders.rbegin(), holders.rend());
    std::string held;
    for (const auto& [size, name] : holders)
      held += fmt::format("{}{} {}", held.empty() ? ": " : ", ", name, format_bytes(size));
    const std::string asked_by = tags().name(tag);
    std::string bound;
    if (by_limit)
      bound = fmt::format(" of at most {}", format_bytes(limit_));
    else if (!device_.is_cpu())
      bound = fmt::format(" of {}, with {} free", format_bytes(limit_), format_bytes(cuda::free_memory(device_)));
    fail("out of memory on {}: {} were asked for {}, and {} are held{}{}; {}", device_, format_bytes(bytes), asked_by,
         format_bytes(current_), bound, held, advice(asked_by));
  }

  Device device_;
  std::mutex mutex_;
  Kept kept_;
  std::vector<Use> uses_;
  size_t current_ = 0, peak_ = 0, cached_ = 0, limit_;
};

// Never destroyed, as the tags.
Pool& pool(Device device) {
  static std::mutex mutex;
  static Pool* host = new Pool(Device::cpu());
  static auto* others = new std::map<int, std::unique_ptr<Pool>>;
  if (device.is_cpu()) return *host;
  std::lock_guard lock(mutex);
  auto& slot = (*others)[device.index];
  if (!slot) slot = std::make_unique<Pool>(device);
  return *slot;
}

}  // namespace

namespace detail {

// Its blocks are booked as in use until it ends. Sizes are matched exactly, so that the same requests in the same order
// find all that an earlier run of them took.
class Arena {
 public:
  explicit Arena(Device device) : device_(device), workspace_(device) {}
  ~Arena() {
    for (const auto& [bytes, blocks] : kept_)
      for (const Block& block : blocks) pool(device_).release(block);
  }

  Device device() const { return device_; }
  Workspace& workspace() { return workspace_; }
  size_t bytes() {
    std::lock_guard lock(mutex_);
    return bytes_;
  }

  Block allocate(size_t bytes, std::shared_ptr<Arena> self) {
    Block block;
    {
      std::lock_guard lock(mutex_);
      if (const auto found = kept_.find(size_class(bytes)); found != kept_.end() && !found->second.empty()) {
        block = found->second.back();
        found->second.pop_back();
      }
    }
    if (!block.data) {
      block = pool(device_).allocate(bytes, /*exactly=*/true);
      std::lock_guard lock(mutex_);
      bytes_ += block.bytes;
    }
    block.arena = std::move(self);
    return block;
  }

  void release(Block block) noexcept {
    block.arena.reset();
    std::lock_guard lock(mutex_);
    kept_[block.bytes].push_back(std::move(block));
  }

 private:
  Device device_;
  Workspace workspace_;
  std::mutex mutex_;
  std::map<size_t, std::vector<Block>> kept_;
  size_t bytes_ = 0;
};

}  // namespace detail

namespace {

thread_local std::shared_ptr<detail::Arena> current_arena;

}  // namespace

MemoryArena::MemoryArena(Device device) : arena_(std::make_shared<detail::Arena>(device)) {}
MemoryArena::~MemoryArena() { arena_->workspace().clear(); }  // its blocks hold the arena
Workspace& MemoryArena::workspace() { return arena_->workspace(); }
size_t MemoryArena::bytes() const { return arena_->bytes(); }
MemoryArena::Scope::Scope(MemoryArena& arena) : outer_(std::exchange(current_arena, arena.arena_)) {}
MemoryArena::Scope::~Scope() { current_arena = std::move(outer_); }

MemoryTag::MemoryTag(const char* name) : previous_(std::exchange(current_tag, tags().find(name))) {}
MemoryTag::~MemoryTag() { current_tag = previous_; }

std::vector<MemoryUse> memory_use(Device device) { return pool(device).uses(); }
size_t memory_current(Device device) { return pool(device).current(); }
size_t memory_peak(Device device) { return pool(device).peak(); }
size_t memory_cached(Device device) { return pool(device).cached(); }
void reset_peak(Device device) { pool(device).reset_peak(); }
void set_memory_limit(Device device, size_t bytes) { pool(device).set_limit(bytes); }
size_t memory_limit(Device device) { return pool(device).limit(); }
void empty_cache(Device device) { pool(device).empty_cache(); }

std::string format_bytes(size_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  const char* units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  int unit = 0;
  for (; value >= 1024 && unit < 5; ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, units[unit]);
}

namespace detail {
Block allocate(Device device, size_t bytes) {
  if (current_arena && current_arena->device() == device) return current_arena->allocate(bytes, current_arena);
  return pool(device).allocate(bytes);
}
void release(Device device, const Block& block) noexcept {
  if (block.arena)
    block.arena->release(block);
  else
    pool(device).release(block);
}
Workspace* arena_workspace(Device device) {
  return current_arena && current_arena->device() == device ? &current_arena->workspace() : nullptr;
}
void hand_over(Device device, CUstream_st* from, CUstream_st* to) noexcept { pool(device).hand_over(from, to); }
}  // namespace detail

}  // namespace tenon
