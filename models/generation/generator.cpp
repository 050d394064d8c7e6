#include "generator.h"

#include <algorithm>
#include <optional>

#include "../../ops/indexing.h"
#include "../../ops/paged_attention.h"
#include "../../runtime/check.h"
#include "../../runtime/memory.h"
#include "../text/tokenizer.h"
#include "decode_graphs.h"
#include "kv_cache.h"
#include "scheduler.h"
#include "step.h"

namespace tenon::models {
namespace {

constexpr int64_t kDefaultCacheBytes = int64_t{2} << 30;

/// A tensor on its way from the GPU.
class Coming {
 public:
  explicit Coming(const Tensor& t) : shape_(t.shape()), dtype_(t.dtype()), copy_(t.device(), t.raw(), t.nbytes()) {}
  /// Valid while this lives.
  Tensor wait() { return Tensor::borrow(const_cast<void*>(copy_.wait()), shape_, dtype_, Device::cpu()); }

 private:
  Shape shape_;
  DType dtype_;
  cuda::Readback copy_;
};

/// Tokens that a GPU has drawn, or will have, for sequences of the batch.
struct Draw {
  Draw(std::vector<Sequence*> of, const ops::Sampled& sampled)
      : sequences(std::move(of)), on_device(sampled.tokens), tokens(sampled.tokens), logprobs(sampled.logprobs) {}

  std::vector<Sequence*> sequences;  // null: it has ended with the draw before
  Tensor on_device;                  // the tokens
  Coming tokens, logprobs;
  std::optional<Coming> routes;  // of the step's tokens, layers one below the other
  ExpertRoutes layers;           // of what shape they are
};

/// Which stop string the text has come to contain, or -1. `tail` keeps only what a stop string may have begun in.
int find_stop(const std::vector<std::string>& stops, std::string& tail) {
  size_t longest = 0;
  for (size_t i = 0; i < stops.size(); ++i) {
    if (tail.find(stops[i]) != std::string::npos) return static_cast<int>(i);
    longest = std::max(longest, stops[i].size());
  }
  if (tail.size() >= longest) tail.erase(0, tail.size() - (longest - 1));
  return -1;
}

ExpertRoutes routes_of(const Sequence& s, int64_t experts_per_token) {
  ExpertRoutes out;
  for (size_t i = 0; i < s.group->routes.size(); ++i) {
    std::vector<int32_t> all = s.group->routes[i];
    if (i < s.routes.size()) all.insert(all.end(), s.routes[i].begin(), s.routes[i].end());
    out.layers.push_back(Tensor::from(all, {static_cast<int64_t>(all.size()) / experts_per_token, experts_per_token}));
  }
  return out;
}

/// One call of generate().
class Run {
 public:
  Run(Model& model, const GeneratorOptions& options, KvCache& cache, DecodeGraphs* graphs,
      std::span<const GenerateRequest> requests, std::vector<int64_t> max_new, const Generator::OnToken& on_token,
      const Generator::OnFinish& on_finish)
      : model_(model),
        options_(options),
        cache_(cache),
        graphs_(graphs),
        on_token_(on_token),
        on_finish_(on_finish),
        scheduler_(requests, std::move(max_new), cache, options.max_batch, tokenizer_if_needed(model, requests)) {
    for (const GenerateRequest& r : requests) {
      first_.push_back(results_.size());
      results_.resize(results_.size() + static_cast<size_t>(r.num_samples));
      std::vector<int32_t> stops = r.stop_tokens;
      if (stops.empty() && !r.ignore_eos) {
        for (int64_t id : model.config().eos_token_ids) stops.push_back(static_cast<int32_t>(id));
      }
      stop_tokens_.push_back(std::move(stops));
    }
  }

  std::vector<Completion> finish() {
    while (!scheduler_.done()) step();
    return std::move(results_);
  }

 private:
  static std::shared_ptr<const text::Tokenizer> tokenizer_if_needed(Model& model,
                                                                    std::span<const GenerateRequest> requests) {
    bool needed =
        std::any_of(requests.begin(), requests.end(), [](const GenerateRequest& r) { return !r.stop.empty(); });
    return needed ? model.tokenizer() : nullptr;
  }

  void step() {
    if (unread_ && !runs_ahead()) read_drawn();
    if (!unread_) {
      scheduler_.admit();
      freed_ = false;
    }
    if (scheduler_.done()) return;
    Step step(scheduler_, options_.prefill_tokens);
    const auto from_this_step = [&](const auto& s) { return s->row >= 0 || !gets_token(*s); };
    if (graphs_ && step.decodes_only() && std::ranges::all_of(scheduler_.sequences(), from_this_step)) {
      draw_ahead(step);
    } else if (unread_) {
      read_drawn();  // all end with it
    } else {
      draw(step);
    }
  }

  // One forward and one draw, read at once.
  void draw(Step& step) {
    Tensor hidden;
    if (!step.empty()) {
      ExpertRoutes routes;
      const bool record = records_routes();
      hidden = model_.forward(step.batch(cache_, model_.device(), record ? &routes : nullptr)).hidden.value();
      fetch(routes);
      step.commit(scheduler_, hidden, record ? &routes : nullptr);
    }
    choose();  // with the samples whose prompt has just been prefilled
    if (!chosen_.empty()) {
      const ops::Sampled drawn = ops::sample(model_.next_logits(head_rows(chosen_, hidden)), rows_);
      append_all(chosen_, drawn.tokens.to(Device::cpu()), drawn.logprobs.to(Device::cpu()));
    }
    step.forget_rows();
  }

  // A recorded step, queued before the tokens of the last one are read: the GPU goes on while the host looks at them.
  // A sequence that turns out to have ended has a row too many, which nobody reads.
  void draw_ahead(const Step& step) {
    choose();
    Tensor ids;
    if (unread_) {
      std::vector<int32_t> rows;
      bool in_order = true;
      for (const Sequence* s : chosen_) {
        in_order &= s->drawn_row == static_cast<int64_t>(rows.size());
        rows.push_back(static_cast<int32_t>(s->drawn_row));
      }
      ids = unread_->on_device;
      const auto count = static_cast<int64_t>(rows.size());
      if (in_order)
        ids = ids.slice(0, 0, count);
      else
        ids = ops::gather_rows(ids.view({ids.numel(), 1}), Tensor::from_vector(rows).to(ids.device())).view({count});
    }
    const DecodeGraphs::Out& out = graphs_->run(step.decode_step(), ids.defined() ? &ids : nullptr);
    const auto count = static_cast<int64_t>(chosen_.size());
    Draw next(chosen_, ops::sample(out.logits.slice(0, 0, count), rows_));  // rows as chosen
    if (!out.routes.layers.empty()) {
      next.layers = out.routes;
      next.routes.emplace(ops::concat(out.routes.layers, 0));
    }
    for (size_t i = 0; i < chosen_.size(); ++i) {
      ++chosen_[i]->unread;
      chosen_[i]->drawn_row = static_cast<int64_t>(i);
    }
    std::optional<Draw> before = std::exchange(unread_, std::move(next));
    if (before) read(*before);
    if (!runs_ahead()) read_drawn();
  }

  void read_drawn() {
    std::optional<Draw> drawn = std::exchange(unread_, std::nullopt);
    if (drawn) read(*drawn);
  }

  void read(Draw& drawn) {
    if (drawn.routes) {
      const ExpertRoutes routes = layers_of(drawn.routes->wait(), drawn.layers);
      for (size_t i = 0; i < drawn.sequences.size(); ++i)
        if (Sequence* s = drawn.sequences[i]) append_routes(routes, static_cast<int64_t>(i), 1, s->routes);
    }
    for (Sequence* s : drawn.sequences)
      if (s) --s->unread;
    append_all(drawn.sequences, drawn.tokens.wait(), drawn.logprobs.wait());
  }

  /// Whether the next step can be queued before the last one's tokens are read: nobody can come in before it, and
  /// nothing of it depends on them but the tokens themselves.
  bool runs_ahead() {
    return graphs_ && scheduler_.prefilling().empty() && !(freed_ && scheduler_.waiting()) &&
           std::ranges::all_of(scheduler_.sequences(), [](const auto& s) { return s->history.empty(); });
  }

  bool records_routes() const { return options_.record_routes && model_.config().is_moe(); }

  bool gets_token(const Sequence& s) const {
    if (s.row < 0 && !s.group->hidden.defined()) return false;  // its prompt isn't prefilled yet
    return !scheduler_.ends_unread(s);
  }

  /// Which sequences get a token now, and how it is drawn.
  void choose() {
    chosen_.clear();
    rows_.clear();
    for (const auto& s : scheduler_.sequences()) {
      if (!gets_token(*s)) continue;
      chosen_.push_back(s.get());
      rows_.push_back(
          {scheduler_.request(s->completion.request).sampling, s->key, static_cast<uint64_t>(s->drawn()), s->history});
    }
  }

  void append_all(std::span<Sequence* const> sequences, const Tensor& tokens, const Tensor& logprobs) {
    std::vector<Sequence*> ended;
    for (size_t i = 0; i < sequences.size(); ++i)
      if (sequences[i] && append(*sequences[i], tokens.data<int32_t>()[i], logprobs.data<float>()[i]))
        ended.push_back(sequences[i]);
    if (ended.empty()) return;
    freed_ = true;
    if (unread_) {
      for (Sequence*& s : unread_->sequences)
        if (std::ranges::count(ended, s)) s = nullptr;
    }
    for (size_t place = 0; place < scheduler_.sequences().size(); ++place)
      if (std::ranges::count(ended, scheduler_.sequences()[place].get())) close(place);
    scheduler_.compact();
  }

  /// Whether the sequence ends with this token.
  bool append(Sequence& s, int32_t token, float logprob) {
    Completion& c = s.completion;
    const GenerateRequest& request = scheduler_.request(c.request);
    c.tokens.push_back(token);
    c.logprobs.push_back(logprob);
    if (request.sampling.repetition_penalty != 1) s.history.push_back(token);
    const bool go_on = !on_token_ || on_token_(c.request, c.sample, token);

    const std::vector<int32_t>& stops = stop_tokens_[c.request];
    if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
      c.finish = FinishReason::stop;
      return true;
    }
    if (s.decoder) {
      s.tail += s.decoder->push(token);
      c.stop_string = find_stop(request.stop, s.tail);
      if (c.stop_string >= 0) {
        c.finish = FinishReason::stop;
        return true;
      }
    }
    c.finish = go_on ? FinishReason::length : FinishReason::cancelled;
    return !go_on || static_cast<int64_t>(c.tokens.size()) >= scheduler_.max_new_tokens(c.request);
  }

  void close(size_t place) {
    Sequence& s = *scheduler_.sequences()[place];
    if (records_routes()) s.completion.routes = routes_of(s, model_.config().experts_per_token);
    Completion& result = results_[first_[s.completion.request] + static_cast<size_t>(s.completion.sample)];
    result = std::move(s.completion);
    scheduler_.finish(place);
    if (on_finish_) on_finish_(result);
  }

  Model& model_;
  const GeneratorOptions& options_;
  KvCache& cache_;
  DecodeGraphs* graphs_;  // null: decoding steps are queued as others
  const Generator::OnToken& on_token_;
  const Generator::OnFinish& on_finish_;
  Scheduler scheduler_;
  std::vector<size_t> first_;  // of a request's completions
  std::vector<Completion> results_;
  std::vector<std::vector<int32_t>> stop_tokens_;
  std::vector<Sequence*> chosen_;
  std::vector<ops::SampleRow> rows_;
  std::optional<Draw> unread_;
  bool freed_ = false;  // sequences have ended since the last were let in
};

/// Checks a request; returns how many tokens it may generate.
int64_t check_request(const GenerateRequest& r, size_t index, Model& model) {
  const ModelConfig& c = model.config();
  const auto prompt = static_cast<int64_t>(r.prompt.size());
  check(prompt > 0, "generate: the prompt of request {} is empty", index);
  check(r.num_samples > 0, "generate: request {} asks for {} samples", index, r.num_samples);
  check(r.max_new_tokens > 0, "generate: request {} asks for {} new tokens", index, r.max_new_tokens);
  check(prompt < c.max_position_embeddings,
        "generate: the prompt of request {} has {} tokens, which leaves no room in the model's context of {}", index,
        prompt, c.max_position_embeddings);
  for (int32_t id : r.prompt) {
    check(id >= 0 && id < c.vocab_size, "generate: the prompt of request {} has token {}, beyond the vocabulary of {}",
          index, id, c.vocab_size);
  }
  for (const std::string& stop : r.stop) check(!stop.empty(), "generate: request {} has an empty stop string", index);
  check(r.stop.empty() || model.tokenizer() != nullptr,
        "generate: request {} has stop strings, but the model has no tokenizer", index);
  return std::min(r.max_new_tokens, c.max_position_embeddings - prompt);
}

}  // namespace

Generator::Generator(Model& model, GeneratorOptions options) : model_(model), options_(options) {
  check(options.max_batch > 0, "Generator: max_batch is {}", options.max_batch);
  check(options.prefill_tokens > 0, "Generator: prefill_tokens is {}", options.prefill_tokens);
}

Generator::~Generator() = default;

std::vector<Completion> Generator::generate(std::span<const GenerateRequest> requests, const OnToken& on_token,
                                            const OnFinish& on_finish) {
  if (requests.empty()) return {};
  std::vector<int64_t> max_new;
  int64_t wanted = 0, largest = 0,
          longest = 0;  // pages: of all at once, of the most demanding alone, of the longest sequence
  size_t most_demanding = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    const GenerateRequest& r = requests[i];
    max_new.push_back(check_request(r, i, model_));
    const PageNeed need = page_need(r, max_new.back());
    const int64_t alone = r.num_samples == 1 ? need.alone() : need.prompt + need.own;
    if (alone > largest) {
      largest = alone;
      most_demanding = i;
    }
    longest = std::max(longest, need.prompt + need.own);
    wanted += need.prompt + r.num_samples * need.own;
  }

  const int64_t page_bytes = KvCache::page_bytes(model_.config(), model_.dtype());
  int64_t pages = static_cast<int64_t>(options_.cache_bytes) / page_bytes;
  if (options_.cache_bytes == 0) {
    pages = std::min({wanted, longest * options_.max_batch, kDefaultCacheBytes / page_bytes});
    pages = std::max(pages, largest);
  }
  check(largest <= pages,
        "generate: request {} ({} prompt tokens, up to {} new ones) needs {} of cache alone, and cache_bytes allows "
        "{}; raise cache_bytes or lower max_new_tokens",
        most_demanding, requests[most_demanding].prompt.size(), max_new[most_demanding],
        format_bytes(static_cast<size_t>(largest * page_bytes)), format_bytes(static_cast<size_t>(pages * page_bytes)));
  if (!cache_ || cache_->pages() < pages) {
    graphs_.reset();
    cache_.reset();  // first, so that both are never held
    cache_ = std::make_unique<KvCache>(model_.config(), pages, model_.dtype(), model_.device());
  }
  if (options_.graphs && !model_.device().is_cpu() && cuda::records_graphs()) {
    if (!graphs_) graphs_ = std::make_unique<DecodeGraphs>(model_, *cache_, options_.record_routes);
    int64_t last = 0;
    for (size_t i = 0; i < requests.size(); ++i)
      last = std::max(last, static_cast<int64_t>(requests[i].prompt.size()) + max_new[i] - 1);
    graphs_->prepare(last);
  }
  try {
    return Run(model_, options_, *cache_, graphs_.get(), requests, std::move(max_new), on_token, on_finish).finish();
  } catch (...) {
    graphs_.reset();
    cache_.reset();  // its pages are held by sequences that are gone
    throw;
  }
}

}  // namespace tenon::models
