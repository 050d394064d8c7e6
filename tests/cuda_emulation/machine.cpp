#include "machine.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <bit>
#include <cstdio>
#include <cstring>
#include <string_view>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace tenon::emulation {
namespace {

void poison([[maybe_unused]] const void* p, [[maybe_unused]] size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  ASAN_POISON_MEMORY_REGION(p, bytes);
#endif
}
void unpoison([[maybe_unused]] const void* p, [[maybe_unused]] size_t bytes) {
#ifdef __SANITIZE_ADDRESS__
  ASAN_UNPOISON_MEMORY_REGION(p, bytes);
#endif
}

// Saves the callee-saved registers on the stack, stores the stack pointer in *save and continues on the other stack.
[[gnu::naked, gnu::noinline, gnu::no_sanitize("address")]] void switch_stack(void**, void*) {
#ifdef __x86_64__
  asm("push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
      "mov %rsp, (%rdi); mov %rsi, %rsp\n"
      "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret");
#else
#error "the emulation's context switch is written for x86-64"
#endif
}

std::byte* new_pages(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return static_cast<std::byte*>(memory);
}

std::vector<std::string> addr2line(const char* options, const void* address) {
  std::vector<std::string> lines;
  Dl_info info{};
  if (!address || !dladdr(address, &info)) return lines;
  char command[512];
  snprintf(command, sizeof command, "addr2line %s -e '%s' %#zx 2>/dev/null", options, info.dli_fname,
           static_cast<size_t>(static_cast<const char*>(address) - static_cast<char*>(info.dli_fbase)));
  if (FILE* pipe = popen(command, "r")) {
    char line[2048];
    while (fgets(line, sizeof line, pipe)) lines.emplace_back(line, strcspn(line, "\n"));
    pclose(pipe);
  }
  return lines;
}

}  // namespace

void (*on_access)(const Thread&, const void*, size_t, Access) = nullptr;
void (*on_launch)() = nullptr;
Machine machine;

std::string at(const Location& w) {
  const std::string_view file = w.file_name();
  return std::string(file.substr(file.find_last_of('/') + 1)) + ":" + std::to_string(w.line());
}

std::string text(uint3 v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

std::string function_name(const void* function) {
  const auto lines = addr2line("-f -C", function);
  return lines.empty() || lines[0] == "??" ? "kernel" : lines[0];
}

std::string source_line(const void* pc) {
  for (const std::string& line : addr2line("-i", pc ? static_cast<const char*>(pc) - 1 : nullptr)) {
    if (line.find("/cuda_emulation/emulated") != std::string::npos || line.find("/include/") != std::string::npos)
      continue;
    const std::string name = line.substr(line.find_last_of('/') + 1);
    return name.substr(0, name.find(' '));
  }
  return "?";
}

bool Machine::is_device_range(const void* p, size_t bytes) {
  std::lock_guard lock(mutex);
  auto it = device_memory.upper_bound(reinterpret_cast<uintptr_t>(p));
  if (it == device_memory.begin()) return false;
  --it;
  return reinterpret_cast<uintptr_t>(p) + bytes <= it->first + it->second;
}

void Machine::launch(dim3 grid, dim3 block, size_t dynamic_bytes, bool cooperative, std::function<void()> kernel,
                     const void* function) {
  const unsigned threads = block.x * block.y * block.z;
  std::lock_guard lock(mutex);
  if (current) throw Error("a kernel launches a kernel");
  main_stack_bottom_ = nullptr;
  gridDim = grid, blockDim = block, kernel_ = std::move(kernel), function_ = function, failure_ = nullptr;
  switches_ = findings = 0;
  if (threads == 0 || threads > 1024) throw Error(name() + ": " + std::to_string(threads) + " threads in a block");
  first_serial = next_serial;
  if (on_launch) on_launch();
  const size_t blocks = size_t{grid.x} * grid.y * grid.z;
  if (blocks == 0) throw Error(name() + ": the grid is empty");
  if (grid.y > 65535 || grid.z > 65535) throw Error(name() + ": grid dimensions y and z end at 65535");
  std::vector<uint32_t> order(blocks);
  for (size_t i = 0; i < blocks; ++i)
    order[i] = static_cast<uint32_t>(i), std::swap(order[i], order[random() % (i + 1)]);
  const size_t at_once = cooperative ? blocks : 1 + random() % 3;
  for (size_t next = 0;;) {
    while (resident_.size() < at_once && next < blocks) start_block(order[next++], dynamic_bytes);
    if (resident_.empty()) break;
    if (Thread* thread = pick())
      switch_to(thread);
    else
      failure_ = std::make_exception_ptr(Error("deadlock: " + report()));
    if (failure_) {
      while (!resident_.empty()) end_block(resident_.back());
      std::rethrow_exception(failure_);
    }
    for (size_t i = resident_.size(); i-- > 0;)
      if (resident_[i]->live == 0) end_block(resident_[i]);
  }
  if (findings) throw Error(name() + ": " + finding + " (" + std::to_string(findings) + " findings)");
}

void Machine::yield() {
  Thread* next = pick();
  if (next != current) switch_to(next);
}

void Machine::yield_ready() {
  Block& b = *current->block;
  b.warps[current->warp].ready |= 1u << current->lane;
  yield();
}

void Machine::fail(const std::string& what) {
  throw Error(name() + ": " + what + " in thread " + text(current->index) + " of block " + text(current->block->index));
}

unsigned Machine::barrier(unsigned id, unsigned expected, bool predicate, const char* what, Location where) {
  Thread& t = *current;
  Block& b = *t.block;
  Barrier& bar = b.barriers[id];
  if (bar.arrived == 0) bar.where = where, bar.expected = expected, bar.waiting.assign(b.warps.size(), 0);
  if (bar.where.line() != where.line() || bar.expected != expected)
    fail("divergent barrier: " + std::string(what) + " at " + at(where) +
         ", where other threads of the block wait at " + at(bar.where));
  bar.waiting[t.warp] |= 1u << t.lane;
  bar.count += predicate;
  t.waits_for = what, t.where = where, t.wait_mask = 0;
  if (++bar.arrived == expected) {
    for (size_t w = 0; w < b.warps.size(); ++w) release(b.warps[w], bar.waiting[w]);
    bar.result_count = bar.count, bar.count = bar.arrived = 0;
    if (id == 0) ++b.epoch;
  }
  yield();
  return bar.result_count;
}

bool Machine::arrive(unsigned mask, const char* what, Location where, void* operands) {
  Thread& t = *current;
  Warp& w = t.block->warps[t.warp];
  if (!(mask >> t.lane & 1)) fail(std::string(what) + " at " + at(where) + ": the mask lacks the calling lane");
  auto m = std::find_if(w.meetings.begin(), w.meetings.end(),
                        [&](const Meeting& x) { return x.what == what && x.mask == mask && x.line == where.line(); });
  if (m == w.meetings.end()) m = w.meetings.insert(m, Meeting{what, mask, 0, where.line()});
  m->arrived |= 1u << t.lane;
  t.slot = operands, t.waits_for = what, t.where = where, t.wait_mask = mask;
  if (m->arrived != mask) return false;
  w.meetings.erase(m);
  return true;
}

void Machine::leave(unsigned mask) { release(current->block->warps[current->warp], mask); }

std::byte* Machine::shared_array(const void* site, size_t bytes, size_t alignment) {
  Block& b = *current->block;
  for (const SharedArray& a : b.arrays)
    if (a.site == site) return a.data;
  b.static_bytes += bytes;
  if (b.static_bytes > kStaticSharedLimit) fail("over 48 KiB of static shared memory");
  const auto asked = allowed_shared.find(function_);
  if (b.static_bytes + b.dynamic_bytes > kStaticSharedLimit &&
      (asked == allowed_shared.end() || asked->second < b.dynamic_bytes))
    fail("over 48 KiB of shared memory, which the kernel was not allowed");
  if (b.static_bytes + b.dynamic_bytes > shared_limit) fail("over the limit of shared memory");
  return add_array(b, site, bytes, alignment);
}

void Machine::check_row(const void* p, size_t bytes, const char* what, Location where) {
  if (reinterpret_cast<uintptr_t>(p) % bytes)
    fail(std::string(what) + " at " + at(where) + ": address not aligned to " + std::to_string(bytes));
}

void Machine::check_shared(const void* p, const char* what, Location where) {
  const Block& b = *current->block;
  if (p < b.shared || p >= b.shared + b.shared_used)
    fail(std::string(what) + " at " + at(where) + ": address not in shared memory");
}

void Machine::release(Warp& w, unsigned lanes) {
  w.ready |= lanes;
  Thread** threads = w.block->threads.data() + w.first_thread;
  for (; lanes; lanes &= lanes - 1) threads[std::countr_zero(lanes)]->waits_for = nullptr;
}

Thread* Machine::pick() {
  const uint64_t r = random();
  if (r % 64 == 0 && !priorities_.empty()) {
    const size_t n = priorities_.size();
    std::swap(priorities_[(r >> 8) % n], priorities_[(r >> 24) % n]);
  }
  for (Warp* w : priorities_) {
    if (!w->ready) continue;
    const unsigned turn = r >> 40 & 31,
                   lane =
                       (static_cast<unsigned>(std::countr_zero(std::rotr(w->ready, static_cast<int>(turn)))) + turn) &
                       31;
    w->ready &= ~(1u << lane);
    return w->block->threads[w->first_thread + lane];
  }
  return nullptr;
}

// nullptr: back to launch().
void Machine::switch_to(Thread* next) {
  Thread* from = current;
  current = next;
  if (next) threadIdx = next->index, blockIdx = next->block->index;
  if (++switches_ > switch_limit && next) {
    failure_ =
        std::make_exception_ptr(Error("endless (over " + std::to_string(switch_limit) + " switches): " + report()));
    current = next = nullptr;
  }
#ifdef __SANITIZE_ADDRESS__
  void** fake = from ? (from->exited ? nullptr : &from->fake_stack) : &main_fake_stack_;
  __sanitizer_start_switch_fiber(fake, next ? next->stack : main_stack_bottom_, next ? kStackBytes : main_stack_bytes_);
#endif
  switch_stack(from ? &from->stack_pointer : &main_stack_pointer_, next ? next->stack_pointer : main_stack_pointer_);
  arrived(from);
}

void Machine::arrived([[maybe_unused]] Thread* self) {
#ifdef __SANITIZE_ADDRESS__
  const void* bottom;
  size_t bytes;
  __sanitizer_finish_switch_fiber(self ? self->fake_stack : main_fake_stack_, &bottom, &bytes);
  if (self && !main_stack_bottom_) main_stack_bottom_ = bottom, main_stack_bytes_ = bytes;
#endif
}

void Machine::thread_main() { machine.run_thread(); }

void Machine::run_thread() {
  arrived(current);
  try {
    kernel_();
    for (auto& group : current->copies)
      if (std::any_of(group.begin(), group.end(), [](const AsyncCopy& c) { return !c.done; }))
        fail("a cp.async was never waited for");
  } catch (...) {
    failure_ = std::current_exception();
  }
  current->exited = true;
  const bool last = --current->block->live == 0;
  switch_to(last || failure_ ? nullptr : pick());
  std::terminate();
}

Thread* Machine::new_thread() {
  if (idle_threads_.empty()) {
    constexpr size_t kCount = 64, kStride = kStackBytes + kPage;  // an unreadable page under each stack
    std::byte* memory = new_pages(kCount * kStride);
    for (size_t i = 0; i < kCount; ++i) {
      std::byte* stack = memory + i * kStride + kPage;
      mprotect(stack, kStackBytes, PROT_READ | PROT_WRITE);
      all_threads_.push_back(std::make_unique<Thread>());
      all_threads_.back()->stack = stack;
      idle_threads_.push_back(all_threads_.back().get());
    }
  }
  Thread* t = idle_threads_.back();
  idle_threads_.pop_back();
  return t;
}

void Machine::start_block(uint32_t linear_block, size_t dynamic_bytes) {
  Block* b = new Block;
  b->index = {linear_block % gridDim.x, linear_block / gridDim.x % gridDim.y, linear_block / gridDim.x / gridDim.y};
  b->serial = next_serial++;
  const unsigned count = blockDim.x * blockDim.y * blockDim.z;
  b->live = count;
  for (unsigned i = 0; i < count; ++i) {
    Thread* t = new_thread();
    std::byte* stack = t->stack;
    unpoison(stack, kStackBytes);
    *t = Thread{};
    t->stack = stack, t->block = b, t->linear = i, t->warp = i / 32, t->lane = i % 32;
    t->index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    void** top = reinterpret_cast<void**>(stack + kStackBytes);
    top[-2] = reinterpret_cast<void*>(&thread_main),
    top[-1] = nullptr;  // six saved registers below, whatever they hold
    t->stack_pointer = top - 8;
    b->threads.push_back(t);
    if (t->lane == 0) b->warps.push_back({b, i, 0, {}});
    b->warps.back().ready |= 1u << t->lane;
  }
  for (Warp& w : b->warps)
    priorities_.insert(priorities_.begin() + static_cast<ptrdiff_t>(random() % (priorities_.size() + 1)), &w);
  if (idle_shared_.empty()) {
    idle_shared_.push_back(new_pages(kSharedBytes));
    mprotect(idle_shared_.back(), kSharedBytes, PROT_READ | PROT_WRITE);
  }
  b->shared = idle_shared_.back();
  idle_shared_.pop_back();
  poison(b->shared, kSharedBytes);
  b->dynamic_bytes = dynamic_bytes;
  if (dynamic_bytes > shared_limit) fail("over the limit of shared memory");
  add_array(*b, nullptr, dynamic_bytes, 1024);
  resident_.push_back(b);
}

void Machine::end_block(Block* b) {
  std::erase(resident_, b);
  std::erase_if(priorities_, [&](Warp* w) { return w->block == b; });
  for (Thread* t : b->threads) idle_threads_.push_back(t);
  idle_shared_.push_back(b->shared);
  delete b;
}

std::byte* Machine::add_array(Block& b, const void* site, size_t bytes, size_t alignment) {
  const size_t begin = (b.shared_used + (b.arrays.empty() ? 0 : kRedzone) + alignment - 1) / alignment * alignment;
  if (begin + bytes > kSharedBytes) throw Error(name() + ": over 227 KiB of shared memory");
  b.shared_used = begin + bytes;
  unpoison(b.shared + begin, bytes);
  std::memset(b.shared + begin, 0xFF, bytes);  // NaN in every floating-point format, -1 in every integer
  b.arrays.push_back({site, b.shared + begin, bytes});
  return b.shared + begin;
}

std::string Machine::report() const {
  std::string message = name();
  for (const Block* b : resident_) {
    std::map<std::string, std::pair<unsigned, unsigned>> groups;  // place -> count, first thread
    for (const Thread* t : b->threads) {
      char mask[32] = "";
      if (t->wait_mask) snprintf(mask, sizeof mask, " mask %08x", t->wait_mask);
      const std::string place = t->exited      ? "exited"
                                : t->waits_for ? t->waits_for + (" at " + at(t->where)) + mask
                                               : "running";
      ++groups.try_emplace(place, 0, t->linear).first->second.first;
    }
    message += "; block " + text(b->index) + ":";
    for (const auto& [place, n] : groups)
      message += " " + std::to_string(n.first) + " threads (first: " + std::to_string(n.second) + ") " + place + ",";
    message.pop_back();
  }
  return message;
}

}  // namespace tenon::emulation
