// Encoding: added tokens are cut out, the rest is normalized, cut into words and given to the model.
#include "../../runtime/check.h"
#include "tokenizer_parts.h"
#include "unicode.h"

namespace tenon::text {

std::unique_ptr<Tokenizer::Parts::Scratch> Tokenizer::Parts::take_scratch() {
  {
    const std::lock_guard lock(mutex);
    if (!spare.empty()) {
      auto scratch = std::move(spare.back());
      spare.pop_back();
      return scratch;
    }
  }
  auto scratch = std::make_unique<Scratch>();
  scratch->model = model->scratch();
  return scratch;
}

void Tokenizer::Parts::give_back(std::unique_ptr<Scratch> scratch) {
  const std::lock_guard lock(mutex);
  spare.push_back(std::move(scratch));
}

// Parts of a text one after the other: of an added token its id, of what stands between tokens what `encode` adds for
// it.
template <class Encode>
void Tokenizer::Parts::encode_split(std::string_view text, bool at_start, const Marks& marks,
                                    const std::vector<TokenFinder::Part>& split, Output& out, Encode&& encode) const {
  size_t mark = 0;
  for (const auto& part : split) {
    Marks of_part = take_marks(marks, mark, part.span);
    const size_t first = out.ids.size();
    if (part.token >= 0) {
      out.ids.push_back(added.all()[static_cast<size_t>(part.token)].id);
      for (const Mark& m : of_part) out.found(m, first, first + (m.at > 0));
    } else {
      encode(text.substr(part.span.begin, part.span.end - part.span.begin), at_start && part.span.begin == 0,
             std::move(of_part));
    }
  }
  for (; mark < marks.size(); ++mark) out.found(marks[mark], out.ids.size(), out.ids.size());
}

// Valid UTF-8 without added tokens.
void Tokenizer::Parts::encode_words(std::string_view text, bool at_start, Marks marks, Scratch& scratch,
                                    Output& out) const {
  Pieces& pieces = scratch.pieces;
  pieces.text = text;
  pieces.at_start = at_start;
  pieces.marks = std::move(marks);
  pieces.continues = at_start && out.continues;
  pre_tokenizer(pieces);
  size_t mark = 0;
  for (size_t i = 0; i < pieces.spans.size(); ++i) {
    const size_t first = out.ids.size();
    model->encode(pieces[i], scratch.model.get(), out.ids);
    for (; mark < pieces.marks.size() && pieces.marks[mark].at < pieces.spans[i].end; ++mark) {
      const size_t at = pieces.marks[mark].at;
      std::string_view rest = pieces[i];
      size_t begin = pieces.spans[i].begin, token = first;
      while (begin < at && token < out.ids.size()) {
        const size_t length = std::min(model->length_of(out.ids[token], rest), rest.size());
        if (begin + length > at) break;
        begin += length;
        rest.remove_prefix(length);
        ++token;
      }
      out.found(pieces.marks[mark], token, token + (begin < at && token < out.ids.size()));
    }
  }
  for (; mark < pieces.marks.size(); ++mark) out.found(pieces.marks[mark], out.ids.size(), out.ids.size());
}

// Valid UTF-8 without those added tokens that are looked for before normalization.
void Tokenizer::Parts::encode_text(std::string_view text, bool at_start, Marks marks, Scratch& scratch,
                                   Output& out) const {
  std::string normalized;
  if (!normalizer.empty()) {
    normalized = normalizer(text, marks.empty() ? nullptr : &marks, at_start && out.continues);
    text = normalized;
  }
  if (added.in_normalized().empty()) return encode_words(text, at_start, std::move(marks), scratch, out);
  scratch.inner.clear();
  added.in_normalized().split(text, added.all(), scratch.inner);
  encode_split(text, at_start, marks, scratch.inner, out, [&](std::string_view part, bool start, Marks of_part) {
    encode_words(part, start, std::move(of_part), scratch, out);
  });
}

std::vector<int32_t> Tokenizer::Parts::encode(std::string_view text, bool add_special_tokens, const Marks& marks,
                                              Output out) {
  out.ids.reserve(text.size() / 3 + 8);
  if (add_special_tokens) {
    const auto& before = post_processor.before;
    if (special.add_bos && bos && (before.empty() || before.front() != *bos)) out.ids.push_back(*bos);
    out.ids.insert(out.ids.end(), before.begin(), before.end());
  }

  auto scratch = take_scratch();
  std::string repaired;
  bool valid = valid_utf8_prefix(text) == text.size();
  if (!valid && !pre_tokenizer.byte_level()) {
    repaired = to_valid_utf8(text);
    text = repaired;
    valid = true;
  }
  scratch->outer.clear();
  added.in_text().split(text, added.all(), scratch->outer);
  encode_split(text, true, marks, scratch->outer, out, [&](std::string_view rest, bool at_start, Marks of_part) {
    if (valid) return encode_text(rest, at_start, std::move(of_part), *scratch, out);
    while (!rest.empty()) {
      const size_t run = valid_utf8_prefix(rest);
      if (run > 0) encode_text(rest.substr(0, run), at_start, {}, *scratch, out);
      rest.remove_prefix(run);
      at_start = false;
      if (rest.empty()) break;
      model->encode(rest.substr(0, 1), scratch->model.get(), out.ids);  // a byte that is in no character
      rest.remove_prefix(1);
    }
  });
  give_back(std::move(scratch));

  if (add_special_tokens) {
    const auto& after = post_processor.after;
    out.ids.insert(out.ids.end(), after.begin(), after.end());
    if (special.add_eos && eos && (after.empty() || after.back() != *eos)) out.ids.push_back(*eos);
  }
  return std::move(out.ids);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  return parts_->encode(text, add_special_tokens, {}, {});
}

std::vector<int32_t> Tokenizer::encode_continuation(std::string_view text) const {
  return parts_->encode(text, false, {}, {.continues = true});
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens, std::span<const size_t> places,
                                       std::vector<Place>& found) const {
  const bool valid = valid_utf8_prefix(text) == text.size();
  const std::string repaired = valid ? std::string() : to_valid_utf8(text);
  Marks marks;
  for (size_t i = 0; i < places.size(); ++i) {
    check(places[i] <= text.size() && (i == 0 || places[i - 1] <= places[i]),
          "tokenizer: place {} of a text of {} bytes must ascend and lie in it", places[i], text.size());
    marks.push_back({valid ? places[i] : to_valid_utf8(text.substr(0, places[i])).size(), i});
  }
  found.assign(places.size(), {});
  return parts_->encode(valid ? text : repaired, add_special_tokens, marks, {.places = &found});
}

}  // namespace tenon::text
