// Who is in the batch: requests become groups (a prompt, prefilled once) and sequences (its samples); pages and places
// are handed to them. Internal.
//
// A sequence enters only when the pages that it can need at most are there, so that no running sequence ever waits for
// memory. What is promised is counted:
//   a group      every page of its prompt
//   a sequence   its pages beyond the prompt's full ones; the last sample of a group takes over the prompt's partial
//   page, all others copy it
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "../text/tokenizer.h"
#include "generator.h"
#include "kv_cache.h"

namespace tenon::models {

/// A prompt and what its samples share.
struct Group {
  size_t request = 0;
  std::vector<int32_t> pages;     // of the prompt
  int64_t prefilled = 0;          // tokens in the cache
  int started = 0, finished = 0;  // samples
  Tensor hidden;                  // [1, hidden_size] of the prompt's last token; defined once it is prefilled
  int64_t hidden_row = -1;        // its row in this step's forward
  std::vector<std::vector<int32_t>> routes;  // per MoE layer [tokens * k], if recorded
};

/// One sample that is being generated.
struct Sequence {
  std::shared_ptr<Group> group;
  Completion completion;
  std::vector<int32_t> pages;    // the prompt's full ones are the group's
  std::vector<int32_t> history;  // prompt and tokens, kept for a repetition penalty only
  RandomKey key;
  std::unique_ptr<text::StreamDecoder> decoder;  // for stop strings only
  std::string tail;                              // end of the text in which a stop string may have begun
  std::vector<std::vector<int32_t>> routes;      // of its own tokens
  int64_t row = -1;                              // in this step's forward
  // Tokens that are drawn on a GPU and not read yet, and the row of the last of them in its draw.
  int64_t unread = 0, drawn_row = -1;

  int64_t drawn() const { return static_cast<int64_t>(completion.tokens.size()) + unread; }
  const std::vector<int32_t>& tokens() const { return completion.tokens; }
};

/// Page counts of a request.
struct PageNeed {
  int64_t prompt = 0;  // pages of the prompt
  int64_t full = 0;    // of these, full ones
  int64_t own = 0;     // a sequence's beyond the full ones
  int64_t alone() const { return full + own; }
};
PageNeed page_need(const GenerateRequest& request, int64_t max_new_tokens);

class Scheduler {
 public:
  /// `max_new_tokens`: per request, what the context leaves.
  Scheduler(std::span<const GenerateRequest> requests, std::vector<int64_t> max_new_tokens, KvCache& cache,
            int64_t max_batch, std::shared_ptr<const text::Tokenizer> tokenizer);

  /// Whether somebody is still to be let in.
  bool waiting() const { return next_request_ < requests_.size() || opening_; }
  bool done() const { return sequences_.empty() && next_request_ == requests_.size() && !opening_; }
  /// Lets in whoever has a place and pages. At least one sequence is in afterwards unless done().
  void admit();
  /// Takes a finished sequence out and gives its pages back; its place in sequences() becomes null.
  void finish(size_t index);
  /// Closes the gaps that finish() left.
  void compact();

  std::vector<std::unique_ptr<Sequence>>& sequences() { return sequences_; }
  /// Groups that still have prompt tokens to prefill, oldest first.
  std::deque<std::shared_ptr<Group>>& prefilling() { return prefilling_; }

  const GenerateRequest& request(size_t index) const { return requests_[index]; }
  int64_t max_new_tokens(size_t index) const { return max_new_[index]; }
  /// Whether the sequence is over once what was drawn for it is read.
  bool ends_unread(const Sequence& s) const { return s.unread > 0 && s.drawn() >= max_new_[s.completion.request]; }
  /// Makes room for the token at `position`: a new page, or a copy of one that others read.
  void make_writable(Sequence& sequence, int64_t position);

 private:
  bool start_sample(const std::shared_ptr<Group>& group);
  bool open_group();

  std::span<const GenerateRequest> requests_;
  std::vector<int64_t> max_new_;
  KvCache& cache_;
  int64_t max_batch_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  size_t next_request_ = 0;
  int64_t promised_ = 0;            // pages
  std::shared_ptr<Group> opening_;  // has samples that are not started
  std::deque<std::shared_ptr<Group>> prefilling_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
};

}  // namespace tenon::models
