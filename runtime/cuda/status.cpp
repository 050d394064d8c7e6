#include "status.h"

#include <nvtx3/nvToolsExt.h>

#include <atomic>
#include <cstdlib>
#include <string_view>

#include "../check.h"
#include "../cuda.h"
#include "fault.h"

namespace tenon::cuda {
namespace {

thread_local const OpScope* current_scope = nullptr;
std::atomic<uint64_t> waits{0};

// A fault of an earlier kernel, which the device reports with the next call.
bool is_late(cudaError_t status) {
  switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
      return true;
    default:
      return false;
  }
}

}  // namespace

void throw_status(cudaError_t status, const std::string& what) {
  (void)cudaGetLastError();  // else the next launch would be told again of an error that is no fault
  const std::string op = current_op();
  const char* advice = "";
  if (is_late(status) && !synchronizes_each_op())
    advice = " (an earlier op may be at fault: TENON_CUDA_SYNC=1 in the environment names it)";
  if (status == cudaErrorNoKernelImageForDevice)
    advice = " (this build is for other GPUs: configure it with -DTENON_CUDA_ARCHITECTURES for this one)";
  fail("{}: {}{}{}{}", what, cudaGetErrorString(status), op.empty() ? "" : ", in ", op, advice);
}

const char* current_op_name() { return current_scope ? current_scope->name() : ""; }
std::string current_op() { return current_scope ? current_scope->text() : std::string(); }

bool synchronizes_each_op() {
  static const bool yes = [] {
    const char* value = std::getenv("TENON_CUDA_SYNC");
    return value && std::string_view(value) == "1";
  }();
  return yes;
}

void wait(cudaStream_t stream, const char* what) {
  refuse_while_recording("the device is waited for");
  waits.fetch_add(1, std::memory_order_relaxed);
  check_status(cudaStreamSynchronize(stream), what);
  throw_reported_fault();
}

void wait(cudaEvent_t event, const char* what) {
  waits.fetch_add(1, std::memory_order_relaxed);
  check_status(cudaEventSynchronize(event), what);
}

uint64_t synchronizations() { return waits.load(std::memory_order_relaxed); }

void synchronize(Device device) {
  const DeviceScope scope(device);
  wait(current_stream(device), "cudaStreamSynchronize");
}

size_t checked_index(Device device) {
  const int count = device_count();
  check(!device.is_cpu() && device.index < count, "{}: this machine has {} CUDA device{}", device, count,
        count == 1 ? "" : "s");
  return static_cast<size_t>(device.index);
}

DeviceScope::DeviceScope(Device device) : device_(static_cast<int>(checked_index(device))) {
  check_status(cudaGetDevice(&previous_), "cudaGetDevice");
  if (previous_ != device_) check_status(cudaSetDevice(device_), "cudaSetDevice");
}

DeviceScope::~DeviceScope() {
  if (previous_ != device_) (void)cudaSetDevice(previous_);
}

OpScope::OpScope(const char* op, Device device, Describe describe, const void* arguments)
    : op_(op), device_(device), describe_(describe), arguments_(arguments), outer_(current_scope) {
  check_status(cudaGetDevice(&outer_device_), "cudaGetDevice");
  if (outer_device_ != device.index) check_status(cudaSetDevice(device.index), "cudaSetDevice");
  nvtxRangePushA(op);
  current_scope = this;
}

OpScope::~OpScope() {
  current_scope = outer_;
  nvtxRangePop();
  if (outer_device_ != device_.index) (void)cudaSetDevice(outer_device_);
}

void OpScope::finish() {
  if (synchronizes_each_op()) wait(current_stream(device_), "TENON_CUDA_SYNC");
}

std::string OpScope::text() const { return op_ + describe_(arguments_); }

}  // namespace tenon::cuda
