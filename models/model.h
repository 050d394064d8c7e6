// The decoder: one model class for every family of the zoo, one forward for training, prefill and decoding.
//
// Tokens of several sequences stand one behind the other without padding. In training, attention runs within each
// sequence (cu_seqlens); in generation, new keys and values are written into a paged cache and queries read it through
// a block table. Everything else is the same code, so what the sampler computed and what training computes again agree.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "../autograd/parameters.h"
#include "../autograd/var.h"
#include "../runtime/error.h"
#include "../runtime/tensor.h"
#include "config.h"

namespace tenon::text {
class Tokenizer;
class ChatTemplate;
}  // namespace tenon::text

namespace tenon::models {

class KvCache;

/// The experts that each token was sent to. What record_routes gives, replay_routes takes: weights of the gates are
/// computed anew, the choice is kept.
struct ExpertRoutes {
  std::vector<Tensor> layers;  // one a MoE layer: i32 [tokens, k]
};

struct AttentionContext {
  Tensor cu_seqlens;         // i32 [sequences + 1]: where each sequence's (new) tokens begin
  KvCache* cache = nullptr;  // null: keys are those of this batch
  // With a cache:
  Tensor slots;        // i32 [tokens]: page * 64 + offset that a token's key and value are written to
  Tensor kv_len;       // i32 [sequences]: length including the new tokens
  Tensor block_table;  // i32 [sequences, blocks]: pages of each sequence in order
};

struct Batch {
  Tensor ids;        // i32 [tokens]
  Tensor positions;  // i32 [tokens]: place in its own sequence
  AttentionContext attention;
  int64_t max_position = -1;    // the largest of positions; -1: not known, any the model knows may occur
  std::vector<int32_t> starts;  // attention.cu_seqlens on the host; modules that predict further tokens need them
  const ExpertRoutes* replay_routes = nullptr;  // rows as ids
  ExpertRoutes* record_routes = nullptr;        // written
};

/// A training batch of whole sequences, each beginning at position 0. Throws Error when there is none or one is empty.
Batch pack_sequences(std::span<const std::span<const int32_t>> sequences, Device device = Device::cpu());
Batch pack_sequences(const std::vector<std::vector<int32_t>>& sequences, Device device = Device::cpu());

/// Coefficients of the router's losses.
struct RouterLossCoefs {
  double aux = 0, seq_aux = 0, z = 0;
};

struct ForwardOptions {
  bool recompute =
      false;  // keep only each layer's input, run the layer again in the backward: less memory, a third more time
  bool router_losses = false;                        // compute Forward::router_loss
  std::optional<RouterLossCoefs> router_loss_coefs;  // instead of the config's
  bool mtp = false;  // compute Forward::mtp; needs a model with such modules, and no cache
  std::vector<Tensor>* hidden_states =
      nullptr;  // written: the embeddings, then the stream after each layer, the last after the final norm
};

/// What a module that predicts a further token gives: row j of `hidden` is to be the input of the head for the token
/// that follows batch row target_rows[j].
struct MtpOut {
  Var hidden;          // [rows, hidden_size]
  Tensor target_rows;  // i32 [rows]; depth k has k rows less than each sequence
};

struct Forward {
  Var hidden;          // [tokens, hidden_size], after the final norm; the head's input
  Var router_loss;     // [] f32: the losses times their coefficients; undefined if not asked for, no MoE, or all are 0
  Var load_balancing;  // [] f32 without its coefficient, for the log; undefined if not asked for or no MoE
  // One a MoE layer, with mtp its modules' last: i32 [experts], tokens that each was sent.
  std::vector<Tensor> expert_load;
  std::vector<MtpOut> mtp;  // one a module, if asked for: depths 1, 2, ... (fewer where no sequence is long enough)
};

class Model {
 public:
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const ModelConfig& config() const;
  ParamStore& params();
  const ParamStore& params() const;
  DType dtype() const;  // of the parameters, and with it of activations
  Device device() const;

  /// Hidden states of a batch. Throws Error for ids beyond the vocabulary, positions beyond max_position_embeddings and
  /// routes that do not fit.
  Forward forward(const Batch& batch, const ForwardOptions& options = {});

  /// The weight of the head `[vocab, hidden]`: lm_head, or the embeddings where they are tied. Error for a scalar head.
  Var head_weight();
  /// f32 `[rows]` from rows of Forward::hidden: what a scalar head says of each. Error for a language model.
  Var scores(const Var& hidden);

  /// f32 `[rows, vocab]` from rows of Forward::hidden, for sampling. No gradient.
  Tensor next_logits(const Tensor& hidden);

  /// Null where the folder had none. Read on first use, so a tokenizer with unsupported parts is an Error only for who
  /// needs it.
  std::shared_ptr<const text::Tokenizer> tokenizer() const;
  const text::ChatTemplate* chat_template() const;

  /// For a model made from scratch: its tokenizer, with the chat template of its config; written by save(). Throws
  /// Error when it has more tokens than the model.
  void set_tokenizer(std::shared_ptr<const text::Tokenizer> tokenizer);
  /// Takes tokenizer.json, tokenizer_config.json, the chat template and generation_config.json of another folder.
  void take_tokenizer_files(const std::string& dir);

  /// Files that travel with the weights (name -> bytes): tokenizer, chat template, generation_config.json.
  const std::map<std::string, std::string>& files() const;
  void set_file(const std::string& name, std::string bytes);

  /// The folder it was loaded from; "" for a model made from scratch.
  const std::string& source_dir() const;

  struct Impl;  // internal

 private:
  explicit Model(std::unique_ptr<Impl> impl);
  friend struct ModelAccess;
  std::unique_ptr<Impl> impl_;
};

enum class Initializer {
  huggingface,  // N(0, initializer_range) for all matrices
  fan_in  // N(0, 1/fan_in), what writes into the residual stream divided by sqrt(2 layers), embeddings N(0, 0.5^2)
};

struct CreateOptions {
  Device device = Device::cpu();
  DType dtype = DType::f32;
  uint64_t seed = 0;
  Initializer initializer = Initializer::huggingface;
};

/// A model with random weights. They depend on seed and names alone, not on dtype or threads.
Model create(const ModelConfig& config, const CreateOptions& options = {});

struct LoadOptions {
  Device device = Device::cpu();
  std::optional<DType> dtype;  // f32 or bf16; default: as the files have it (f16: f32; FP8: as the embeddings)
  std::string adapter;         // folder of a LoRA adapter to put on the model (lora.h)
  bool mtp = false;  // modules that predict further tokens (DeepSeek-V3) too; else they are read past, as the log says,
                     // and are not in what is saved
};

/// Opens a Hugging Face folder, or an adapter's folder with the base that it names. Throws one Error that lists every
/// missing, unexpected and mis-shaped tensor. Weights that have the model's dtype are the mapped files themselves until
/// they are written to: the files may be replaced meanwhile (as save() does) but not be overwritten in place.
Model load(const std::string& dir, const LoadOptions& options = {});

/// Gives a model the weights of a folder that it was saved to, or of another model of the same shapes; for a model with
/// an adapter those of the adapter alone. Errors as load().
void reload(Model& model, const std::string& dir);

struct SaveOptions {
  std::optional<DType> dtype;  // f32 writes the masters; default: the model's dtype
  int64_t max_shard_bytes = 5'000'000'000;
};

/// Writes a folder that transformers opens, or peft where the model has an adapter (f32 by default then). It is written
/// beside and renamed, so at every moment `dir` is absent, the old folder or the new one whole. Throws Error, and
/// leaves what is there, when `dir` holds a file that is not a model's.
void save(const Model& model, const std::string& dir, const SaveOptions& options = {});

/// The same files into a folder that is there already, each whole or not at all: for who makes the folder appear whole
/// himself (a trainer's checkpoint).
void write_files(const Model& model, const std::string& dir, const SaveOptions& options = {});

/// A copy, with the adapter if there is one, whose parameters are not trainable: the reference policy.
Model clone(const Model& model);

/// The model with a scalar head in the place of its own: a reward or value model to train. The head's weights are
/// N(0, initializer_range); a scalar head that is there already is taken over. An adapter is merged into the copy.
Model with_scalar_head(const Model& model, uint64_t seed = 0);

/// Which of a sequence's tokens its score is read at: the last that is not padding, as transformers does. (Where
/// the padding token is the end token, that is the token before the end.)
int64_t score_position(std::span<const int32_t> tokens, const ModelConfig& config);

}  // namespace tenon::models
