// The machine that runs CUDA kernels on the CPU: every CUDA thread is a fiber, and control passes from fiber to fiber
// where threads wait for each other: barriers, warp collectives, atomics. The order is random (priorities per warp,
// redrawn now and then; random lanes; random block order) and repeats for a given seed.
//
// What is checked: deadlocks and divergent barriers (Error with every waiting place), arrays out of bounds
// (AddressSanitizer), shared and device memory read before it was written (filled with NaN), misaligned ldmatrix and
// cp.async rows, copies outside device memory, shared memory over the limits. race_check.cpp adds an exact check of
// data races.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <source_location>
#include <stdexcept>
#include <string>
#include <vector>

// Of the running thread.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

namespace tenon::emulation {

using Location = std::source_location;
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline constexpr size_t kStackBytes = 128 << 10, kPage = 4096, kSharedBytes = 256 << 10, kRedzone = 64;
inline constexpr size_t kStaticSharedLimit = 48 << 10;

struct Block;

struct AsyncCopy {
  void* to;
  const void* from;
  unsigned bytes, valid_bytes;
  bool done = false;
};

struct Thread {
  std::byte* stack = nullptr;
  void* stack_pointer = nullptr;
  void* fake_stack = nullptr;  // AddressSanitizer's
  Block* block = nullptr;
  uint3 index{};
  unsigned linear = 0, warp = 0, lane = 0;
  const char* waits_for = nullptr;  // nullptr: running or ready
  unsigned wait_mask = 0;
  Location where;
  bool exited = false;
  void* slot = nullptr;                        // this lane's operands of the warp collective it waits in
  unsigned warp_epoch = 0;                     // __syncwarp calls passed, for race_check.cpp
  std::vector<std::vector<AsyncCopy>> copies;  // cp.async groups, oldest first; the last one is still open
};

struct Meeting {  // a warp collective that some of its lanes have reached
  const char* what;
  unsigned mask, arrived, line;
};

struct Warp {
  Block* block;
  unsigned first_thread, ready = 0;  // ready: lanes that may run
  std::vector<Meeting> meetings;
};

struct Barrier {
  unsigned arrived = 0, expected = 0, count = 0, result_count = 0;
  Location where;
  std::vector<unsigned> waiting;  // lanes, per warp
};

struct SharedArray {
  const void* site;
  std::byte* data;
  size_t bytes;
};

struct Block {
  uint3 index{};
  uint64_t serial = 0;
  unsigned live = 0, epoch = 0;  // epoch: block-wide barriers passed
  std::vector<Thread*> threads;
  std::deque<Warp> warps;
  Barrier barriers[16];
  std::byte* shared = nullptr;
  size_t shared_used = 0, static_bytes = 0, dynamic_bytes = 0;
  std::vector<SharedArray> arrays;  // arrays[0] is the dynamic shared memory
};

/// "softmax.cu:31".
std::string at(const Location&);
/// "(1,0,0)".
std::string text(uint3);
/// The name of the function at an address of this program: for messages, by addr2line.
std::string function_name(const void*);
/// "softmax.cu:31": the innermost source line of an address that is outside of the emulation; "?" where unknown.
std::string source_line(const void* pc);

/// Set by race_check.cpp: called for the emulation's own accesses on behalf of a thread. `kind` is one of:
enum class Access { read, write, atomic };
extern void (*on_access)(const Thread&, const void*, size_t, Access);
inline void touch(const Thread& t, const void* p, size_t bytes, Access kind) {
  if (on_access) on_access(t, p, bytes, kind);
}

class Machine {
 public:
  std::recursive_mutex mutex;  // one kernel or allocation at a time, whichever host thread asks
  Thread* current = nullptr;
  uint64_t first_serial = 0, next_serial = 1;  // blocks get serial numbers; the running launch's start at first_serial
  uint64_t switch_limit = 2'000'000'000;
  std::map<uintptr_t, size_t> device_memory;                // begin -> bytes
  size_t shared_limit = 227 << 10;                          // of a block; as on sm_90, unless a test sets it
  std::map<const void*, size_t> allowed_shared;             // dynamic shared memory that a kernel has asked for
  std::vector<std::function<void()>>* recording = nullptr;  // a stream's work is recorded instead of done
  std::string finding;                                      // race_check.cpp's first one in this launch, and how many
  size_t findings = 0;

  void seed(uint64_t s) { random_state_ = (s + 1) * 0x9E3779B97F4A7C15ull; }
  uint64_t random() {  // xorshift64
    random_state_ ^= random_state_ << 13;
    random_state_ ^= random_state_ >> 7;
    return random_state_ ^= random_state_ << 17;
  }
  bool is_device_range(const void* p, size_t bytes);

  /// Does a stream's work, or records it.
  void queue(std::function<void()> work) {
    if (recording)
      recording->push_back(std::move(work));
    else
      work();
  }

  /// Runs all blocks to their end. `function` is the kernel's address, for its name in messages.
  void launch(dim3 grid, dim3 block, size_t dynamic_bytes, bool cooperative, std::function<void()> kernel,
              const void* function);

  /// Gives control to any thread that may run (possibly the caller, if it is ready).
  void yield();
  void yield_ready();
  [[noreturn]] void fail(const std::string& what);

  /// Barrier `id` for `expected` threads; returns how many of them passed a true predicate.
  unsigned barrier(unsigned id, unsigned expected, bool predicate, const char* what, Location where);

  /// The lanes of `mask` meet; the last one to arrive runs `action(lanes)` on all of them: lanes(l) gives lane l's
  /// operands.
  template <class Operands, class Action>
  void meet(unsigned mask, const char* what, Location where, Operands& operands, Action action) {
    if (arrive(mask, what, where, &operands)) {
      const Warp& w = current->block->warps[current->warp];
      Thread** threads = current->block->threads.data() + w.first_thread;
      action([threads](unsigned lane) -> Operands& { return *static_cast<Operands*>(threads[lane]->slot); });
      leave(mask);
    }
    yield();
  }

  /// The calling block's static shared array of that declaration.
  std::byte* shared_array(const void* site, size_t bytes, size_t alignment);

  /// Fails unless p is a multiple of `bytes`, or lies in the block's shared memory.
  void check_row(const void* p, size_t bytes, const char* what, Location where);
  void check_shared(const void* p, const char* what, Location where);

 private:
  bool arrive(unsigned mask, const char* what, Location where, void* operands);
  void leave(unsigned mask);
  static void release(Warp& w, unsigned lanes);
  Thread* pick();
  void switch_to(Thread* next);
  void arrived(Thread* self);
  static void thread_main();
  void run_thread();
  Thread* new_thread();
  void start_block(uint32_t linear_block, size_t dynamic_bytes);
  void end_block(Block* b);
  std::byte* add_array(Block& b, const void* site, size_t bytes, size_t alignment);
  std::string report() const;
  std::string name() const { return function_name(function_); }

  std::function<void()> kernel_;
  const void* function_ = nullptr;
  std::exception_ptr failure_;
  uint64_t random_state_ = 0x9E3779B97F4A7C15ull, switches_ = 0;
  std::vector<Block*> resident_;
  void* main_stack_pointer_ = nullptr;
  void* main_fake_stack_ = nullptr;
  const void* main_stack_bottom_ = nullptr;
  size_t main_stack_bytes_ = 0;
  std::vector<std::unique_ptr<Thread>> all_threads_;
  std::vector<Thread*> idle_threads_;
  std::vector<std::byte*> idle_shared_;
  std::vector<Warp*> priorities_;
};

extern Machine machine;

/// Frees what race_check.cpp keeps of earlier launches.
extern void (*on_launch)();

}  // namespace tenon::emulation
