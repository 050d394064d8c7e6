// The decoder behind Model: its parameters under Hugging Face's names, and the walk through its layers. Internal to
// models/.
//
// The stream of residuals and what the last part wants to add to it travel side by side, so that each addition happens
// in the norm that follows (rms_norm_residual), one pass over memory instead of two.
#pragma once

#include <variant>
#include <vector>

#include "../autograd/parameters.h"
#include "latent_attention.h"
#include "layers.h"
#include "model.h"
#include "rope_frequencies.h"

namespace tenon::models {

class Decoder {
 public:
  /// Creates every parameter (zeros) in the store, in the order of a checkpoint.
  Decoder(const ModelConfig& config, ParamStore& store, DType dtype, Device device, bool trainable);

  Forward forward(const Batch& batch, const ForwardOptions& options);
  /// `[vocab, hidden]`, or of a scalar head `[1, hidden]`.
  Parameter& head() const { return *head_; }

 private:
  struct Layer {
    Parameter *input_norm = nullptr, *post_norm = nullptr;
    std::variant<GroupedQueryAttention, LatentAttention> attention;
    std::variant<GatedMlp, MoeLayer> mlp;
    int64_t moe_index = -1;  // among the layers of experts
  };
  struct LayerOut {
    Var x, residual;  // the stream is x + residual
    MoeOut moe;       // without y
  };

  /// A module that predicts a further token (DeepSeek-V3, arXiv 2412.19437 section 2.2). Embeddings and head are the
  /// model's.
  struct MtpModule {
    Parameter *embedding_norm = nullptr, *hidden_norm = nullptr, *final_norm = nullptr;
    Linear projection;  // [hidden, 2 hidden] of [embedding | hidden]
    Layer layer;
  };

  Layer make_layer(int64_t index, ParamStore& store, DType dtype, Device device, bool trainable) const;
  /// `residual` undefined: the first layer, whose stream is x alone.
  LayerOut run_layer(const Layer& layer, const Var& x, const Var& residual, const Batch& batch,
                     const ops::RopeTable& table, const Tensor* forced) const;
  LayerOut run_layer_recomputed(const Layer& layer, const Var& x, const Var& residual, const Batch& batch,
                                const ops::RopeTable& table, const Tensor* forced) const;
  MtpModule make_mtp_module(int64_t index, ParamStore& store, DType dtype, Device device, bool trainable) const;
  /// Fills out.mtp and appends to out.expert_load. The modules' experts have no part in the router's losses.
  void run_mtp(const Batch& batch, const ops::RopeTable& table, bool recomputed, Forward& out) const;
  void check_batch(const Batch& batch) const;
  const ops::RopeTable& rope_table_for(int64_t max_position);
  void add_router_losses(const std::vector<MoeOut>& moe, const Tensor& cu_seqlens, const RouterLossCoefs& coefs,
                         Forward& out) const;
  Var sequence_balance(const std::vector<MoeOut>& moe, const Tensor& cu_seqlens) const;

  const ModelConfig& config_;
  std::vector<Layer> layers_;
  std::vector<MtpModule> mtp_;
  Parameter *embedding_ = nullptr, *final_norm_ = nullptr, *head_ = nullptr;
  RopeFrequencies frequencies_;
  ops::RopeTable table_;
  std::vector<ops::RopeTable> outgrown_;  // recorded graphs may still read them; together no larger than table_
  Device device_;
};

/// The pieces of the names of a stack of experts, `model.layers.L.MOE.experts.GATE.weight` in the store and
/// `....experts.E.GATE.weight` on disk.
struct ExpertName {
  std::string before, after;  // of the expert's number
};

/// The names on disk of a parameter `[experts, out, in]`, or nothing for every other parameter.
std::optional<ExpertName> expert_name(const std::string& parameter);

/// Whether a weight on disk belongs to one of `modules` modules that predict further tokens: `model.layers.N.` with N
/// from num_layers on.
bool is_mtp_weight(const std::string& name, int64_t num_layers, int64_t modules);

/// Each module's copies on disk of the weights that it shares with the model: (name of the copy, name of the weight).
std::vector<std::pair<std::string, std::string>> mtp_shared_copies(const ModelConfig& config);

}  // namespace tenon::models
