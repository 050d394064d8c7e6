#include "scheduler.h"

#include <algorithm>

#include "../../ops/paged_attention.h"

namespace tenon::models {
namespace {

using ops::kPageSize;

int64_t ceil_pages(int64_t tokens) { return (tokens + kPageSize - 1) / kPageSize; }

// SplitMix64's finaliser: (id, sample) to one stream of random numbers.
uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

}  // namespace

PageNeed page_need(const GenerateRequest& request, int64_t max_new_tokens) {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  PageNeed need;
  need.prompt = ceil_pages(prompt);
  need.full = prompt / kPageSize;
  need.own = ceil_pages(prompt + max_new_tokens - 1) - need.full;  // the last token is never written
  return need;
}

Scheduler::Scheduler(std::span<const GenerateRequest> requests, std::vector<int64_t> max_new_tokens, KvCache& cache,
                     int64_t max_batch, std::shared_ptr<const text::Tokenizer> tokenizer)
    : requests_(requests),
      max_new_(std::move(max_new_tokens)),
      cache_(cache),
      max_batch_(max_batch),
      tokenizer_(std::move(tokenizer)) {}

void Scheduler::admit() {
  while (static_cast<int64_t>(sequences_.size()) < max_batch_) {
    if (!opening_ && !open_group()) return;
    if (!start_sample(opening_)) return;
    if (opening_->started == requests_[opening_->request].num_samples) opening_.reset();
  }
}

bool Scheduler::open_group() {
  if (next_request_ == requests_.size()) return false;
  const GenerateRequest& request = requests_[next_request_];
  const PageNeed need = page_need(request, max_new_[next_request_]);
  // A group without a sequence would hold pages that nobody comes to free.
  const int64_t first = need.prompt + need.own - (request.num_samples == 1 ? need.prompt - need.full : 0);
  if (promised_ + first > cache_.pages()) return false;
  promised_ += need.prompt;
  opening_ = std::make_shared<Group>();
  opening_->request = next_request_++;
  for (int64_t i = 0; i < need.prompt; ++i) opening_->pages.push_back(cache_.allocate());
  prefilling_.push_back(opening_);
  return true;
}

bool Scheduler::start_sample(const std::shared_ptr<Group>& group) {
  const GenerateRequest& request = requests_[group->request];
  const PageNeed need = page_need(request, max_new_[group->request]);
  const bool last = group->started + 1 == request.num_samples;
  const int64_t more = need.own - (last ? need.prompt - need.full : 0);
  if (promised_ + more > cache_.pages()) return false;
  promised_ += more;

  auto s = std::make_unique<Sequence>();
  s->group = group;
  s->completion.request = group->request;
  s->completion.sample = group->started++;
  s->key = {request.seed, mix(mix(request.id) + static_cast<uint64_t>(s->completion.sample))};
  s->pages = group->pages;
  for (int32_t page : s->pages) cache_.share(page);
  if (last && need.prompt > need.full) {
    cache_.release(group->pages.back());
    group->pages.pop_back();
  }
  const auto longest = static_cast<size_t>(max_new_[group->request]);
  s->completion.tokens.reserve(std::min<size_t>(longest, 1024));
  s->completion.logprobs.reserve(std::min<size_t>(longest, 1024));
  if (request.sampling.repetition_penalty != 1) s->history = request.prompt;
  if (!request.stop.empty()) s->decoder = std::make_unique<text::StreamDecoder>(*tokenizer_);
  sequences_.push_back(std::move(s));
  return true;
}

void Scheduler::finish(size_t index) {
  std::unique_ptr<Sequence> s = std::move(sequences_[index]);
  for (int32_t page : s->pages) cache_.release(page);
  Group& group = *s->group;
  const PageNeed need = page_need(requests_[group.request], max_new_[group.request]);
  promised_ -= need.own;
  if (++group.finished == requests_[group.request].num_samples) {
    for (int32_t page : group.pages) cache_.release(page);
    promised_ -= need.full;
  }
}

void Scheduler::compact() { std::erase(sequences_, nullptr); }

void Scheduler::make_writable(Sequence& s, int64_t position) {
  const auto block = static_cast<size_t>(position / kPageSize);
  if (block == s.pages.size()) {
    s.pages.push_back(cache_.allocate());
  } else {
    s.pages[block] = cache_.writable(s.pages[block]);
  }
}

}  // namespace tenon::models
