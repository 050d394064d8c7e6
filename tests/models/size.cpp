// Parameters, memory and arithmetic from a config alone: against what publishers state, against the store, and against
// what the allocator measures.
#include <gtest/gtest.h>

#include "../../autograd/head.h"
#include "../../models/training_cost.h"
#include "../../runtime/files.h"
#include "../../runtime/json.h"
#include "../../runtime/memory.h"
#include "../../runtime/random.h"
#include "../test_data.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

using models::ModelConfig;
using models::ModelSize;
using models::TrainingCost;

struct Known {
  const char* name;
  int64_t parameters;
  double active_billions;  // as its publisher states it; 0: all
};

void expect_size(const ModelConfig& config, const Known& known) {
  const ModelSize size = models::size_of(config, DType::bf16);
  EXPECT_EQ(size.parameters, known.parameters) << known.name;
  // Some publishers leave the table of embeddings out of what is active, some don't.
  if (known.active_billions == 0) {
    EXPECT_EQ(size.active_parameters, size.parameters) << known.name;
  } else {
    const auto table = static_cast<double>(config.vocab_size * config.hidden_size);
    const auto active = static_cast<double>(size.active_parameters);
    EXPECT_LT(active - 2 * table, known.active_billions * 1.02e9) << known.name;
    EXPECT_GT(active, known.active_billions * 0.98e9) << known.name;
  }
}

// Parameters: what transformers 5.23 counts in a model of the file, which is what the models' pages at Hugging Face
// show (DeepSeek's pages add the module that predicts a second token). Active ones: arXiv 2412.19437 (37 B), 2405.04434
// (21 B), 2505.09388 (22 B, 3 B), 2401.04088 (13 B), Mistral's note on 8x22B (39 B), 2502.16982 (2.24 B).
TEST(Size, OfPublishedModels) {
  for (const Known& known : {Known{"Qwen--Qwen3-0.6B", 596'049'920, 0},
                             {"Qwen--Qwen3-8B", 8'190'735'360, 0},
                             {"Qwen--Qwen3-32B", 32'762'123'264, 0},
                             {"Qwen--Qwen3-30B-A3B", 30'532'122'624, 3.3},
                             {"Qwen--Qwen3-235B-A22B", 235'093'634'560, 22},
                             {"meta-llama--Meta-Llama-3.1-8B", 8'030'261'248, 0},
                             {"meta-llama--Meta-Llama-3.1-70B", 70'553'706'496, 0},
                             {"mistralai--Mixtral-8x7B-v0.1", 46'702'792'704, 12.9},
                             {"mistralai--Mixtral-8x22B-v0.1", 140'620'634'112, 39},
                             {"veomni_Llama3-8B", 8'030'261'248, 0},
                             {"veomni_Qwen2-0.5B", 494'032'768, 0},
                             {"veomni_Qwen2-7B", 7'615'616'512, 0},
                             {"deepseek-ai--DeepSeek-V3", 671'026'404'352, 37},
                             {"deepseek-ai--DeepSeek-R1", 671'026'404'352, 37},
                             {"deepseek-ai--DeepSeek-V3.2", 671'877'929'216, 37},
                             {"veomni_DeepseekV2_236B", 235'741'434'880, 21},
                             {"veomni_DeepseekV3_16B", 15'960'108'544, 2.24}}) {
    auto path = data_path("configs/" + std::string(known.name) + ".config.json");
    if (!path) GTEST_SKIP() << "no test data";
    expect_size(models::config_from_json(read_file(*path), *path), known);
  }
}

Json published(const char* architecture, const char* type, int64_t vocab, int64_t hidden, int64_t inner, int64_t layers,
               int64_t heads, int64_t kv_heads) {
  return {{"architectures", {architecture}},
          {"model_type", type},
          {"vocab_size", vocab},
          {"hidden_size", hidden},
          {"intermediate_size", inner},
          {"num_hidden_layers", layers},
          {"num_attention_heads", heads},
          {"num_key_value_heads", kv_heads},
          {"hidden_act", "silu"},
          {"rope_theta", 10000},
          {"torch_dtype", "bfloat16"}};
}

Json with(Json config, const Json& more) {
  config.update(more);
  return config;
}

// As above, for models whose files are not among the test data: their keys as published, without those that say nothing
// about sizes. Active ones: Qwen1.5-MoE's announcement (2.7 B), arXiv 2409.02060 (1.3 B).
TEST(Size, OfDistilledAndOlderModels) {
  const Json llama3_scaling = {{"factor", 8.0},
                               {"high_freq_factor", 4.0},
                               {"low_freq_factor", 1.0},
                               {"original_max_position_embeddings", 8192},
                               {"rope_type", "llama3"}};
  const Json llama3 = {{"rope_theta", 500000.0}, {"rope_scaling", llama3_scaling}, {"max_position_embeddings", 131072}};
  const Json qwen = {{"use_sliding_window", false}, {"sliding_window", 4096}, {"use_mrope", false}};
  const std::vector<std::pair<Json, Known>> models = {
      {with(published("Qwen2ForCausalLM", "qwen2", 151936, 1536, 8960, 28, 12, 2), qwen),
       {"R1-Distill-Qwen-1.5B", 1'777'088'000, 0}},
      {with(published("Qwen2ForCausalLM", "qwen2", 152064, 3584, 18944, 28, 28, 4), qwen),
       {"R1-Distill-Qwen-7B", 7'615'616'512, 0}},
      {with(published("Qwen2ForCausalLM", "qwen2", 152064, 5120, 13824, 48, 40, 8), qwen),
       {"R1-Distill-Qwen-14B", 14'770'033'664, 0}},
      {with(published("Qwen2ForCausalLM", "qwen2", 152064, 5120, 27648, 64, 40, 8), qwen),
       {"R1-Distill-Qwen-32B", 32'763'876'352, 0}},
      {with(published("LlamaForCausalLM", "llama", 128256, 4096, 14336, 32, 32, 8), llama3),
       {"R1-Distill-Llama-8B", 8'030'261'248, 0}},
      {with(published("LlamaForCausalLM", "llama", 128256, 8192, 28672, 80, 64, 8), llama3),
       {"R1-Distill-Llama-70B", 70'553'706'496, 0}},
      {published("LlamaForCausalLM", "llama", 32000, 4096, 11008, 32, 32, 32), {"Llama-2-7B", 6'738'415'616, 0}},
      {published("LlamaForCausalLM", "llama", 32000, 8192, 28672, 80, 64, 8), {"Llama-2-70B", 68'976'648'192, 0}},
      {with(published("MistralForCausalLM", "mistral", 32000, 4096, 14336, 32, 32, 8), {{"sliding_window", 4096}}),
       {"Mistral-7B-v0.1", 7'241'732'096, 0}},
      {with(published("Qwen2MoeForCausalLM", "qwen2_moe", 151936, 2048, 5632, 24, 16, 16),
            {{"num_experts", 60},
             {"num_experts_per_tok", 4},
             {"moe_intermediate_size", 1408},
             {"shared_expert_intermediate_size", 5632},
             {"decoder_sparse_step", 1},
             {"norm_topk_prob", false}}),
       {"Qwen1.5-MoE-A2.7B", 14'315'784'192, 2.7}},
      {with(published("OlmoeForCausalLM", "olmoe", 50304, 2048, 1024, 16, 16, 16),
            {{"num_experts", 64}, {"num_experts_per_tok", 8}, {"norm_topk_prob", false}, {"clip_qkv", nullptr}}),
       {"OLMoE-1B-7B-0924", 6'919'161'856, 1.3}},
  };
  for (const auto& [json, known] : models) {
    const ModelConfig config = models::config_from_json(json.dump(), known.name);
    expect_size(config, known);

    // The same as transformers 5 writes it.
    Json renamed = json;
    renamed["rope_parameters"] = json.value("rope_scaling", Json{{"rope_type", "default"}});
    renamed["rope_parameters"]["rope_theta"] = json["rope_theta"];
    renamed["dtype"] = json["torch_dtype"];
    for (const char* key : {"rope_scaling", "rope_theta", "torch_dtype"}) renamed.erase(key);
    ModelConfig old_style = config, new_style = models::config_from_json(renamed.dump(), known.name);
    EXPECT_EQ(old_style.dtype, "bfloat16");
    old_style.raw_json = new_style.raw_json = "";
    EXPECT_EQ(models::config_to_json(old_style), models::config_to_json(new_style)) << known.name;
  }
}

TEST(Size, OfLatentAttention) {
  auto path = data_path("configs/deepseek-ai--DeepSeek-V3.config.json");
  if (!path) GTEST_SKIP() << "no test data";
  ModelConfig config = models::config_from_json(read_file(*path), *path);
  models::ModelSize size = models::size_of(config, DType::bf16);
  EXPECT_NEAR(static_cast<double>(size.active_parameters), 37e9, 1e9);  // arXiv 2412.19437
  EXPECT_EQ(size.kv_bytes_per_token, 61 * 576 * 2);                     // 512 + 64 numbers a layer
  EXPECT_EQ(config.head_dim, 192);
  EXPECT_EQ(config.rotary_dim(), 64);
  EXPECT_EQ(config.num_mtp_layers, 1);
  // arXiv 2309.00071 and DeepSeek's code: 0.1 ln 40 + 1, squared on the softmax and out of cos and sin.
  EXPECT_NEAR(config.rope_scaling.softmax_factor(), 1.3688879454 * 1.3688879454, 1e-9);
  EXPECT_EQ(config.rope_scaling.rotation_factor(), 1);
}

TEST(Size, ActiveParametersAndMemory) {
  ModelConfig c;
  c.architecture = "Dots1ForCausalLM";
  c.model_type = "dots1";
  c.vocab_size = 82;
  c.hidden_size = 64;
  c.num_layers = 3;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 32;
  c.intermediate_size = 128;
  c.moe_layer = {true, true, true};
  c.num_experts = 8;
  c.experts_per_token = c.routing.top_k = 2;
  c.moe_intermediate_size = c.shared_intermediate_size = 64;
  // The miniature teacher of the recipe: 417,984 parameters, 196,800 active, counted without norms of heads.
  ModelSize size = models::size_of(c, DType::f32);
  EXPECT_EQ(size.parameters, 417'984);
  EXPECT_EQ(size.active_parameters, 196'800);
  EXPECT_EQ(size.kv_bytes_per_token, 3 * 2 * 64 * 4);
  EXPECT_EQ(size.training_bytes, 417'984 * 16);
  EXPECT_EQ(models::size_of(c, DType::bf16).training_bytes, 417'984 * 18);
}

models::ParameterCount count_of_store(models::Model& model) {
  models::ParameterCount out;
  for (const auto& p : model.params().all()) {
    const std::string& name = p->name();
    auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
    int64_t& part = has("norm")                                        ? out.norms
                    : name.ends_with(".bias")                          ? out.biases
                    : has("embed_tokens") || has("lm_head")            ? out.embeddings
                    : has(".experts.")                                 ? out.experts
                    : has("shared_expert")                             ? out.shared
                    : has("self_attn")                                 ? out.attention
                    : has("mlp.gate.") || has("block_sparse_moe.gate") ? out.router
                                                                       : out.dense_mlp;
    part += p->shape().numel();
  }
  return out;
}

TEST(Size, IsThatOfTheStorePartByPart) {
  for (const std::string& family : oracle_families()) {
    models::Model model = models::load(oracle_dir(family));
    const models::ParameterCount all = models::size_of(model.config(), DType::f32).all, store = count_of_store(model);
    EXPECT_EQ(all.total(), model.params().numel()) << family;
    EXPECT_EQ(all.embeddings, store.embeddings) << family;
    EXPECT_EQ(all.attention, store.attention) << family;
    EXPECT_EQ(all.dense_mlp, store.dense_mlp) << family;
    EXPECT_EQ(all.experts, store.experts) << family;
    EXPECT_EQ(all.shared, store.shared) << family;
    EXPECT_EQ(all.router, store.router) << family;
    EXPECT_EQ(all.biases, store.biases) << family;
    EXPECT_EQ(all.norms, store.norms) << family;
  }
}

// Counted anew from the store's matrices and from each query's keys.
TEST(TrainingCost, ArithmeticIsThatOfTheMatricesAndTheVisibleKeys) {
  for (const std::string& family : oracle_families()) {
    models::Model model = models::load(oracle_dir(family));
    const ModelConfig& c = model.config();
    models::TrainingSetup setup{.sequences = 3, .sequence_length = 20, .tokens_per_micro_batch = 20};
    double products = 0;
    for (const auto& p : model.params().all()) {
      const bool table = p->name() == "model.embed_tokens.weight" && !c.tie_word_embeddings;
      if (p->shape().rank() < 2 || table) continue;
      const double share = p->shape().rank() == 3 ? static_cast<double>(c.experts_per_token) / c.num_experts : 1;
      products += share * 2 * static_cast<double>(p->shape().numel()) * 60;
    }
    double pairs = 0;
    for (int64_t layer = 0; layer < c.num_layers; ++layer)
      for (int64_t t = 0; t < 20; ++t)
        pairs += 3.0 * static_cast<double>(c.window(layer) > 0 ? std::min(t + 1, c.window(layer)) : t + 1);
    const double keys = pairs * static_cast<double>(c.num_heads * c.head_dim),
                 values = pairs * static_cast<double>(c.num_heads * c.value_dim());
    TrainingCost cost = models::training_cost(c, setup);
    EXPECT_NEAR(cost.forward_flops, products + 2 * (keys + values), 1) << family;
    EXPECT_NEAR(cost.backward_flops, 2 * products + 2 * (3 * keys + 2 * values), 1) << family;
    EXPECT_EQ(cost.recompute_flops, 0);
    setup.gradient_checkpointing = true;
    cost = models::training_cost(c, setup);
    EXPECT_NEAR(cost.recompute_flops, cost.forward_flops - 2.0 * 60 * c.vocab_size * c.hidden_size, 1) << family;
    EXPECT_NEAR(cost.attention_flops, 2 * (5 * keys + 4 * values), 1) << family;
  }
}

TEST(TrainingCost, WhatRanksHold) {
  const ModelConfig c = models::load_config(oracle_dir("mixtral"));  // 4 experts
  const ModelSize size = models::size_of(c, DType::bf16);
  const int64_t experts = size.all.experts, others = size.parameters - experts;
  models::TrainingSetup setup{.sequences = 8, .sequence_length = 64, .ranks = 4};
  TrainingCost cost = models::training_cost(c, setup);
  EXPECT_EQ(cost.tokens, 512);
  EXPECT_EQ(cost.weight_bytes + cost.gradient_bytes + cost.optimizer_bytes, size.training_bytes);
  setup.shard_optimizer = true;
  cost = models::training_cost(c, setup);
  EXPECT_EQ(cost.weight_bytes, size.weight_bytes);
  EXPECT_EQ(cost.optimizer_bytes, size.parameters / 4 * 12);
  setup.shard_experts = true;
  cost = models::training_cost(c, setup);
  EXPECT_EQ(cost.weight_bytes, (others + experts / 4) * 2);
  EXPECT_EQ(cost.gradient_bytes, (others + experts / 4) * 4);
  EXPECT_EQ(cost.optimizer_bytes, (others / 4 + experts / 4) * 12);

  setup.ranks = 3;
  EXPECT_THROW(models::training_cost(c, setup), Error);  // 4 experts on 3 ranks
  EXPECT_THROW(models::training_cost(c, {.sequences = 1, .ranks = 2}), Error);
  EXPECT_THROW(models::training_cost(c, {.sequences = 0}), Error);
  EXPECT_THROW(models::training_cost(c, {.dtype = DType::f16}), Error);
}

// One micro-batch of the real thing.
int64_t measured_activations(const ModelConfig& config, const models::TrainingSetup& setup) {
  models::Model model = models::create(config, {.dtype = setup.dtype});
  for (const auto& p : model.params().all()) p->grad();
  std::vector<int32_t> ids(static_cast<size_t>(setup.sequence_length));
  Rng rng(1, 0);
  for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.vocab_size)));
  const models::Batch batch = models::pack_sequences({ids});
  auto step = [&] {
    models::Forward out =
        model.forward(batch, {.recompute = setup.gradient_checkpointing, .router_losses = config.is_moe()});
    backward(cross_entropy(out.hidden, model.head_weight(), Tensor::from_vector(ids)));
  };
  step();  // makes the packed copies of weights and the tables
  const size_t before = memory_current(Device::cpu());
  reset_peak(Device::cpu());
  step();
  return static_cast<int64_t>(memory_peak(Device::cpu()) - before);
}

TEST(TrainingCost, ActivationsAreAboutWhatTheAllocatorGivesOut) {
  ModelConfig dense;
  dense.vocab_size = 256;
  dense.hidden_size = 128;
  dense.num_layers = 6;
  dense.num_heads = 4;
  dense.num_kv_heads = 2;
  dense.head_dim = 32;
  dense.intermediate_size = 384;
  ModelConfig moe = dense;
  moe.architecture = "Qwen2MoeForCausalLM";
  moe.model_type = "qwen2_moe";
  moe.attention_bias = true;
  moe.moe_layer.assign(6, true);
  moe.num_experts = 8;
  moe.experts_per_token = moe.routing.top_k = 2;
  moe.moe_intermediate_size = moe.shared_intermediate_size = 96;
  moe.shared_expert_gate = true;
  ModelConfig latent = moe;
  latent.architecture = "DeepseekV3ForCausalLM";
  latent.model_type = "deepseek_v3";
  latent.attention_bias = latent.shared_expert_gate = false;
  latent.routing.score = ops::RouterScore::sigmoid;
  latent.routing_bias = true;
  latent.num_kv_heads = 4;
  latent.q_lora_rank = 48;
  latent.kv_lora_rank = 32;
  latent.qk_nope_head_dim = 24;
  latent.qk_rope_head_dim = 8;
  latent.v_head_dim = 24;
  for (const ModelConfig& config : {dense, moe, latent})
    for (bool checkpointing : {false, true}) {
      const models::TrainingSetup setup{.sequences = 1,
                                        .sequence_length = 512,
                                        .dtype = DType::f32,
                                        .tokens_per_micro_batch = 512,
                                        .gradient_checkpointing = checkpointing};
      const auto estimate = static_cast<double>(models::training_cost(config, setup).activation_bytes);
      const auto measured = static_cast<double>(measured_activations(config, setup));
      // Size classes of the allocator, indices, and gradients under way are reckoned roughly or not at all.
      EXPECT_NEAR(estimate / measured, 1, 0.25)
          << config.architecture << (checkpointing ? " recomputed" : "") << ": " << estimate << " against " << measured;
    }
}

}  // namespace
}  // namespace tenon::testing
