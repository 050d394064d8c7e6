#include "decoder.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "../autograd/arithmetic.h"
#include "../autograd/indexing.h"
#include "../autograd/moe.h"
#include "../autograd/norms.h"
#include "../autograd/recompute.h"
#include "../ops/elementwise.h"
#include "../ops/indexing.h"
#include "../runtime/check.h"
#include "../runtime/memory.h"
#include "zoo/family.h"

namespace tenon::models {
namespace {

constexpr const char* kExperts = ".experts.";

GatedMlp make_mlp(const std::string& prefix, int64_t hidden, int64_t inner, bool bias, ParamStore& store, DType dtype,
                  Device device, bool trainable) {
  auto linear = [&](const char* name, int64_t out, int64_t in) {
    Linear l;
    l.weight = &store.create(prefix + name + ".weight", {out, in}, dtype, device, ParamGroup::dense, trainable);
    if (bias) l.bias = &store.create(prefix + name + ".bias", {out}, dtype, device, ParamGroup::dense, trainable);
    return l;
  };
  GatedMlp mlp;
  mlp.gate = linear("gate_proj", inner, hidden);
  mlp.up = linear("up_proj", inner, hidden);
  mlp.down = linear("down_proj", hidden, inner);
  return mlp;
}

// `create(name, shape)` and `linear(name, out, in, bias)` make parameters of the layer.
template <class Create, class MakeLinear>
GroupedQueryAttention make_grouped_query_attention(const ModelConfig& c, int64_t index, Create&& create,
                                                   MakeLinear&& linear) {
  const int64_t d = c.hidden_size, q = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim;
  GroupedQueryAttention a;
  a.q = linear("self_attn.q_proj", q, d, c.attention_bias);
  a.k = linear("self_attn.k_proj", kv, d, c.attention_bias);
  a.v = linear("self_attn.v_proj", kv, d, c.attention_bias);
  a.o = linear("self_attn.o_proj", d, q, c.attention_output_bias);
  if (c.qk_norm != QkNorm::none) {
    const bool heads = c.qk_norm == QkNorm::head;
    a.q_norm = create("self_attn.q_norm.weight", {heads ? c.head_dim : q});
    a.k_norm = create("self_attn.k_norm.weight", {heads ? c.head_dim : kv});
  }
  a.clip = static_cast<float>(c.clip_qkv);
  a.num_heads = c.num_heads;
  a.num_kv_heads = c.num_kv_heads;
  a.head_dim = c.head_dim;
  a.index = index;
  a.eps = static_cast<float>(c.rms_norm_eps);
  a.options.scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
  a.options.window = c.window(index);
  return a;
}

template <class Create, class MakeLinear>
LatentAttention make_latent_attention(const ModelConfig& c, int64_t index, Create&& create, MakeLinear&& linear) {
  const int64_t d = c.hidden_size, q = c.num_heads * c.head_dim;
  LatentAttention a;
  if (c.q_lora_rank > 0) {
    a.q_a = LatentAttention::LowRank{linear("self_attn.q_a_proj", c.q_lora_rank, d, c.attention_bias),
                                     create("self_attn.q_a_layernorm.weight", {c.q_lora_rank})};
    a.q = linear("self_attn.q_b_proj", q, c.q_lora_rank, false);
  } else {
    a.q = linear("self_attn.q_proj", q, d, false);
  }
  a.kv_a = linear("self_attn.kv_a_proj_with_mqa", c.kv_lora_rank + c.qk_rope_head_dim, d, c.attention_bias);
  a.kv_norm = create("self_attn.kv_a_layernorm.weight", {c.kv_lora_rank});
  a.kv_b = linear("self_attn.kv_b_proj", c.num_heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank, false);
  a.o = linear("self_attn.o_proj", d, c.num_heads * c.v_head_dim, c.attention_output_bias);
  a.num_heads = c.num_heads;
  a.kv_rank = c.kv_lora_rank;
  a.nope_dim = c.qk_nope_head_dim;
  a.rope_dim = c.qk_rope_head_dim;
  a.value_dim = c.v_head_dim;
  a.index = index;
  a.options.scale = static_cast<float>(c.rope_scaling.softmax_factor() / std::sqrt(static_cast<double>(c.head_dim)));
  return a;
}

}  // namespace

std::optional<ExpertName> expert_name(const std::string& parameter) {
  size_t at = parameter.find(kExperts);
  if (at == std::string::npos) return std::nullopt;
  at += std::char_traits<char>::length(kExperts);
  return ExpertName{parameter.substr(0, at), "." + parameter.substr(at)};
}

Decoder::Decoder(const ModelConfig& config, ParamStore& store, DType dtype, Device device, bool trainable)
    : config_(config), frequencies_(rope_frequencies(config)), device_(device) {
  check(config.index_topk == 0,
        "{} cannot be run: its attention chooses keys through an indexer, which is missing here "
        "(DeepseekV3ForCausalLM can)",
        config.architecture);
  const int64_t d = config.hidden_size;
  embedding_ =
      &store.create("model.embed_tokens.weight", {config.vocab_size, d}, dtype, device, ParamGroup::dense, trainable);
  int64_t moe = 0;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back(make_layer(i, store, dtype, device, trainable));
    if (config.is_moe_layer(i)) layers_.back().moe_index = moe++;
  }
  final_norm_ = &store.create("model.norm.weight", {d}, dtype, device, ParamGroup::dense, trainable);
  if (config.scalar_head)
    head_ = &store.create("score.weight", {1, d}, dtype, device, ParamGroup::dense, trainable);
  else if (config.tie_word_embeddings)
    head_ = embedding_;
  else
    head_ = &store.create("lm_head.weight", {config.vocab_size, d}, dtype, device, ParamGroup::dense, trainable);
  for (int64_t i = 0; i < config.num_mtp_layers; ++i)
    mtp_.push_back(make_mtp_module(config.num_layers + i, store, dtype, device, trainable));
}

Decoder::Layer Decoder::make_layer(int64_t index, ParamStore& store, DType dtype, Device device, bool trainable) const {
  const ModelConfig& c = config_;
  const int64_t d = c.hidden_size;
  const std::string prefix = "model.layers." + std::to_string(index) + ".";
  auto create = [&](const std::string& name, const Shape& shape, ParamGroup group = ParamGroup::dense) {
    return &store.create(prefix + name, shape, dtype, device, group, trainable);
  };
  auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
    Linear l;
    l.weight = create(name + ".weight", {out, in});
    if (bias) l.bias = create(name + ".bias", {out});
    return l;
  };

  Layer layer;
  layer.input_norm = create("input_layernorm.weight", {d});
  if (c.is_mla())
    layer.attention = make_latent_attention(c, index, create, linear);
  else
    layer.attention = make_grouped_query_attention(c, index, create, linear);
  layer.post_norm = create("post_attention_layernorm.weight", {d});

  const bool further = index >= c.num_layers;  // of a module that predicts a further token: always experts
  if (!further && !c.is_moe_layer(index)) {
    layer.mlp = make_mlp(prefix + "mlp.", d, c.intermediate_size, c.mlp_bias, store, dtype, device, trainable);
    return layer;
  }
  const zoo::WeightNames& names = zoo::family(c.architecture, "config").names;
  const std::string base = std::string(names.moe) + ".";
  const int64_t experts = c.num_experts, inner = c.moe_intermediate_size;
  MoeLayer moe;
  moe.router = linear(base + "gate", experts, d, false);
  if (c.routing_bias)
    moe.selection_bias = &store.create_buffer(prefix + base + "gate.e_score_correction_bias", {experts}, device);
  moe.gate = create(base + "experts." + names.gate_proj + ".weight", {experts, inner, d}, ParamGroup::expert);
  moe.up = create(base + "experts." + names.up_proj + ".weight", {experts, inner, d}, ParamGroup::expert);
  moe.down = create(base + "experts." + names.down_proj + ".weight", {experts, d, inner}, ParamGroup::expert);
  if (c.shared_intermediate_size > 0) {
    moe.shared = make_mlp(prefix + base + names.shared + ".", d, c.shared_intermediate_size, false, store, dtype,
                          device, trainable);
    if (c.shared_expert_gate) moe.shared_gate = linear(base + names.shared + "_gate", 1, d, false);
  }
  moe.num_experts = experts;
  moe.options = c.routing;
  layer.mlp = moe;
  return layer;
}

const ops::RopeTable& Decoder::rope_table_for(int64_t max_position) {
  const int64_t limit = config_.max_position_embeddings;
  check(max_position < limit, "forward: a sequence of {} tokens is longer than the model's context of {}",
        max_position + 1, limit);
  const int64_t needed = max_position < 0 ? limit : max_position + 1;
  const int64_t there = table_.cos.defined() ? table_.cos.dim(0) : 0;
  if (there < needed) {
    // Grown by doubling: a context of 131,072 that nobody uses costs nothing.
    const int64_t size = std::min(limit, std::max({needed, 2 * there, int64_t{1024}}));
    if (there > 0 && !device_.is_cpu()) outgrown_.push_back(table_);
    std::vector<double> inv_freq(frequencies_.inv_freq.begin(), frequencies_.inv_freq.end());
    table_ = ops::rope_table(inv_freq, size, frequencies_.attention_factor);
    table_.cos = table_.cos.to(device_);
    table_.sin = table_.sin.to(device_);
  }
  return table_;
}

Decoder::LayerOut Decoder::run_layer(const Layer& layer, const Var& x, const Var& residual, const Batch& batch,
                                     const ops::RopeTable& table, const Tensor* forced) const {
  const auto eps = static_cast<float>(config_.rms_norm_eps);
  NormResidual in = residual.defined() ? rms_norm_residual(x, residual, layer.input_norm->var(), eps)
                                       : NormResidual{rms_norm(x, layer.input_norm->var(), eps), x};
  Var mixed = std::visit(
      [&](const auto& attention) { return attention(in.y, batch.positions, batch.attention, table); }, layer.attention);
  NormResidual post = rms_norm_residual(mixed, in.sum, layer.post_norm->var(), eps);

  LayerOut out;
  out.residual = post.sum;
  if (const auto* mlp = std::get_if<GatedMlp>(&layer.mlp)) {
    out.x = (*mlp)(post.y);
  } else {
    out.moe = std::get<MoeLayer>(layer.mlp)(post.y, forced);
    out.x = std::exchange(out.moe.y, Var());
  }
  return out;
}

Decoder::LayerOut Decoder::run_layer_recomputed(const Layer& layer, const Var& x, const Var& residual,
                                                const Batch& batch, const ops::RopeTable& table,
                                                const Tensor* forced) const {
  // The second run takes the experts of the first: a choice that fell differently would be another function.
  struct Kept {
    Tensor experts, load;
  };
  auto kept = std::make_shared<Kept>();
  if (forced) kept->experts = *forced;
  Batch tensors;  // what the layer reads of the batch
  tensors.positions = batch.positions;
  tensors.attention = batch.attention;
  auto segment = [this, &layer, tensors, table, kept](const std::vector<Var>& in) {
    LayerOut run = run_layer(layer, in[0], in.size() > 1 ? in[1] : Var(), tensors, table,
                             kept->experts.defined() ? &kept->experts : nullptr);
    std::vector<Var> out = {run.x, run.residual};
    if (run.moe.logits.defined()) {
      out.push_back(run.moe.logits);
      kept->experts = run.moe.experts;
      kept->load = run.moe.load;
    }
    return out;
  };
  std::vector<Var> inputs = {x};
  if (residual.defined()) inputs.push_back(residual);
  std::vector<Var> results = recompute(segment, std::move(inputs));
  LayerOut out;
  out.x = results[0];
  out.residual = results[1];
  if (results.size() > 2) {
    out.moe.logits = results[2];
    out.moe.experts = kept->experts;
    out.moe.load = kept->load;
  }
  return out;
}

void Decoder::check_batch(const Batch& batch) const {
  check(batch.ids.defined() && batch.ids.rank() == 1 && batch.ids.numel() > 0, "forward: the batch has no tokens");
  check(batch.positions.defined() && batch.positions.shape() == batch.ids.shape(),
        "forward: ids {} and positions must have one shape", batch.ids.shape());
  check(batch.attention.cu_seqlens.defined(), "forward: the batch has no cu_seqlens");
  if (const ExpertRoutes* routes = batch.replay_routes) {
    check(static_cast<int64_t>(routes->layers.size()) == config_.num_moe_layers(),
          "forward: routes of {} layers for a model with {} layers of experts", routes->layers.size(),
          config_.num_moe_layers());
    for (const Tensor& t : routes->layers) {
      check(t.rank() == 2 && t.dim(0) == batch.ids.dim(0) && t.dim(1) == config_.experts_per_token,
            "forward: routes {} for {} tokens with {} experts each", t.shape(), batch.ids.dim(0),
            config_.experts_per_token);
    }
  }
}

void Decoder::add_router_losses(const std::vector<MoeOut>& moe, const Tensor& cu_seqlens, const RouterLossCoefs& coefs,
                                Forward& out) const {
  if (moe.empty()) return;
  // One loss over the rows of all layers together, as transformers computes it.
  std::vector<Var> logits;
  std::vector<Tensor> experts;
  for (const MoeOut& m : moe) {
    logits.push_back(m.logits);
    experts.push_back(m.experts);
  }
  Var all_logits = logits.size() == 1 ? logits[0] : concat(logits, 0);
  Tensor all_experts = experts.size() == 1 ? experts[0] : ops::concat(experts, 0);
  out.load_balancing = load_balancing_loss(all_logits, all_experts, config_.num_experts);
  auto add_loss = [&](const Var& loss, double coef) {
    const Var weighted = scale(loss, static_cast<float>(coef));
    out.router_loss = out.router_loss.defined() ? add(out.router_loss, weighted) : weighted;
  };
  if (coefs.aux != 0) add_loss(out.load_balancing, coefs.aux);
  if (coefs.seq_aux != 0) add_loss(sequence_balance(moe, cu_seqlens), coefs.seq_aux);
  if (coefs.z != 0) add_loss(router_z_loss(all_logits), coefs.z);
}

// DeepSeek adds one such loss for every layer. What counts as chosen are the k best scores (arXiv 2412.19437 eq. 18):
// without the bias that selects, without groups, whatever was replayed.
Var Decoder::sequence_balance(const std::vector<MoeOut>& moe, const Tensor& cu_seqlens) const {
  ops::RoutingOptions best = config_.routing;
  best.n_group = best.topk_group = 1;
  Var sum;
  for (const MoeOut& m : moe) {
    const Tensor experts = ops::route(m.logits.value(), nullptr, best).experts;
    const Var loss = sequence_balance_loss(m.logits, experts, cu_seqlens, config_.routing.score);
    sum = sum.defined() ? add(sum, loss) : loss;
  }
  return sum;
}

Forward Decoder::forward(const Batch& batch, const ForwardOptions& options) {
  check_batch(batch);
  MemoryTag tag("activations");
  std::optional<NoGrad> no_grad;
  if (batch.attention.cache) no_grad.emplace();
  const ops::RopeTable table = rope_table_for(batch.max_position);
  const bool recomputed = options.recompute && grad_enabled();

  Forward out;
  std::vector<MoeOut> moe;
  LayerOut stream;
  stream.x = embedding(embedding_->var(), batch.ids);
  auto keep_hidden = [&] {
    if (options.hidden_states) {
      options.hidden_states->push_back(stream.residual.defined() ? ops::add(stream.x.value(), stream.residual.value())
                                                                 : stream.x.value());
    }
  };
  if (options.hidden_states) options.hidden_states->clear();
  if (batch.record_routes) batch.record_routes->layers.clear();
  for (const Layer& layer : layers_) {
    keep_hidden();
    const Tensor* forced = layer.moe_index >= 0 && batch.replay_routes
                               ? &batch.replay_routes->layers[static_cast<size_t>(layer.moe_index)]
                               : nullptr;
    stream = recomputed ? run_layer_recomputed(layer, stream.x, stream.residual, batch, table, forced)
                        : run_layer(layer, stream.x, stream.residual, batch, table, forced);
    if (layer.moe_index < 0) continue;
    out.expert_load.push_back(stream.moe.load);
    if (batch.record_routes) batch.record_routes->layers.push_back(stream.moe.experts);
    if (options.router_losses) moe.push_back(std::move(stream.moe));
  }
  out.hidden =
      rms_norm_residual(stream.x, stream.residual, final_norm_->var(), static_cast<float>(config_.rms_norm_eps)).y;
  if (options.hidden_states) options.hidden_states->push_back(out.hidden.value());
  if (options.mtp) run_mtp(batch, table, recomputed, out);
  if (options.router_losses) {
    const RouterLossCoefs own = {config_.router_aux_loss_coef, config_.router_seq_aux_loss_coef,
                                 config_.router_z_loss_coef};
    add_router_losses(moe, batch.attention.cu_seqlens, options.router_loss_coefs.value_or(own), out);
  }
  return out;
}

}  // namespace tenon::models
