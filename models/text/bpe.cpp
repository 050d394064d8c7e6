// Byte-pair encoding: of all neighbouring pairs in a word the one that was learnt first is merged, the leftmost of
// equals, until none is left. Short words are scanned for the best pair at each step; long ones keep their pairs in a
// heap, n log n for any word. SentencePiece's vocabularies come without a pre-tokenizer, a text being one word; where
// their merges show that spaces part it, it is taken apart there, so that a cache of words serves them too.
#include <algorithm>
#include <array>
#include <queue>

#include "byte_alphabet.h"
#include "json_fields.h"
#include "merge_table.h"
#include "token_model.h"
#include "unicode.h"
#include "word_cache.h"

namespace tenon::text {
namespace {

constexpr std::string_view kSpace = "\u2581";  // how SentencePiece writes a space

constexpr size_t kScanLimit = 48;  // symbols; above, the heap's n log n beats the scan's n^2

class Bpe final : public TokenModel {
 public:
  Bpe(const Json& model, bool byte_level, const Vocabulary& vocabulary, const std::string& where);

  std::unique_ptr<ModelScratch> scratch() const override { return std::make_unique<WordCache>(); }
  void encode(std::string_view word, ModelScratch*, std::vector<int32_t>& out) const override;
  size_t length_of(int32_t id, std::string_view rest) const override;

 private:
  void read_merges(const Json& merges, const std::string& where);
  void encode_word(std::string_view word, WordCache*, std::vector<int32_t>& out) const;
  void encode_new(std::string_view word, std::vector<int32_t>& out) const;
  void symbols(std::string_view word, std::vector<int32_t>& out) const;
  size_t merge_by_scan(int32_t* ids, size_t n) const;
  size_t merge_by_heap(int32_t* ids, size_t n) const;

  const Vocabulary& vocabulary_;
  MergeTable merges_;
  bool byte_level_, ignore_merges_, byte_fallback_, fuse_unk_;
  bool spaces_part_ = false;  // no merge joins anything with a U+2581 after it
  int32_t unk_ = -1;
  std::array<int32_t, 256> byte_ids_{};      // byte-level: the token of each byte; -1: none
  std::array<int32_t, 256> fallback_ids_{};  // <0x00> ... <0xFF>
};

Bpe::Bpe(const Json& model, bool byte_level, const Vocabulary& vocabulary, const std::string& where)
    : vocabulary_(vocabulary),
      byte_level_(byte_level),
      ignore_merges_(bool_field(model, "ignore_merges", where, false)),
      byte_fallback_(bool_field(model, "byte_fallback", where, false)),
      fuse_unk_(bool_field(model, "fuse_unk", where, false)) {
  for (const char* part : {"continuing_subword_prefix", "end_of_word_suffix"})
    check(string_field(model, part, where, "").empty(), "{}: {} is not supported", where, part);
  const Json* dropout = find_field(model, "dropout", where);
  check(dropout == nullptr || (dropout->is_number() && dropout->get<double>() == 0), "{}: dropout is not supported",
        where);

  const std::string unk = string_field(model, "unk_token", where, "");
  if (!unk.empty()) {
    unk_ = vocabulary.find(unk);
    check(unk_ >= 0, "{}: unk_token '{}' is not in the vocabulary", where, unk);
  }
  for (size_t b = 0; b < 256; ++b) {
    const char byte = static_cast<char>(b);
    byte_ids_[b] = vocabulary.find(bytes_to_alphabet({&byte, 1}));
    fallback_ids_[b] = vocabulary.find(fmt::format("<0x{:02X}>", b));
  }
  read_merges(array_field(model, "merges", where), where);
}

void Bpe::read_merges(const Json& merges, const std::string& where) {
  merges_ = MergeTable(merges.size());
  uint32_t rank = 0;
  std::string joined;
  spaces_part_ = vocabulary_.find(kSpace) >= 0 && !byte_level_ && !ignore_merges_;
  for (const Json& merge : merges) {
    std::string_view left, right;
    if (merge.is_string()) {
      const std::string_view text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      check(space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos,
            "{}: merge {} '{}' must be two tokens with a space between", where, rank, text);
      left = text.substr(0, space), right = text.substr(space + 1);
    } else {
      check(merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(),
            "{}: merge {} must be a string or a pair of strings", where, rank);
      left = merge[0].get_ref<const std::string&>(), right = merge[1].get_ref<const std::string&>();
    }
    joined.assign(left).append(right);
    const int32_t a = vocabulary_.find(left), b = vocabulary_.find(right), id = vocabulary_.find(joined);
    check(a >= 0 && b >= 0 && id >= 0,
          "{}: merge {} needs the tokens '{}', '{}' and '{}', and not all are in the vocabulary", where, rank, left,
          right, joined);
    merges_.insert(a, b, {rank++, id});
    if (spaces_part_ && right.starts_with(kSpace)) spaces_part_ = left.ends_with(kSpace);
  }
}

void Bpe::encode(std::string_view word, ModelScratch* scratch, std::vector<int32_t>& out) const {
  auto* cache = static_cast<WordCache*>(scratch);
  if (!spaces_part_) return encode_word(word, cache, out);
  while (!word.empty()) {
    size_t end = 0;
    while (word.substr(end).starts_with(kSpace)) end += kSpace.size();
    end = std::min(word.find(kSpace, end), word.size());
    encode_word(word.substr(0, end), cache, out);
    word.remove_prefix(end);
  }
}

void Bpe::encode_word(std::string_view word, WordCache* cache, std::vector<int32_t>& out) const {
  if (cache == nullptr || word.size() > WordCache::kMaxWord) return encode_new(word, out);
  const uint64_t hash = WordCache::hash(word);
  const auto known = cache->find(word, hash);
  if (!known.empty()) {
    out.insert(out.end(), known.begin(), known.end());
    return;
  }
  const size_t before = out.size();
  encode_new(word, out);
  cache->insert(word, hash, {out.data() + before, out.size() - before});
}

void Bpe::encode_new(std::string_view word, std::vector<int32_t>& out) const {
  if (ignore_merges_) {
    const int32_t whole = byte_level_ ? vocabulary_.find(bytes_to_alphabet(word)) : vocabulary_.find(word);
    if (whole >= 0) {
      out.push_back(whole);
      return;
    }
  }
  const size_t before = out.size();
  symbols(word, out);
  int32_t* ids = out.data() + before;
  const size_t n = out.size() - before;
  out.resize(before + (n <= kScanLimit ? merge_by_scan(ids, n) : merge_by_heap(ids, n)));
}

// The word as single characters or bytes. What the vocabulary lacks becomes byte tokens, or the unknown token, or
// nothing where there is neither.
void Bpe::symbols(std::string_view word, std::vector<int32_t>& out) const {
  bool unk_before = false;
  const auto unknown = [&] {
    if (unk_ >= 0 && !(fuse_unk_ && unk_before)) out.push_back(unk_);
    unk_before = true;
  };
  const auto fall_back = [&](std::string_view character) {
    const auto byte_id = [&](char b) { return fallback_ids_[static_cast<unsigned char>(b)]; };
    if (!std::ranges::all_of(character, [&](char b) { return byte_id(b) >= 0; })) return unknown();
    for (const char b : character) out.push_back(byte_id(b));
    unk_before = false;
  };
  if (byte_level_) {
    for (const char b : word) {
      const int32_t id = byte_ids_[static_cast<unsigned char>(b)];
      if (id >= 0)
        out.push_back(id), unk_before = false;
      else if (byte_fallback_)
        fall_back(bytes_to_alphabet({&b, 1}));
      else
        unknown();
    }
    return;
  }
  while (!word.empty()) {
    const auto length = static_cast<size_t>(std::max(decode_utf8(word).length, 1));
    const std::string_view character = word.substr(0, length);
    word.remove_prefix(length);
    if (const int32_t id = vocabulary_.find(character); id >= 0) {
      out.push_back(id);
      unk_before = false;
    } else if (byte_fallback_) {
      fall_back(character);
    } else {
      unknown();
    }
  }
}

size_t Bpe::length_of(int32_t id, std::string_view rest) const {
  const std::string_view token = vocabulary_.token(id);
  if (byte_level_) {
    // The alphabet has a character a byte. A byte without a token is one byte of the unknown token.
    const auto characters =
        std::ranges::count_if(token, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
    return id == unk_ ? 1 : static_cast<size_t>(characters);
  }
  if (rest.starts_with(token)) return token.size();
  if (id != unk_) return 1;  // <0x0A>
  size_t length = 0;
  do {
    length += static_cast<size_t>(std::max(decode_utf8(rest.substr(length)).length, 1));
    const std::string_view next = rest.substr(length);
    const auto character = static_cast<size_t>(next.empty() ? 0 : std::max(decode_utf8(next).length, 1));
    if (!fuse_unk_ || next.empty() || vocabulary_.find(next.substr(0, character)) >= 0) break;
  } while (true);
  return length;
}

size_t Bpe::merge_by_scan(int32_t* ids, size_t n) const {
  std::array<Merge, kScanLimit> merges;  // of symbol i with the next
  for (size_t i = 0; i + 1 < n; ++i) merges[i] = merges_.find(ids[i], ids[i + 1]);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (merges[i].rank < merges[best].rank) best = i;
    if (merges[best].rank == UINT32_MAX) break;
    ids[best] = merges[best].id;
    --n;
    for (size_t i = best + 1; i < n; ++i) ids[i] = ids[i + 1], merges[i] = merges[i + 1 < n ? i + 1 : i];
    if (best + 1 < n) merges[best] = merges_.find(ids[best], ids[best + 1]);
    if (best > 0) merges[best - 1] = merges_.find(ids[best - 1], ids[best]);
  }
  return n;
}

size_t Bpe::merge_by_heap(int32_t* ids, size_t n) const {
  constexpr uint32_t kNone = UINT32_MAX;
  check(n < kNone, "tokenizer: a word of {} bytes is too long", n);
  struct Node {
    int32_t id;
    uint32_t previous, next;
    Merge merge;  // with the next
  };
  using Candidate = std::pair<uint32_t, uint32_t>;  // rank, position of the left symbol
  std::vector<Node> nodes(n);
  std::vector<Candidate> first;
  for (size_t i = 0; i < n; ++i) {
    const auto at = static_cast<uint32_t>(i);
    nodes[i] = {ids[i], i == 0 ? kNone : at - 1, i + 1 == n ? kNone : at + 1,
                i + 1 == n ? Merge{} : merges_.find(ids[i], ids[i + 1])};
    if (nodes[i].merge.rank != UINT32_MAX) first.emplace_back(nodes[i].merge.rank, at);
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> heap(std::greater<>(), std::move(first));
  const auto look = [&](uint32_t at) {
    Node& node = nodes[at];
    node.merge = node.next == kNone ? Merge{} : merges_.find(node.id, nodes[node.next].id);
    if (node.merge.rank != UINT32_MAX) heap.emplace(node.merge.rank, at);
  };
  while (!heap.empty()) {
    const auto [rank, at] = heap.top();
    heap.pop();
    Node& node = nodes[at];
    if (node.merge.rank != rank) continue;  // the pair that stood here has changed since
    const uint32_t gone = node.next;
    node.id = node.merge.id;
    node.next = nodes[gone].next;
    nodes[gone].merge = Merge{};
    if (node.next != kNone) nodes[node.next].previous = at;
    look(at);
    if (node.previous != kNone) look(node.previous);
  }
  size_t count = 0;
  for (uint32_t at = 0; at != kNone; at = nodes[at].next) ids[count++] = nodes[at].id;
  return count;
}

}  // namespace

std::unique_ptr<TokenModel> make_bpe(const Json& model, bool byte_level, const Vocabulary& vocabulary,
                                     const std::string& where) {
  return std::make_unique<Bpe>(model, byte_level, vocabulary, where);
}

}  // namespace tenon::text
