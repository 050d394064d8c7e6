// Weights that somebody else trained or wrote, small enough to be at hand: a bf16 Llama in Hugging Face's names and the
// stories260K of llama2.c.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "../../autograd/head.h"
#include "../../models/generation/generator.h"
#include "../../runtime/files.h"
#include "../temp_dir.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

namespace fs = std::filesystem;

// By transformers 5.23 in f32 on the same bf16 weights, for the 40 tokens below.
constexpr int64_t kVerlParameters = 795'776;
constexpr double kVerlLoss = 2.767267;
const std::vector<float> kVerlLogits = {-0.367498f, 0.122253f, -0.458090f, -0.196286f, 0.002153f,  -0.102967f,
                                        -0.201187f, 0.064860f, -0.004988f, -0.120945f, -0.197219f, 0.154863f,
                                        0.333594f,  0.004575f, -0.186239f, -0.391360f};

TEST(RealWeights, ABf16FolderOfLlamaAsTransformersReadsIt) {
  auto config = data_path("models/verl_arith_config.json"), weights = data_path("models/verl_arith_llama.safetensors");
  if (!config || !weights) GTEST_SKIP() << "no test data";
  TempDir temp;
  fs::copy_file(*config, temp / "config.json");
  fs::copy_file(*weights, temp / "model.safetensors");
  EXPECT_EQ(models::load(temp.path()).dtype(), DType::bf16);

  models::Model model = models::load(temp.path(), {.dtype = DType::f32});
  EXPECT_EQ(model.params().numel(), kVerlParameters);
  std::vector<int32_t> ids, targets;
  for (int32_t i = 0; i < 40; ++i) ids.push_back((7 * i + 3) % 16);
  targets.assign(ids.begin() + 1, ids.end());
  targets.push_back(-100);
  NoGrad no_grad;
  const Var hidden = model.forward(models::pack_sequences({ids})).hidden;
  // Sums in another order.
  EXPECT_NEAR(cross_entropy(hidden, model.head_weight(), Tensor::from_vector(targets)).value().item<float>(), kVerlLoss,
              1e-5);
  EXPECT_LT(relative_error(floats(model.next_logits(hidden.value().slice(0, 39, 40))), kVerlLogits), 1e-4);

  models::save(models::load(temp.path()), temp / "again");
  const Safetensors before = Safetensors::open(*weights), after = Safetensors::open(temp / "again/model.safetensors");
  ASSERT_EQ(before.entries().size(), after.entries().size());
  for (const SafetensorsEntry& e : before.entries()) {
    const Tensor x = before.tensor(e.name), y = after.tensor(e.name);
    ASSERT_EQ(x.nbytes(), y.nbytes()) << e.name;
    EXPECT_EQ(std::memcmp(x.raw(), y.raw(), x.nbytes()), 0) << e.name;
  }
}

/// The numbers of a llama2.c file one after the other.
class Reader {
 public:
  explicit Reader(std::string bytes) : bytes_(std::move(bytes)) {}

  template <class T>
  T next() {
    T value;
    check_left(sizeof(T));
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }
  Tensor floats(const Shape& shape) {
    Tensor t = Tensor::empty(shape, DType::f32);
    check_left(t.nbytes());
    std::memcpy(t.raw(), bytes_.data() + at_, t.nbytes());
    at_ += t.nbytes();
    return t;
  }
  std::string text(size_t size) {
    check_left(size);
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }

 private:
  void check_left(size_t size) const {
    if (bytes_.size() - at_ < size) throw Error("the file ends too early");
  }
  std::string bytes_;
  size_t at_ = 0;
};

// llama2.c turns neighbouring rows of a head (2i, 2i + 1), we turn (i, i + dim/2): the same with rows in another order.
Tensor halves(const Tensor& weight, int64_t heads) {
  const int64_t dim = weight.dim(0) / heads, in = weight.dim(1);
  Tensor out = Tensor::like(weight);
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < dim; ++i) {
      const int64_t to = h * dim + i / 2 + (i % 2) * dim / 2;
      std::copy_n(weight.data<float>() + (h * dim + i) * in, in, out.data<float>() + to * in);
    }
  return out;
}

// Version 0 of llama2.c: seven integers, then the weights by kind, each of all layers.
models::Model read_llama2c(const std::string& path) {
  Reader file(read_file(path));
  models::ModelConfig c;
  c.hidden_size = file.next<int32_t>();
  c.intermediate_size = file.next<int32_t>();
  c.num_layers = file.next<int32_t>();
  c.num_heads = file.next<int32_t>();
  c.num_kv_heads = file.next<int32_t>();
  c.vocab_size = file.next<int32_t>();  // negative: a head of its own, which this file lacks
  c.max_position_embeddings = file.next<int32_t>();
  c.head_dim = c.hidden_size / c.num_heads;
  c.tie_word_embeddings = true;
  c.rms_norm_eps = 1e-5;
  c.bos_token_id = 1;
  models::Model model = models::create(c);

  auto assign = [&](const std::string& name, const Tensor& value) { model.params().at(name).assign(value); };
  auto layers = [&](const std::string& name, int64_t out, int64_t in, int64_t heads = 0) {
    for (int64_t i = 0; i < c.num_layers; ++i) {
      Tensor t = in > 0 ? file.floats({out, in}) : file.floats({out});
      assign("model.layers." + std::to_string(i) + "." + name + ".weight", heads > 0 ? halves(t, heads) : t);
    }
  };
  const int64_t d = c.hidden_size, kv = c.num_kv_heads * c.head_dim;
  assign("model.embed_tokens.weight", file.floats({c.vocab_size, d}));
  layers("input_layernorm", d, 0);
  layers("self_attn.q_proj", d, d, c.num_heads);
  layers("self_attn.k_proj", kv, d, c.num_kv_heads);
  layers("self_attn.v_proj", kv, d);
  layers("self_attn.o_proj", d, d);
  layers("post_attention_layernorm", d, 0);
  layers("mlp.gate_proj", c.intermediate_size, d);
  layers("mlp.down_proj", d, c.intermediate_size);
  layers("mlp.up_proj", c.intermediate_size, d);
  assign("model.norm.weight", file.floats({d}));
  return model;
}

TEST(RealWeights, Stories260KTellsItsStory) {
  auto weights = data_path("models/stories260K.bin"), vocabulary = data_path("models/tok512.bin");
  if (!weights || !vocabulary) GTEST_SKIP() << "no test data";
  models::Model model = read_llama2c(*weights);
  {
    NoGrad no_grad;
    const std::vector<float> logits =
        floats(model.next_logits(model.forward(models::pack_sequences({{1}})).hidden.value()));
    EXPECT_EQ(std::max_element(logits.begin(), logits.end()) - logits.begin(), 403);
    EXPECT_NEAR(logits[403], 17.0235, 1e-4);  // as published, to four digits
  }
  models::GenerateRequest r;
  r.prompt = {1};
  r.sampling.temperature = 0;
  r.max_new_tokens = 80;
  const models::Completion story = models::Generator(model).generate(std::span(&r, 1))[0];

  Reader file(read_file(*vocabulary));
  file.next<int32_t>();  // length of the longest piece
  std::vector<std::string> pieces;
  for (int64_t i = 0; i < model.config().vocab_size; ++i) {
    file.next<float>();
    pieces.push_back(file.text(static_cast<size_t>(file.next<int32_t>())));
  }
  std::string text;
  for (int32_t token : story.tokens) text += pieces[static_cast<size_t>(token)];
  const std::string begins =
      " Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw "
      "a "
      "big, red ball.";
  EXPECT_EQ(text.substr(0, begins.size()), begins);
}

}  // namespace
}  // namespace tenon::testing
