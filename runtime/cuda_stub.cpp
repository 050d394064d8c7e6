// The build without CUDA.
#include "check.h"
#include "cuda.h"

namespace tenon::cuda {
namespace {

[[noreturn]] void refuse(Device device) { fail("{}: this build of Tenon has no CUDA", device); }

}  // namespace

int device_count() { return 0; }
std::string device_description(Device device) { refuse(device); }

Stream current_stream(Device device) { refuse(device); }
Stream current_stream() { refuse(Device::cuda()); }
StreamScope::StreamScope(Device device, Stream) { refuse(device); }
StreamScope::~StreamScope() = default;
void wait_for(Device device, Device, Stream) { refuse(device); }
OpScope::OpScope(const char*, Device device, Describe, const void*) { refuse(device); }
OpScope::~OpScope() = default;
void OpScope::finish() {}
std::string OpScope::text() const { return op_; }

Graph::~Graph() = default;
void Graph::record(MemoryArena&, const std::function<void()>&) { refuse(device_); }
void Graph::replay() { refuse(device_); }
bool records_graphs() { return false; }

Readback::Readback(Device device, const void*, size_t) { refuse(device); }
Readback::~Readback() = default;
const void* Readback::wait() { refuse(device_); }
Mark::Mark(Device device) { refuse(device); }
Mark::Mark(Mark&&) noexcept {}
Mark& Mark::operator=(Mark&&) noexcept { return *this; }
bool Mark::reached() const { return true; }
double Mark::seconds_since(const Mark&) const { return 0; }
void Mark::give_back() noexcept {}
Stage::Stage(const char*) {}
Stage::~Stage() = default;

void* allocate(Device device, size_t) { refuse(device); }
void release(Device, void*, Stream) noexcept {}
void trim(Device device) { refuse(device); }
size_t total_memory(Device device) { refuse(device); }
size_t free_memory(Device device) { refuse(device); }

void copy(void*, Device to_device, const void*, Device from_device, size_t) {
  refuse(to_device.is_cpu() ? from_device : to_device);
}
void set_bytes(Device device, void*, int, size_t) { refuse(device); }
void fill(Device device, void*, uint64_t, size_t, int64_t) { refuse(device); }
void strided_copy(Device device, const void*, const Shape&, const int64_t*, size_t, void*) { refuse(device); }

void synchronize(Device device) { refuse(device); }
uint64_t synchronizations() { return 0; }

}  // namespace tenon::cuda
