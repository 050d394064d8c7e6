#include "step.h"

#include <algorithm>

#include "../../ops/indexing.h"
#include "../../ops/paged_attention.h"

namespace tenon::models {
namespace {

using ops::kPageSize;

// The group may have handed its partial page to its last sample already; every sample holds the whole list until it
// decodes.
const std::vector<int32_t>& prompt_pages(Scheduler& scheduler, const Group& group) {
  for (auto& s : scheduler.sequences()) {
    if (s->group.get() == &group) return s->pages;
  }
  return group.pages;
}

}  // namespace

Step::Step(Scheduler& scheduler, int64_t prefill_tokens) {
  for (auto& s : scheduler.sequences()) {
    s->row = -1;
    if (s->drawn() == 0) continue;  // waits for its prompt, or begins from it
    if (scheduler.ends_unread(*s)) continue;
    const int64_t prompt = static_cast<int64_t>(scheduler.request(s->completion.request).prompt.size());
    const int64_t position = prompt + s->drawn() - 1;
    scheduler.make_writable(*s, position);
    s->row = static_cast<int64_t>(ids_.size());
    add_token(s->unread ? 0 : s->tokens().back(), position, s->pages);  // an unread one is on the device
    end_sequence(position + 1, s->pages);
  }
  int64_t budget = prefill_tokens;
  for (auto& group : scheduler.prefilling()) {
    if (budget == 0) break;
    const std::vector<int32_t>& prompt = scheduler.request(group->request).prompt;
    const std::vector<int32_t>& pages = prompt_pages(scheduler, *group);
    const int64_t begin = group->prefilled, end = std::min(begin + budget, static_cast<int64_t>(prompt.size()));
    prefills_.push_back({group, static_cast<int64_t>(ids_.size()), end - begin});
    for (int64_t i = begin; i < end; ++i) add_token(prompt[static_cast<size_t>(i)], i, pages);
    end_sequence(end, pages);
    budget -= end - begin;
  }
}

Batch Step::batch(KvCache& cache, Device device, ExpertRoutes* routes) const {
  Batch out;
  out.ids = Tensor::from_vector(ids_).to(device);
  out.positions = Tensor::from_vector(positions_).to(device);
  out.max_position = *std::max_element(positions_.begin(), positions_.end());
  out.record_routes = routes;
  AttentionContext& a = out.attention;
  a.cache = &cache;
  a.cu_seqlens = Tensor::from_vector(cu_seqlens_).to(device);
  a.slots = Tensor::from_vector(slots_).to(device);
  a.kv_len = Tensor::from_vector(kv_len_).to(device);
  size_t widest = 1;
  for (const auto* pages : tables_) widest = std::max(widest, pages->size());
  Tensor table = Tensor::zeros({static_cast<int64_t>(tables_.size()), static_cast<int64_t>(widest)}, DType::i32);
  for (size_t i = 0; i < tables_.size(); ++i)
    std::copy(tables_[i]->begin(), tables_[i]->end(), table.row<int32_t>(static_cast<int64_t>(i)));
  a.block_table = table.to(device);
  return out;
}

void Step::commit(Scheduler& scheduler, const Tensor& hidden, const ExpertRoutes* routes) {
  for (auto& [group, row, count] : prefills_) {
    group->prefilled += count;
    if (routes) append_routes(*routes, row, count, group->routes);
    if (group->prefilled == static_cast<int64_t>(scheduler.request(group->request).prompt.size())) {
      group->hidden_row = row + count - 1;
      group->hidden = hidden.slice(0, group->hidden_row, group->hidden_row + 1).clone();
    }
  }
  if (routes) {
    for (auto& s : scheduler.sequences()) {
      if (s->row >= 0) append_routes(*routes, s->row, 1, s->routes);
    }
  }
  auto& waiting = scheduler.prefilling();
  while (!waiting.empty() && waiting.front()->hidden.defined()) waiting.pop_front();
}

void Step::forget_rows() {
  for (auto& p : prefills_) p.group->hidden_row = -1;
}

void Step::add_token(int32_t id, int64_t position, const std::vector<int32_t>& pages) {
  ids_.push_back(id);
  positions_.push_back(static_cast<int32_t>(position));
  slots_.push_back(
      static_cast<int32_t>(pages[static_cast<size_t>(position / kPageSize)] * kPageSize + position % kPageSize));
}

void Step::end_sequence(int64_t kv_len, const std::vector<int32_t>& pages) {
  cu_seqlens_.push_back(static_cast<int32_t>(ids_.size()));
  kv_len_.push_back(static_cast<int32_t>(kv_len));
  tables_.push_back(&pages);
}

Tensor head_rows(std::span<Sequence* const> chosen, const Tensor& hidden) {
  std::vector<int32_t> index;
  std::vector<Tensor> parts;
  int64_t rows = 0;
  if (hidden.defined()) {
    parts.push_back(hidden);
    rows = hidden.dim(0);
  }
  bool all_in_order = true;
  for (Sequence* s : chosen) {
    int64_t row = s->row >= 0 ? s->row : s->group->hidden_row;
    if (row < 0) {
      parts.push_back(s->group->hidden);
      row = rows++;
    }
    all_in_order &= row == static_cast<int64_t>(index.size());
    index.push_back(static_cast<int32_t>(row));
  }
  Tensor from = parts.size() == 1 ? parts[0] : ops::concat(parts, 0);
  if (all_in_order && static_cast<int64_t>(index.size()) == from.dim(0)) return from;
  return ops::gather_rows(from, Tensor::from_vector(index).to(from.device()));
}

void append_routes(const ExpertRoutes& routes, int64_t row, int64_t count, std::vector<std::vector<int32_t>>& to) {
  to.resize(routes.layers.size());
  for (size_t i = 0; i < to.size(); ++i) {
    const int32_t* from = routes.layers[i].row<int32_t>(row);
    to[i].insert(to[i].end(), from, from + count * routes.layers[i].dim(1));
  }
}

ExpertRoutes layers_of(const Tensor& all, const ExpertRoutes& like) {
  ExpertRoutes out;
  const auto layers = static_cast<int64_t>(like.layers.size());
  const int64_t rows = layers ? all.dim(0) / layers : 0;
  for (int64_t i = 0; i < layers; ++i) out.layers.push_back(all.slice(0, i * rows, (i + 1) * rows));
  return out;
}

void fetch(ExpertRoutes& routes) {
  if (routes.layers.empty() || routes.layers[0].device().is_cpu()) return;
  routes = layers_of(ops::concat(routes.layers, 0).to(Device::cpu()), routes);
}

}  // namespace tenon::models
