// The pairs of all distinct words are counted once; a merge then touches only the words that hold its pair, and a heap
// with lazily corrected counts gives the next pair. Time is about proportional to the total length of distinct words
// plus the changes that merges make.
#include "train_bpe.h"

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <unordered_map>

#include "byte_alphabet.h"
#include "json_fields.h"
#include "pre_tokenizer.h"
#include "tokenizer.h"
#include "unicode.h"

namespace tenon::text {
namespace {

using Ordered = nlohmann::ordered_json;
using Pair = std::pair<int32_t, int32_t>;

struct PairHash {
  size_t operator()(const Pair& p) const {
    const uint64_t k = uint64_t{static_cast<uint32_t>(p.first)} << 32 | static_cast<uint32_t>(p.second);
    return static_cast<size_t>((k ^ k >> 31) * 0x9E3779B97F4A7C15u);
  }
};

struct Word {
  std::vector<int32_t> symbols;
  int64_t count = 0;
};

const Json& pre_tokenizer_json() {
  static const Json json = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Digits"}, {"individual_digits", true}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}}}};
  return json;
}

// Where a part of about a megabyte from `begin` on ends: before a space after a letter, over which no word reaches.
size_t end_of_part(std::string_view text, size_t begin) {
  constexpr size_t kPart = size_t{1} << 20;
  if (text.size() - begin <= kPart) return text.size();
  for (size_t i = begin + kPart; i < text.size(); ++i)
    if (text[i] == ' ' && (text[i - 1] | 0x20) >= 'a' && (text[i - 1] | 0x20) <= 'z') return i;
  return text.size();
}

// Distinct words of the texts with their counts, in an order that does not depend on a hash. In parts, since the places
// of all words take many times the room of the text.
std::map<std::string, int64_t> count_words(std::span<const std::string> texts) {
  const PreTokenizer split(pre_tokenizer_json(), "train_bpe");
  std::unordered_map<std::string, int64_t> counts;
  Pieces pieces;
  for (const std::string_view text : texts) {
    for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
      end = end_of_part(text, begin);
      const std::string valid = to_valid_utf8(text.substr(begin, end - begin));
      pieces.text = valid;
      split(pieces);
      for (size_t i = 0; i < pieces.spans.size(); ++i) ++counts[std::string(pieces[i])];
    }
  }
  return {counts.begin(), counts.end()};
}

class Trainer {
 public:
  Trainer(const std::map<std::string, int64_t>& counts, const std::vector<std::string>& special);
  void train(int64_t vocab_size, int64_t min_frequency);
  const std::vector<std::string>& tokens() const { return tokens_; }
  const std::vector<Pair>& merges() const { return merges_; }

 private:
  struct Candidate {
    int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };
  void count(const Pair& pair, int64_t by, uint32_t word);
  void merge(Word& word, uint32_t index, const Pair& pair, int32_t id);
  int32_t token_for(const Pair& pair);

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<Pair> merges_;
  std::vector<Word> words_;
  std::unordered_map<Pair, int64_t, PairHash> counts_;
  std::unordered_map<Pair, std::vector<uint32_t>, PairHash> where_;  // words that hold, or held, the pair
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> changed_;  // pairs that one merge has made
};

Trainer::Trainer(const std::map<std::string, int64_t>& counts, const std::vector<std::string>& special) {
  const auto put = [&](const std::string& token) {
    if (ids_.emplace(token, static_cast<int32_t>(tokens_.size())).second) tokens_.push_back(token);
  };
  for (const std::string& token : special) put(token);
  // Bytes stand in the order of the characters they are written with.
  std::vector<char32_t> alphabet(byte_alphabet().begin(), byte_alphabet().end());
  std::ranges::sort(alphabet);
  for (const char32_t c : alphabet) {
    std::string token;
    append_utf8(token, c);
    put(token);
  }
  for (const auto& [text, n] : counts) {
    Word word;
    word.count = n;
    for (const char b : text) word.symbols.push_back(ids_.at(bytes_to_alphabet({&b, 1})));
    words_.push_back(std::move(word));
  }
  for (uint32_t w = 0; w < words_.size(); ++w) {
    const auto& symbols = words_[w].symbols;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) count({symbols[i], symbols[i + 1]}, words_[w].count, w);
  }
  for (const auto& [pair, n] : counts_) queue_.push({n, pair});
  changed_.clear();
}

void Trainer::count(const Pair& pair, int64_t by, uint32_t word) {
  counts_[pair] += by;
  if (by <= 0) return;
  auto& places = where_[pair];
  if (places.empty() || places.back() != word) places.push_back(word);
  changed_.push_back(pair);
}

int32_t Trainer::token_for(const Pair& pair) {
  const std::string token = tokens_[static_cast<size_t>(pair.first)] + tokens_[static_cast<size_t>(pair.second)];
  const auto [it, added] = ids_.emplace(token, static_cast<int32_t>(tokens_.size()));
  if (added) tokens_.push_back(token);
  return it->second;
}

void Trainer::merge(Word& word, uint32_t index, const Pair& pair, int32_t id) {
  auto& s = word.symbols;
  size_t kept = 0;
  for (size_t i = 0; i < s.size();) {
    if (i + 1 < s.size() && s[i] == pair.first && s[i + 1] == pair.second) {
      if (kept > 0) {
        count({s[kept - 1], pair.first}, -word.count, index);
        count({s[kept - 1], id}, word.count, index);
      }
      if (i + 2 < s.size()) {
        count({pair.second, s[i + 2]}, -word.count, index);
        count({id, s[i + 2]}, word.count, index);
      }
      s[kept++] = id;
      i += 2;
    } else {
      s[kept++] = s[i++];
    }
  }
  s.resize(kept);
}

void Trainer::train(int64_t vocab_size, int64_t min_frequency) {
  while (static_cast<int64_t>(tokens_.size()) < vocab_size && !queue_.empty()) {
    Candidate top = queue_.top();
    queue_.pop();
    const int64_t now = counts_[top.pair];
    if (top.count != now) {
      top.count = now;
      if (now > 0) queue_.push(top);
      continue;
    }
    if (now < min_frequency) break;
    const int32_t id = token_for(top.pair);
    merges_.push_back(top.pair);
    changed_.clear();
    const std::vector<uint32_t> places = std::move(where_[top.pair]);
    where_.erase(top.pair);
    for (const uint32_t w : places) merge(words_[w], w, top.pair, id);
    counts_[top.pair] = 0;
    std::ranges::sort(changed_);
    changed_.erase(std::unique(changed_.begin(), changed_.end()), changed_.end());
    for (const Pair& pair : changed_)
      if (const int64_t n = counts_[pair]; n > 0) queue_.push({n, pair});
  }
}

}  // namespace

std::string train_bpe(std::span<const std::string> texts, int64_t vocab_size, std::vector<std::string> special,
                      int64_t min_frequency) {
  check(min_frequency >= 1, "train_bpe: a pair must be seen at least once, not {} times", min_frequency);
  std::set<std::string> seen;
  for (const std::string& token : special) {
    check(!token.empty(), "train_bpe: a special token is empty");
    check(seen.insert(token).second, "train_bpe: the special token '{}' is given twice", token);
    check(alphabet_to_bytes(token).value_or("").size() != 1, "train_bpe: the special token '{}' is the name of a byte",
          token);
  }
  const int64_t least = static_cast<int64_t>(special.size()) + 256;
  check(vocab_size >= least, "train_bpe: a vocabulary of {} has no room for {} special tokens and 256 bytes",
        vocab_size, special.size());

  Trainer trainer(count_words(texts), special);
  trainer.train(vocab_size, min_frequency);

  Ordered added = Ordered::array(), vocab = Ordered::object(), merges = Ordered::array();
  for (size_t id = 0; id < special.size(); ++id)
    added.push_back({{"id", id},
                     {"content", special[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  const auto& tokens = trainer.tokens();
  auto& entries = vocab.get_ref<Ordered::object_t&>();
  for (size_t id = 0; id < tokens.size(); ++id)
    entries.emplace_back(tokens[id], id);  // without a search for each of them
  for (const auto& [left, right] : trainer.merges())
    merges.push_back(Ordered::array({tokens[static_cast<size_t>(left)], tokens[static_cast<size_t>(right)]}));
  const Ordered decoder = {
      {"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}};
  const Ordered root = {{"version", "1.0"},
                        {"truncation", nullptr},
                        {"padding", nullptr},
                        {"added_tokens", added},
                        {"normalizer", nullptr},
                        {"pre_tokenizer", pre_tokenizer_json()},
                        {"post_processor", nullptr},
                        {"decoder", decoder},
                        {"model",
                         {{"type", "BPE"},
                          {"dropout", nullptr},
                          {"unk_token", nullptr},
                          {"continuing_subword_prefix", nullptr},
                          {"end_of_word_suffix", nullptr},
                          {"fuse_unk", false},
                          {"byte_fallback", false},
                          {"ignore_merges", false},
                          {"vocab", vocab},
                          {"merges", merges}}}};
  return root.dump(1);
}

}  // namespace tenon::text
