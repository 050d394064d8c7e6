// What kernels find wrong with their data, an id outside of the vocabulary, say: the first one is kept, and the next
// wait for the device throws it as an Error. A kernel that reports (ops/cuda/report.h) goes on with a harmless value.
// Internal.
#pragma once

namespace tenon::cuda {

struct FaultRecord {
  int taken;  // by the kernel that writes
  int ready;  // the rest is written: the host may look, also while other kernels run
  const char* op;
  const char* what;
  long long value, place, bound;
};

/// Given to a kernel by value. `op` and `what` are string literals of the host, which the device only passes back.
struct FaultSlot {
  FaultRecord* record;  // in host memory that the device writes to
  const char* op;
  const char* what;
  long long bound;
};

/// The bound of a slot whose `what` says all by itself: "route: one token is forced twice to expert 3 at place 5".
inline constexpr long long kNoBound = -1;

/// For the running op on its device: whether `what`, an index, say, is in [0, bound).
FaultSlot fault_slot(const char* what, long long bound);

/// Throws "embedding: id 70000 at place 5 is outside [0, 49152)" where a kernel of the calling thread's device has
/// reported one; to be called when the device has finished.
void throw_reported_fault();

}  // namespace tenon::cuda
