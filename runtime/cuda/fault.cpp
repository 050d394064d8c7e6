#include "fault.h"

#include <cuda_runtime.h>

#include <atomic>
#include <map>
#include <mutex>
#include <new>

#include "../check.h"
#include "status.h"

namespace tenon::cuda {
namespace {

std::mutex mutex;

// One a device, never freed: kernels may be running when the process ends.
FaultRecord*& record_of(int device) {
  static auto* records = new std::map<int, FaultRecord*>;
  return (*records)[device];
}

int this_device() {
  int device = 0;
  check_status(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

}  // namespace

FaultSlot fault_slot(const char* what, long long bound) {
  std::lock_guard lock(mutex);
  FaultRecord*& record = record_of(this_device());
  if (!record) {
    void* memory = nullptr;
    check_status(cudaHostAlloc(&memory, sizeof(FaultRecord), cudaHostAllocMapped | cudaHostAllocPortable),
                 "cudaHostAlloc");
    record = new (memory) FaultRecord{};
  }
  return {record, current_op_name(), what, bound};
}

void throw_reported_fault() {
  std::lock_guard lock(mutex);
  FaultRecord* record = record_of(this_device());
  if (!record || !std::atomic_ref(record->ready).load(std::memory_order_acquire)) return;
  const FaultRecord found = *record;
  record->ready = 0;
  std::atomic_ref(record->taken).store(0, std::memory_order_release);  // last: from here on another may write
  if (found.bound == kNoBound) fail("{}: {} {} at place {}", found.op, found.what, found.value, found.place);
  fail("{}: {} {} at place {} is outside [0, {})", found.op, found.what, found.value, found.place, found.bound);
}

}  // namespace tenon::cuda
