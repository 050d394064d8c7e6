#include "decode_graphs.h"

#include <algorithm>
#include <bit>

#include "../../ops/cast.h"
#include "../../runtime/check.h"
#include "../../runtime/hash.h"
#include "kv_cache.h"

namespace tenon::models {
namespace {

constexpr size_t kMostRecorded = 64;  // then all are forgotten

// At most a third more: 1, 2, 3, 4, 6, 8, 12, 16, 24, ...
int64_t rounded_sequences(int64_t n) {
  const int64_t step = n <= 2 ? 1 : static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n - 1))) / 2;
  return (n + step - 1) / step * step;
}

int64_t rounded_pages(int64_t n) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(n, 4))));
}

// Of what a recording has of the model: where the weights lie and which adapters are on.
uint64_t key_of(const Model& model) {
  uint64_t key = fnv1a("model");
  const auto add = [&](const void* p) { key = fnv1a({reinterpret_cast<const char*>(&p), sizeof p}, key); };
  for (const auto& p : model.params().all()) {
    add(p->value().raw());
    const auto* low_rank = p->low_rank();
    add(low_rank ? low_rank->a->value().raw() : nullptr);
  }
  return key;
}

}  // namespace

void DecodeGraphs::prepare(int64_t max_position) {
  const uint64_t key = key_of(model_);
  if (key == model_key_ && max_position <= max_position_) return;
  forget();
  model_key_ = key;
  max_position_ = std::max(max_position, max_position_);
}

// The last replay may be under way still.
void DecodeGraphs::forget() {
  if (!recorded_.empty()) cuda::synchronize(model_.device());
  recorded_.clear();
}

DecodeGraphs::~DecodeGraphs() {
  try {
    forget();
  } catch (const Error&) {
    // the device has failed: nothing is running
  }
}

Batch DecodeGraphs::batch_of(const Size& size, const Tensor& inputs) {
  const auto [sequences, pages] = size;
  int64_t at = 0;
  const auto next = [&](int64_t n) {
    at += n;
    return inputs.slice(0, at - n, at);
  };
  Batch out;
  out.ids = next(sequences);
  out.positions = next(sequences);
  out.max_position = max_position_;
  out.attention.cache = &cache_;
  out.attention.slots = next(sequences);
  out.attention.kv_len = next(sequences);
  out.attention.cu_seqlens = next(sequences + 1);
  out.attention.block_table = next(sequences * pages).view({sequences, pages});
  return out;
}

void DecodeGraphs::record(const Size& size, Recorded& to) {
  Batch batch = batch_of(size, to.inputs);
  to.graph = std::make_unique<cuda::Graph>(model_.device());
  to.graph->record(arena_, [&] {
    to.out = {};
    if (record_routes_) batch.record_routes = &to.out.routes;
    to.out.logits = model_.next_logits(model_.forward(batch).hidden.value());
  });
  // The places of its results, and not the memory: other recordings may use that, as results are read before the next
  // step.
  const auto place = [](Tensor& t) { t = Tensor::borrow(t.raw(), t.shape(), t.dtype(), t.device()); };
  place(to.out.logits);
  for (Tensor& layer : to.out.routes.layers) place(layer);
}

const DecodeGraphs::Out& DecodeGraphs::run(const DecodeStep& step, const Tensor* ids) {
  const auto sequences = static_cast<int64_t>(step.ids.size());
  int64_t widest = 1;
  for (const auto* pages : step.pages) widest = std::max(widest, static_cast<int64_t>(pages->size()));
  const Size size = {rounded_sequences(sequences), rounded_pages(widest)};

  // Rows beyond the sequences: a token that is not written (slot -1) and sees one row of the first page.
  std::vector<int32_t> inputs;
  inputs.reserve(static_cast<size_t>(size.first * (5 + size.second) + 1));
  const auto add = [&](std::span<const int32_t> values, int64_t n, int32_t beyond) {
    inputs.insert(inputs.end(), values.begin(), values.end());
    inputs.insert(inputs.end(), static_cast<size_t>(n) - values.size(), beyond);
  };
  add(step.ids, size.first, 0);
  add(step.positions, size.first, 0);
  add(step.slots, size.first, -1);
  add(step.kv_len, size.first, 1);
  for (int64_t i = 0; i <= size.first; ++i) inputs.push_back(static_cast<int32_t>(i));
  for (const auto* pages : step.pages) add(*pages, size.second, 0);
  add({}, (size.first - sequences) * size.second, 0);

  if (recorded_.size() >= kMostRecorded && !recorded_.contains(size)) forget();
  Recorded& recorded = recorded_[size];
  if (!recorded.inputs.defined())
    recorded.inputs = Tensor::empty({static_cast<int64_t>(inputs.size())}, DType::i32, model_.device());
  cuda::copy(recorded.inputs.raw(), model_.device(), inputs.data(), Device::cpu(), inputs.size() * sizeof(int32_t));
  if (ids) {
    Tensor place = recorded.inputs.slice(0, 0, sequences);
    ops::copy_into(place, *ids);
  }
  if (!recorded.graph) {
    try {
      record(size, recorded);
    } catch (...) {
      recorded_.erase(size);
      throw;
    }
  }
  recorded.graph->replay();
  return recorded.out;
}

}  // namespace tenon::models
