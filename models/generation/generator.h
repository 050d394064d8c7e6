// Generation of many sequences at once: continuous batching over a paged cache, with the weights that training writes.
//
// Finished sequences leave the batch and waiting ones enter; prompts are prefilled in chunks beside the decoding of
// others; the samples of a request share their prompt's pages. A draw is keyed by (seed, request id, sample, position),
// and on the CPU no row of any product depends on the other rows, so what comes out does not depend on max_batch, on
// the size of the cache or on the other requests. On a GPU cuBLASLt may take another algorithm for another number of
// rows: log-probabilities differ in their last bits then, and tokens where a draw falls between two.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "../../ops/sampling.h"
#include "../model.h"

namespace tenon::models {

struct GenerateRequest {
  std::vector<int32_t> prompt;
  int num_samples = 1;
  ops::SamplingOptions sampling;
  int64_t max_new_tokens = 256;      // fewer where the context ends before
  std::vector<std::string> stop;     // ends a sequence as soon as its text contains one; needs the model's tokenizer
  std::vector<int32_t> stop_tokens;  // empty: the end tokens of the model's config
  bool ignore_eos = false;           // with no stop_tokens: on to max_new_tokens whatever comes
  uint64_t seed = 0, id = 0;         // draws are keyed (seed, id, sample, position)
};

enum class FinishReason { stop, length, cancelled /* by on_token */ };

struct Completion {
  size_t request = 0;  // index into the requests
  int sample = 0;
  std::vector<int32_t> tokens;  // with the end token, or those that hold the stop string, when it ended so
  std::vector<float> logprobs;  // of each token: log-softmax(logits / temperature) before truncation
  FinishReason finish = FinishReason::length;
  int stop_string = -1;  // which of the request's `stop` ended it
  ExpertRoutes routes;   // if asked: prompt and all but the last token, the inputs of training on this sequence
};

struct GeneratorOptions {
  int64_t max_batch = 64;         // sequences decoding at once
  size_t cache_bytes = 0;         // 0: what max_batch of the given requests need, at most 2 GiB
  int64_t prefill_tokens = 2048;  // prompt tokens in one forward
  bool record_routes = false;
  bool graphs = true;  // on a GPU steps that only decode are recorded by size and replayed
};

class DecodeGraphs;

class Generator {
 public:
  using OnToken = std::function<bool(size_t request, int sample, int32_t token)>;  // false ends that sequence
  using OnFinish = std::function<void(const Completion&)>;

  /// The model must outlive the generator. It may be trained between calls of generate().
  explicit Generator(Model& model, GeneratorOptions options = {});
  ~Generator();

  /// Completions by request, then by sample. Throws Error before any work for an empty prompt, one that leaves no room
  /// in the context (naming the lengths), token ids beyond the vocabulary, stop strings without a tokenizer, and a
  /// request that cannot fit the cache even alone.
  std::vector<Completion> generate(std::span<const GenerateRequest> requests, const OnToken& on_token = {},
                                   const OnFinish& on_finish = {});

  const GeneratorOptions& options() const { return options_; }

 private:
  Model& model_;
  GeneratorOptions options_;
  std::unique_ptr<KvCache> cache_;        // kept between calls while it is large enough
  std::unique_ptr<DecodeGraphs> graphs_;  // of that cache
};

}  // namespace tenon::models
