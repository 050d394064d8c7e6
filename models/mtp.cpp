// Modules that predict further tokens (DeepSeek-V3, arXiv 2412.19437 section 2.2): module k joins the hidden state of
// token i at depth k - 1 with the embedding of token i + k, runs one more layer, and predicts token i + k + 1. Depth 0
// is the model itself after its final norm.
#include <algorithm>

#include "../autograd/indexing.h"
#include "../autograd/norms.h"
#include "../ops/indexing.h"
#include "../runtime/check.h"
#include "decoder.h"

namespace tenon::models {
namespace {

std::string prefix_of(int64_t index) { return "model.layers." + std::to_string(index) + "."; }

}  // namespace

bool is_mtp_weight(const std::string& name, int64_t num_layers, int64_t modules) {
  for (int64_t i = 0; i < modules; ++i) {
    if (name.starts_with(prefix_of(num_layers + i))) return true;
  }
  return false;
}

std::vector<std::pair<std::string, std::string>> mtp_shared_copies(const ModelConfig& config) {
  std::vector<std::pair<std::string, std::string>> out;
  for (int64_t i = 0; i < config.num_mtp_layers; ++i) {
    const std::string prefix = prefix_of(config.num_layers + i);
    out.emplace_back(prefix + "embed_tokens.weight", "model.embed_tokens.weight");
    out.emplace_back(prefix + "shared_head.head.weight",
                     config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
  }
  return out;
}

Decoder::MtpModule Decoder::make_mtp_module(int64_t index, ParamStore& store, DType dtype, Device device,
                                            bool trainable) const {
  const int64_t d = config_.hidden_size;
  auto create = [&](const char* name, const Shape& shape) {
    return &store.create(prefix_of(index) + name, shape, dtype, device, ParamGroup::dense, trainable);
  };
  MtpModule out;
  out.embedding_norm = create("enorm.weight", {d});
  out.hidden_norm = create("hnorm.weight", {d});
  out.projection.weight = create("eh_proj.weight", {d, 2 * d});
  out.layer = make_layer(index, store, dtype, device, trainable);
  out.final_norm = create("shared_head.norm.weight", {d});
  return out;
}

void Decoder::run_mtp(const Batch& batch, const ops::RopeTable& table, bool recomputed, Forward& out) const {
  check(!mtp_.empty(), "forward: the model has no modules that predict further tokens");
  check(!batch.attention.cache, "forward: modules that predict further tokens have no cache; they are for training");
  check(batch.starts.size() == static_cast<size_t>(batch.attention.cu_seqlens.numel()),
        "forward: modules that predict further tokens need the batch's starts on the host");
  const auto eps = static_cast<float>(config_.rms_norm_eps);
  // Batch rows of each sequence that depth k - 1 has a hidden state of.
  const std::vector<int32_t>& starts = batch.starts;
  Var previous = out.hidden;
  for (int32_t k = 1; const MtpModule& module : mtp_) {
    // A sequence of n tokens has n - k rows here: its last ones at depth k - 1 know no further token.
    std::vector<int32_t> rows, ahead, kept, cu_seqlens{0};
    int32_t first = 0;  // of the sequence, in `previous`
    for (size_t b = 0; b + 1 < starts.size(); ++b) {
      const int32_t length = starts[b + 1] - starts[b];
      for (int32_t i = 0; i + k < length; ++i) {
        rows.push_back(starts[b] + i);
        ahead.push_back(starts[b] + i + k);
        kept.push_back(first + i);
      }
      cu_seqlens.push_back(static_cast<int32_t>(rows.size()));
      first += std::max(0, length - k + 1);
    }
    if (rows.empty()) return;
    auto on_device = [&](const std::vector<int32_t>& v) { return Tensor::from_vector(v).to(device_); };
    MtpOut result;
    result.target_rows = on_device(ahead);
    const Var next = embedding(embedding_->var(), ops::gather_rows(batch.ids, result.target_rows));
    const Var joined =
        module.projection(concat({rms_norm(next, module.embedding_norm->var(), eps),
                                  rms_norm(gather_rows(previous, on_device(kept)), module.hidden_norm->var(), eps)},
                                 1));
    Batch part;
    part.positions = ops::gather_rows(batch.positions, on_device(rows));
    part.attention.cu_seqlens = on_device(cu_seqlens);
    LayerOut run = recomputed ? run_layer_recomputed(module.layer, joined, Var(), part, table, nullptr)
                              : run_layer(module.layer, joined, Var(), part, table, nullptr);
    previous = rms_norm_residual(run.x, run.residual, module.final_norm->var(), eps).y;
    result.hidden = previous;
    out.mtp.push_back(std::move(result));
    out.expert_load.push_back(run.moe.load);
    ++k;
  }
}

}  // namespace tenon::models
