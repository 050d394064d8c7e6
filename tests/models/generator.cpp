// Generation: results that depend on nothing but the request, log-probabilities that training agrees with, a cache that
// is shared and given back.
#include "../../models/generation/generator.h"

#include <gtest/gtest.h>

#include <map>

#include "../../models/generation/kv_cache.h"
#include "../../models/model_size.h"
#include "../../models/text/tokenizer.h"
#include "../../ops/loss_head.h"
#include "../../runtime/random.h"
#include "oracle.h"

namespace tenon::testing {
namespace {

using models::Completion;
using models::FinishReason;
using models::GenerateRequest;
using models::Generator;
using models::GeneratorOptions;

models::Model load(const std::string& family, DType dtype = DType::f32) {
  return models::load(oracle_dir(family), {.dtype = dtype});
}

// Prompts of many lengths, on both sides of the pages' borders.
std::vector<GenerateRequest> requests(int num_samples, int64_t max_new_tokens) {
  std::vector<GenerateRequest> out;
  uint64_t id = 0;
  for (int64_t length : {1, 3, 63, 64, 65, 100, 128, 17}) {
    GenerateRequest r;
    Rng rng(7, id);
    for (int64_t i = 0; i < length; ++i) r.prompt.push_back(static_cast<int32_t>(3 + rng.below(61)));
    r.num_samples = num_samples;
    r.max_new_tokens = max_new_tokens;
    r.seed = 11;
    r.id = id++;
    out.push_back(r);
  }
  return out;
}

void expect_equal(const std::vector<Completion>& a, const std::vector<Completion>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].request, b[i].request) << what;
    EXPECT_EQ(a[i].sample, b[i].sample) << what;
    EXPECT_EQ(a[i].tokens, b[i].tokens) << what << ", completion " << i;
    EXPECT_EQ(a[i].logprobs, b[i].logprobs) << what << ", completion " << i;
    EXPECT_EQ(a[i].finish, b[i].finish) << what;
  }
}

std::vector<Completion> run(models::Model& model, const std::vector<GenerateRequest>& r,
                            GeneratorOptions options = {}) {
  return Generator(model, options).generate(r);
}

class Generation : public ::testing::TestWithParam<std::tuple<std::string, DType>> {
 protected:
  models::Model model_ = load(std::get<0>(GetParam()), std::get<1>(GetParam()));
};

TEST_P(Generation, DoesNotDependOnBatchCacheOrNeighbours) {
  std::vector<GenerateRequest> all = requests(3, 20);
  std::vector<Completion> whole = run(model_, all, {.max_batch = 64});
  ASSERT_EQ(whole.size(), all.size() * 3);
  const auto page = static_cast<size_t>(models::KvCache::page_bytes(model_.config(), model_.dtype()));

  expect_equal(run(model_, all, {.max_batch = 1}), whole, "one at a time");
  expect_equal(run(model_, all, {.max_batch = 5}), whole, "five at a time");
  expect_equal(run(model_, all, {.max_batch = 64, .cache_bytes = 6 * page}), whole, "a small cache");
  expect_equal(run(model_, all, {.max_batch = 64, .prefill_tokens = 7}), whole, "short chunks of prefill");
  expect_equal(run(model_, all, {.max_batch = 64, .record_routes = true}), whole, "recording routes");

  std::vector<Completion> apart;
  for (size_t i = 0; i < all.size(); ++i) {
    for (Completion& c : run(model_, {all[i]})) {
      c.request = i;
      apart.push_back(std::move(c));
    }
  }
  expect_equal(apart, whole, "each request alone");

  // A second run of one generator, whose cache holds the first one's leftovers.
  Generator again(model_, {.max_batch = 9});
  again.generate(std::span(all).subspan(4));
  expect_equal(again.generate(all), whole, "with a used cache");
}

TEST_P(Generation, TrainingComputesTheSameLogProbabilities) {
  std::vector<GenerateRequest> all = requests(2, 24);
  for (GenerateRequest& r : all) r.sampling.temperature = 0.8f;
  std::vector<Completion> completions = run(model_, all, {.max_batch = 6, .record_routes = true});
  for (const Completion& c : completions) {
    std::vector<int32_t> sequence = all[c.request].prompt, targets;
    sequence.insert(sequence.end(), c.tokens.begin(), c.tokens.end());
    targets.assign(sequence.begin() + 1, sequence.end());
    sequence.pop_back();
    models::Batch batch = models::pack_sequences({sequence});
    if (model_.config().is_moe()) batch.replay_routes = &c.routes;
    NoGrad no_grad;
    models::Forward out = model_.forward(batch);
    ops::TokenLogProbs head = ops::token_logprobs(out.hidden.value(), model_.head_weight().value(),
                                                  Tensor::from_vector(targets), 0.8f, false);
    std::vector<float> trained = head.logprob.to_vector<float>();
    trained.erase(trained.begin(), trained.begin() + static_cast<int64_t>(all[c.request].prompt.size()) - 1);
    if (!model_.config().is_mla()) {
      EXPECT_EQ(trained, c.logprobs) << "request " << c.request << " sample " << c.sample;
      continue;
    }
    // Latent attention decodes in absorbed form. f32: the same sums in another order. bf16: queries and results pass
    // through the latent space and are rounded there, so some dozen roundings of 2^-9 differ on the way to logits that
    // reach 7.
    const float bound = model_.dtype() == DType::f32 ? 5e-5f : 0.15f;
    ASSERT_EQ(trained.size(), c.logprobs.size());
    for (size_t i = 0; i < trained.size(); ++i) EXPECT_NEAR(trained[i], c.logprobs[i], bound) << "token " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Generation,
                         ::testing::Combine(::testing::Values("llama", "mistral", "qwen3", "qwen2_moe", "dots1",
                                                              "deepseek_v2", "deepseek_v3"),
                                            ::testing::Values(DType::f32, DType::bf16)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" + std::string(name(std::get<1>(info.param)));
                         });

TEST(Generator, GreedyIsTheArgmaxOfAPlainForward) {
  models::Model model = load("qwen3_moe");
  GenerateRequest r = requests(1, 20)[3];
  r.sampling.temperature = 0;
  r.ignore_eos = true;
  Completion c = run(model, {r})[0];
  std::vector<int32_t> sequence = r.prompt;
  NoGrad no_grad;
  for (int32_t token : c.tokens) {
    Tensor hidden = model.forward(models::pack_sequences({sequence})).hidden.value();
    std::vector<float> logits = model.next_logits(hidden.slice(0, hidden.dim(0) - 1, hidden.dim(0))).to_vector<float>();
    EXPECT_EQ(token, std::max_element(logits.begin(), logits.end()) - logits.begin());
    sequence.push_back(token);
  }
  EXPECT_EQ(c.tokens.size(), 20u);
  EXPECT_EQ(c.finish, FinishReason::length);
}

TEST(Generator, SamplesDifferAndIdsChooseTheDraws) {
  models::Model model = load("llama");
  GenerateRequest r = requests(4, 30)[1];
  std::vector<Completion> first = run(model, {r});
  EXPECT_NE(first[0].tokens, first[1].tokens);
  EXPECT_NE(first[1].tokens, first[2].tokens);
  GenerateRequest other_id = r, other_seed = r;
  other_id.id = 99;
  other_seed.seed = 99;
  EXPECT_NE(run(model, {other_id})[0].tokens, first[0].tokens);
  EXPECT_NE(run(model, {other_seed})[0].tokens, first[0].tokens);
}

TEST(Generator, StopsAtTokensAndCallbacks) {
  models::Model model = load("llama");
  GenerateRequest r = requests(2, 200)[0];
  r.ignore_eos = true;
  std::vector<Completion> free_run = run(model, {r});
  ASSERT_EQ(free_run[0].tokens.size(), 200u);

  GenerateRequest stopping = r;
  stopping.ignore_eos = false;
  stopping.stop_tokens = {free_run[0].tokens[9]};
  Completion stopped = run(model, {stopping})[0];
  EXPECT_EQ(stopped.finish, FinishReason::stop);
  EXPECT_LE(stopped.tokens.size(), 10u);
  EXPECT_EQ(stopped.tokens.back(), stopping.stop_tokens[0]);
  EXPECT_TRUE(std::equal(stopped.tokens.begin(), stopped.tokens.end(), free_run[0].tokens.begin()));

  std::map<int, std::vector<int32_t>> streamed;
  std::vector<int> finished;
  Generator generator(model);
  std::vector<Completion> cancelled = generator.generate(
      std::span(&r, 1),
      [&](size_t, int sample, int32_t token) {
        streamed[sample].push_back(token);
        return !(sample == 1 && streamed[sample].size() == 5);
      },
      [&](const Completion& c) { finished.push_back(c.sample); });
  EXPECT_EQ(cancelled[1].finish, FinishReason::cancelled);
  EXPECT_EQ(cancelled[1].tokens.size(), 5u);
  EXPECT_EQ(cancelled[0].tokens, free_run[0].tokens);
  EXPECT_EQ(streamed[0], cancelled[0].tokens);
  EXPECT_EQ(streamed[1], cancelled[1].tokens);
  EXPECT_EQ(finished, (std::vector<int>{1, 0}));

  // A callback that throws leaves a generator that works.
  EXPECT_THROW(generator.generate(std::span(&r, 1), [](size_t, int, int32_t) -> bool { throw Error("enough"); }),
               Error);
  EXPECT_EQ(generator.generate(std::span(&r, 1))[0].tokens, free_run[0].tokens);
}

TEST(Generator, StopsAtStrings) {
  models::Model model = load("llama");
  std::vector<std::string> words;
  for (int i = 0; i < 61; ++i) words.push_back("w" + std::to_string(i));
  std::string json =
      text::word_level_tokenizer_json(std::vector<std::string>{"<pad>", "<bos>", "<eos>"}, words, "<pad>");
  model.set_tokenizer(text::Tokenizer::from_json(json, "tokenizer.json"));

  GenerateRequest r = requests(1, 50)[2];
  r.ignore_eos = true;
  Completion free_run = run(model, {r})[0];
  std::string text = model.tokenizer()->decode(free_run.tokens);
  std::string stop =
      model.tokenizer()->decode(std::span(free_run.tokens).subspan(10, 2));  // two words, so it crosses tokens
  r.stop = {"never said", stop};
  Completion stopped = run(model, {r})[0];
  EXPECT_EQ(stopped.finish, FinishReason::stop);
  EXPECT_EQ(stopped.stop_string, 1);
  EXPECT_LE(stopped.tokens.size(), 12u);
  std::string stopped_text = model.tokenizer()->decode(stopped.tokens);
  EXPECT_NE(stopped_text.find(stop), std::string::npos);
  EXPECT_EQ(text.compare(0, stopped_text.size(), stopped_text), 0);
}

TEST(Generator, RoutesAreThoseOfThePlainForward) {
  models::Model model = load("mixtral");
  std::vector<GenerateRequest> all = requests(2, 12);
  for (const Completion& c : run(model, all, {.max_batch = 3, .record_routes = true})) {
    std::vector<int32_t> sequence = all[c.request].prompt;
    sequence.insert(sequence.end(), c.tokens.begin(), c.tokens.end() - 1);
    models::Batch batch = models::pack_sequences({sequence});
    models::ExpertRoutes routes;
    batch.record_routes = &routes;
    NoGrad no_grad;
    model.forward(batch);
    ASSERT_EQ(c.routes.layers.size(), routes.layers.size());
    for (size_t i = 0; i < routes.layers.size(); ++i)
      EXPECT_EQ(c.routes.layers[i].to_vector<int32_t>(), routes.layers[i].to_vector<int32_t>());
  }
}

TEST(Generator, EndsWhereTheContextEnds) {
  models::Model model = load("llama");  // a context of 512
  GenerateRequest r;
  r.prompt.assign(500, 5);
  r.ignore_eos = true;
  Completion c = run(model, {r})[0];
  EXPECT_EQ(c.tokens.size(), 12u);
  EXPECT_EQ(c.finish, FinishReason::length);
}

TEST(Generator, RefusesWhatCannotBe) {
  models::Model model = load("llama");
  auto error = [&](auto change, GeneratorOptions options = {}) -> std::string {
    GenerateRequest r;
    r.prompt = {5, 6};
    change(r);
    try {
      run(model, {r}, options);
    } catch (const Error& e) {
      return e.what();
    }
    return {};
  };
  EXPECT_EQ(error([](auto&) {}), "");
  EXPECT_NE(error([](auto& r) { r.prompt.clear(); }).find("empty"), std::string::npos);
  std::string too_long = error([](auto& r) { r.prompt.assign(600, 5); });
  EXPECT_NE(too_long.find("600"), std::string::npos) << too_long;
  EXPECT_NE(too_long.find("512"), std::string::npos) << too_long;
  EXPECT_NE(error([](auto& r) { r.prompt.push_back(64); }).find("64"), std::string::npos);
  EXPECT_NE(error([](auto& r) { r.prompt.push_back(-1); }).find("-1"), std::string::npos);
  EXPECT_NE(error([](auto& r) { r.num_samples = 0; }), "");
  EXPECT_NE(error([](auto& r) { r.max_new_tokens = 0; }), "");
  EXPECT_NE(error([](auto& r) { r.stop = {"x"}; }).find("tokenizer"), std::string::npos);
  EXPECT_NE(error([](auto& r) { r.sampling.top_p = 2; }), "");
  const auto page = static_cast<size_t>(models::KvCache::page_bytes(model.config(), model.dtype()));
  EXPECT_NE(error([](auto&) {}, {.cache_bytes = 3 * page}).find("max_new_tokens"), std::string::npos);
  EXPECT_THROW(Generator(model, {.max_batch = 0}), Error);
}

// Logits of one sequence that goes through a cache in chunks of the given sizes (the last one repeats).
std::vector<float> logits_in_chunks(models::Model& model, const std::vector<int32_t>& ids,
                                    const std::vector<size_t>& chunks) {
  const auto pages = static_cast<int32_t>((ids.size() + 63) / 64);
  models::KvCache cache(model.config(), pages, model.dtype(), Device::cpu());
  std::vector<int32_t> table;
  while (static_cast<int32_t>(table.size()) < pages) table.push_back(cache.allocate());
  std::vector<float> out;
  size_t done = 0;
  for (size_t step = 0; done < ids.size(); ++step) {
    const size_t end = std::min(ids.size(), done + chunks[std::min(step, chunks.size() - 1)]);
    std::vector<int32_t> now(ids.begin() + static_cast<int64_t>(done), ids.begin() + static_cast<int64_t>(end)), slots,
        positions;
    for (size_t t = done; t < end; ++t) {
      positions.push_back(static_cast<int32_t>(t));
      slots.push_back(table[t / 64] * 64 + static_cast<int32_t>(t % 64));
    }
    models::Batch batch;
    batch.ids = Tensor::from_vector(now);
    batch.positions = Tensor::from_vector(positions);
    batch.attention = {.cu_seqlens = Tensor::from({0, static_cast<int32_t>(now.size())}, {2}),
                       .cache = &cache,
                       .slots = Tensor::from_vector(slots),
                       .kv_len = Tensor::from({static_cast<int32_t>(end)}, {1}),
                       .block_table = Tensor::from(table, {1, static_cast<int64_t>(table.size())})};
    std::vector<float> part = floats(model.next_logits(model.forward(batch).hidden.value()));
    out.insert(out.end(), part.begin(), part.end());
    done = end;
  }
  return out;
}

// Absorbed products of one row and of many, of a part of a page and of several.
TEST(LatentCache, ChunksChangeNothing) {
  std::vector<int32_t> ids;
  Rng rng(7, 1);
  for (int i = 0; i < 200; ++i) ids.push_back(static_cast<int32_t>(3 + rng.below(61)));
  for (const char* family : {"deepseek_v2", "deepseek_v2_lite", "deepseek_v3"}) {
    models::Model model = load(family);
    NoGrad no_grad;
    const std::vector<float> one_by_one = logits_in_chunks(model, ids, {1});
    EXPECT_EQ(logits_in_chunks(model, ids, {200}), one_by_one) << family;
    EXPECT_EQ(logits_in_chunks(model, ids, {70, 1, 30, 7}), one_by_one) << family;
  }
}

TEST(LatentCache, HoldsOneLatentAToken) {
  models::ModelConfig config = models::load_config(oracle_dir("deepseek_v3"));
  // 2 layers of 16 + 8 numbers; keys and values of 4 heads would be 4 (16 + 12) numbers.
  EXPECT_EQ(models::KvCache::page_bytes(config, DType::bf16), 64 * 2 * 24 * 2);
  EXPECT_EQ(models::size_of(config, DType::bf16).kv_bytes_per_token, 2 * 24 * 2);
  models::KvCache cache(config, 2, DType::f32, Device::cpu());
  int32_t a = cache.allocate();
  cache.share(a);
  Tensor page = cache.latents(1).select(0, a);
  std::fill_n(page.data<float>(), page.numel(), 3.0f);
  int32_t b = cache.writable(a);
  EXPECT_NE(a, b);
  EXPECT_EQ(cache.latents(1).select(0, b).to_vector<float>(), page.to_vector<float>());
}

TEST(KvCache, PagesAreCountedAndCopiedOnWrite) {
  models::ModelConfig config = models::load_config(oracle_dir("llama"));
  models::KvCache cache(config, 3, DType::f32, Device::cpu());
  int32_t a = cache.allocate();
  cache.share(a);
  EXPECT_EQ(cache.free_pages(), 2);
  Tensor page = cache.keys(1).select(0, a);
  std::fill_n(page.data<float>(), page.numel(), 3.0f);
  int32_t b = cache.writable(a);
  EXPECT_NE(a, b);
  EXPECT_EQ(cache.references(a), 1);
  EXPECT_EQ(cache.keys(1).select(0, b).to_vector<float>(), page.to_vector<float>());
  EXPECT_EQ(cache.writable(a), a);
  cache.allocate();
  EXPECT_THROW(cache.allocate(), Error);
  cache.release(a);
  EXPECT_EQ(cache.free_pages(), 1);
}

}  // namespace
}  // namespace tenon::testing
