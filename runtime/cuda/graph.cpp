#include <cuda_runtime.h>

#include <utility>

#include "../check.h"
#include "../cuda.h"
#include "../memory.h"
#include "../profile.h"
#include "../workspace.h"
#include "status.h"

namespace tenon::cuda {
namespace {

thread_local bool recording = false;
constexpr int kMostRuns = 4;  // before a recording, to find out what memory it takes

struct RecordingStream {
  RecordingStream() { check_status(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate"); }
  ~RecordingStream() { (void)cudaStreamDestroy(stream); }
  RecordingStream(const RecordingStream&) = delete;
  RecordingStream& operator=(const RecordingStream&) = delete;
  operator cudaStream_t() const { return stream; }

  cudaStream_t stream = nullptr;
};

// The calling thread's stream records what is queued on it until finish(), or until an Error takes it away.
class Capture {
 public:
  explicit Capture(cudaStream_t stream) : stream_(stream) {
    check_status(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    recording = true;
  }
  ~Capture() {
    if (!stream_) return;
    recording = false;
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess && graph) (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  cudaGraph_t finish() {
    recording = false;
    cudaGraph_t graph = nullptr;
    check_status(cudaStreamEndCapture(std::exchange(stream_, nullptr), &graph), "cudaStreamEndCapture");
    return graph;
  }

 private:
  cudaStream_t stream_;
};

}  // namespace

void refuse_while_recording(const char* what) {
  if (!recording) return;
  const std::string op = current_op();
  fail("{} while a graph is recorded{}{}", what, op.empty() ? "" : ", in ", op);
}

Graph::~Graph() {
  if (recorded_) (void)cudaGraphExecDestroy(recorded_);
}

void Graph::record(MemoryArena& arena, const std::function<void()>& work) {
  const DeviceScope device(device_);
  const MemoryArena::Scope memory(arena);
  // Again until the arena has all that a run needs: the workspace, once it holds its memory in one piece, may have
  // taken a block that tensors want.
  size_t held = SIZE_MAX;
  for (int run = 0; run < kMostRuns && held != arena.bytes(); ++run) {
    held = arena.bytes();
    work();
    arena.workspace().merge();
  }
  cudaGraph_t graph = nullptr;
  {
    // A stream of its own: the legacy default stream, which a caller may have handed in, cannot be recorded.
    const RecordingStream stream;
    const StreamScope scope(device_, stream);
    Capture capture(stream);
    work();
    graph = capture.finish();
  }
  if (recorded_) (void)cudaGraphExecDestroy(std::exchange(recorded_, nullptr));
  const cudaError_t status = cudaGraphInstantiate(&recorded_, graph, 0);
  (void)cudaGraphDestroy(graph);
  check_status(status, "cudaGraphInstantiate");
}

void Graph::replay() {
  check(recorded_ != nullptr, "Graph: replayed before it was recorded");
  const DeviceScope device(device_);
  check_status(cudaGraphLaunch(recorded_, current_stream(device_)), "cudaGraphLaunch");
}

bool records_graphs() { return !synchronizes_each_op() && !profile::enabled(); }

}  // namespace tenon::cuda
