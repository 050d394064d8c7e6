#include "training_cost.h"

#include <algorithm>

#include "../runtime/check.h"

namespace tenon::models {
namespace {

// (query, key) pairs that causal attention of a layer sees in one sequence.
double visible_pairs(int64_t length, int64_t window) {
  const int64_t w = window > 0 ? std::min(window, length) : length;
  return static_cast<double>(w) * static_cast<double>(w + 1) / 2 +
         static_cast<double>(length - w) * static_cast<double>(w);
}

// Per token and layer, in bytes, what the backward of each part needs.
struct Kept {
  double layer = 0;    // the largest layer, of experts where there are some
  double all = 0;      // of all layers
  double between = 0;  // a layer's input: the stream's two halves
};

Kept kept_per_token(const ModelConfig& c, double item) {
  const auto d = static_cast<double>(c.hidden_size), heads = static_cast<double>(c.num_heads),
             q = static_cast<double>(c.num_heads * c.head_dim), kv = static_cast<double>(c.num_kv_heads * c.head_dim),
             mixed = static_cast<double>(c.num_heads * c.value_dim()), v = c.is_mla() ? mixed : kv;
  // Two sums of the stream with their norms; q and k turned, v and what attention gives, its log-sum-exps.
  double common = (4 * d + q + kv + v + mixed) * item + 4 * (2 + heads);
  if (c.is_mla()) common += 2 * static_cast<double>(c.q_lora_rank + c.kv_lora_rank) * item;  // before and after norms
  if (c.qk_norm != QkNorm::none) common += (q + kv) * item;
  if (c.clip_qkv > 0) common += (q + 2 * kv) * item;
  const double dense = common + 3 * static_cast<double>(c.intermediate_size) * item;

  // The router's input in f32, logits and scores; of every expert met its input, gate, up, their product, its result.
  const auto experts = static_cast<double>(c.num_experts), k = static_cast<double>(c.experts_per_token),
             inner = static_cast<double>(c.moe_intermediate_size),
             shared = static_cast<double>(c.shared_intermediate_size);
  double moe = common + (item < 4 ? 4 * d : 0) + 2 * 4 * experts + k * (2 * d + 3 * inner) * item + 3 * shared * item;
  if (c.shared_expert_gate) moe += d * item;

  const auto moe_layers = static_cast<double>(c.num_moe_layers());
  Kept out;
  out.all = moe_layers * moe + static_cast<double>(c.num_layers) * dense - moe_layers * dense;
  out.layer = std::max(moe_layers < static_cast<double>(c.num_layers) ? dense : 0, moe_layers > 0 ? moe : 0);
  out.between = 2 * d * item;
  return out;
}

double activations(const ModelConfig& c, const TrainingSetup& s) {
  const auto item = static_cast<double>(size_of(s.dtype));
  const Kept kept = kept_per_token(c, item);
  const auto tokens = static_cast<double>(std::max(s.tokens_per_micro_batch, s.sequence_length));
  const auto d = static_cast<double>(c.hidden_size);
  // Beside what is kept, the layer under way has gradients of about half of its values at a time.
  double per_token = s.gradient_checkpointing ? static_cast<double>(c.num_layers) * kept.between + 1.5 * kept.layer
                                              : kept.all + 0.5 * kept.layer;
  per_token += 3 * d * item;  // the last norm, and the gradient that the loss gives it
  // The head's gradient is summed apart and added to its own (autograd/head.h).
  return tokens * per_token + 4 * static_cast<double>(c.head_rows()) * d;
}

void check_setup(const ModelConfig& c, const TrainingSetup& s) {
  auto positive = [](const char* what, int64_t value) {
    check(value > 0 && value <= int64_t{1} << 40, "training cost: {} is {}", what, value);
  };
  positive("sequences", s.sequences);
  positive("sequence_length", s.sequence_length);
  positive("ranks", s.ranks);
  positive("tokens_per_micro_batch", s.tokens_per_micro_batch);
  check(s.sequences <= (int64_t{1} << 62) / s.sequence_length, "training cost: {} sequences of {} tokens", s.sequences,
        s.sequence_length);
  check(s.dtype == DType::f32 || s.dtype == DType::bf16, "training cost: {} is not supported; f32 and bf16 are",
        s.dtype);
  check(s.sequences >= s.ranks, "training cost: {} sequences do not give each of {} ranks one", s.sequences, s.ranks);
  check(!s.shard_experts || c.num_experts % s.ranks == 0, "training cost: {} experts do not divide over {} ranks",
        c.num_experts, s.ranks);
}

}  // namespace

TrainingCost training_cost(const ModelConfig& c, const TrainingSetup& s) {
  check_setup(c, s);
  const ModelSize size = size_of(c, s.dtype);
  TrainingCost out;
  out.tokens = s.sequences * s.sequence_length;
  const auto tokens = static_cast<double>(out.tokens);

  // Every parameter of a product is one multiplication and one addition a token; the table of embeddings is looked up.
  const double head = 2 * tokens * static_cast<double>(c.head_rows() * c.hidden_size);
  const double layers = 2 * tokens * static_cast<double>(size.active.layer_products());
  double pairs = 0;
  for (int64_t i = 0; i < c.num_layers; ++i)
    pairs += static_cast<double>(s.sequences) *
             visible_pairs(s.sequence_length, c.index_topk > 0 ? c.index_topk : c.window(i));
  const auto qk = static_cast<double>(c.num_heads * c.head_dim), v = static_cast<double>(c.num_heads * c.value_dim());
  double mixing = 2 * pairs * (qk + v), mixing_backward = 2 * pairs * (3 * qk + 2 * v);
  if (c.index_topk > 0) {  // the indexer scores every key
    const double scores = 2 * static_cast<double>(s.sequences * c.num_layers) * visible_pairs(s.sequence_length, 0) *
                          static_cast<double>(c.index_heads * c.index_head_dim);
    mixing += scores;
    mixing_backward += 2 * scores;
  }
  out.forward_flops = head + layers + mixing;
  out.backward_flops = 2 * (head + layers) + mixing_backward;
  out.attention_flops = mixing + mixing_backward;
  if (s.gradient_checkpointing) {
    out.recompute_flops = layers + mixing;
    out.attention_flops += mixing;
  }

  const int64_t experts = size.all.experts / (s.shard_experts ? s.ranks : 1);
  const int64_t replicated = size.parameters - size.all.experts;
  const int64_t held = replicated + experts;
  // The optimizer's state of replicated parameters, experts among them unless they are sharded already.
  const int64_t divided = s.shard_experts ? replicated : held;
  const int64_t state = s.shard_optimizer ? (divided + s.ranks - 1) / s.ranks + held - divided : held;
  out.weight_bytes = held * static_cast<int64_t>(size_of(s.dtype));
  out.gradient_bytes = held * 4;
  out.optimizer_bytes = state * optimizer_bytes_per_parameter(s.dtype);
  out.activation_bytes = static_cast<int64_t>(activations(c, s));
  return out;
}

}  // namespace tenon::models
