// Decoding steps on a GPU as graphs, one for each batch size and width of block tables: a step of a small model is over
// sooner than its kernels could be queued one by one. Internal.
//
// Sizes are rounded up, so that a batch that shrinks sequence by sequence is recorded a few times only; the rows beyond
// write nothing, and nobody reads theirs. Recordings share their memory.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "../../runtime/cuda.h"
#include "../../runtime/memory.h"
#include "../model.h"

namespace tenon::models {

/// The next token of some sequences, an entry each.
struct DecodeStep {
  std::span<const int32_t> ids, positions, slots, kv_len;
  std::span<const std::vector<int32_t>* const> pages;
};

class DecodeGraphs {
 public:
  /// Both must outlive it.
  DecodeGraphs(Model& model, KvCache& cache, bool record_routes)
      : model_(model), cache_(cache), record_routes_(record_routes), arena_(model.device()) {}

  /// To be called before the first step and wherever the model may have changed but for its weights' values: what was
  /// recorded is kept where it is still right for it and for positions up to `max_position`.
  void prepare(int64_t max_position);

  ~DecodeGraphs();

  struct Out {
    Tensor logits;        // f32 [at least a row for each sequence, vocabulary]
    ExpertRoutes routes;  // likewise, where they are recorded
  };
  /// `ids`, i32 [sequences] on the device, takes the place of the step's where it is given. The result's tensors are
  /// written again by the next call.
  const Out& run(const DecodeStep& step, const Tensor* ids = nullptr);

 private:
  struct Recorded {
    Tensor inputs;  // i32: what a step consists of, one part behind the other
    Out out;
    std::unique_ptr<cuda::Graph> graph;
  };
  using Size = std::pair<int64_t, int64_t>;  // sequences, pages of each

  void forget();
  void record(const Size& size, Recorded& to);
  Batch batch_of(const Size& size, const Tensor& inputs);

  Model& model_;
  KvCache& cache_;
  bool record_routes_;
  int64_t max_position_ = -1;
  uint64_t model_key_ = 0;
  MemoryArena arena_;
  std::map<Size, Recorded> recorded_;
};

}  // namespace tenon::models
