// The tokens of one forward of the generator, and what is booked of its results. Internal.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "../model.h"
#include "decode_graphs.h"
#include "kv_cache.h"
#include "scheduler.h"

namespace tenon::models {

/// Of sequences that decode, then of prompts.
class Step {
 public:
  Step(Scheduler& scheduler, int64_t prefill_tokens);

  bool empty() const { return ids_.empty(); }
  /// Whether it has one token of each of its sequences, and no prompt.
  bool decodes_only() const { return prefills_.empty() && !ids_.empty(); }
  DecodeStep decode_step() const { return {ids_, positions_, slots_, kv_len_, tables_}; }

  Batch batch(KvCache& cache, Device device, ExpertRoutes* routes) const;
  /// Books what the forward has done: prompts prefilled, hidden states of finished ones, routes.
  void commit(Scheduler& scheduler, const Tensor& hidden, const ExpertRoutes* routes);
  void forget_rows();

 private:
  struct Prefill {
    std::shared_ptr<Group> group;
    int64_t row, count;
  };

  void add_token(int32_t id, int64_t position, const std::vector<int32_t>& pages);
  void end_sequence(int64_t kv_len, const std::vector<int32_t>& pages);

  std::vector<int32_t> ids_, positions_, slots_, cu_seqlens_{0}, kv_len_;
  std::vector<const std::vector<int32_t>*> tables_;
  std::vector<Prefill> prefills_;
};

/// The hidden states that the head is asked about: rows of this step's forward, and the kept rows of prompts whose
/// samples begin now.
Tensor head_rows(std::span<Sequence* const> chosen, const Tensor& hidden);

/// Rows [row, row + count) of routes on the host, behind those of `to`, one list a layer.
void append_routes(const ExpertRoutes& routes, int64_t row, int64_t count, std::vector<std::vector<int32_t>>& to);
/// `all` holds the layers of `like` one below the other.
ExpertRoutes layers_of(const Tensor& all, const ExpertRoutes& like);
/// On the host, with one wait where they are on a GPU.
void fetch(ExpertRoutes& routes);

}  // namespace tenon::models
