// Kernels report values outside of their range.
//
//   launch(gather_kernel, shape, ..., tenon::cuda::fault_slot("index", rows));
//   if (index < 0 || index >= faults.bound) report(faults, index, place);
#pragma once

#include "../../runtime/cuda/fault.h"
#include "../../runtime/cuda/launch.h"

namespace tenon {

__device__ inline void report(const cuda::FaultSlot& faults, long long value, long long place) {
  if (atomicCAS(&faults.record->taken, 0, 1) != 0) return;
  cuda::FaultRecord& record = *faults.record;
  record.op = faults.op;
  record.what = faults.what;
  record.value = value;
  record.place = place;
  record.bound = faults.bound;
  __threadfence_system();
  *static_cast<volatile int*>(&record.ready) = 1;
}

}  // namespace tenon
