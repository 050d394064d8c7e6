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

// Valid UTF-8 without added tokens.
void Tokenizer::Parts::encode_words(std::string_view text, bool at_start, Scratch& scratch,
                                    std::vector<int32_t>& out) const {
  Pieces& pieces = scratch.pieces;
  pieces.text = text;
  pieces.at_start = at_start;
  pre_tokenizer(pieces);
  for (size_t i = 0; i < pieces.spans.size(); ++i) model->encode(pieces[i], scratch.model.get(), out);
}

// Valid UTF-8 without those added tokens that are looked for before normalization.
void Tokenizer::Parts::encode_text(std::string_view text, bool at_start, Scratch& scratch,
                                   std::vector<int32_t>& out) const {
  std::string normalized;
  if (!normalizer.empty()) {
    normalized = normalizer(text);
    text = normalized;
  }
  if (added.in_normalized().empty()) return encode_words(text, at_start, scratch, out);
  scratch.inner.clear();
  added.in_normalized().split(text, added.all(), scratch.inner);
  for (const auto& part : scratch.inner) {
    if (part.token >= 0)
      out.push_back(added.all()[static_cast<size_t>(part.token)].id);
    else
      encode_words(text.substr(part.span.begin, part.span.end - part.span.begin), at_start && part.span.begin == 0,
                   scratch, out);
  }
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  Parts& parts = *parts_;
  std::vector<int32_t> out;
  out.reserve(text.size() / 3 + 8);
  if (add_special_tokens) {
    const auto& before = parts.post_processor.before;
    if (parts.special.add_bos && parts.bos && (before.empty() || before.front() != *parts.bos))
      out.push_back(*parts.bos);
    out.insert(out.end(), before.begin(), before.end());
  }

  auto scratch = parts.take_scratch();
  std::string repaired;
  bool valid = valid_utf8_prefix(text) == text.size();
  if (!valid && !parts.pre_tokenizer.byte_level()) {
    repaired = to_valid_utf8(text);
    text = repaired;
    valid = true;
  }
  scratch->outer.clear();
  parts.added.in_text().split(text, parts.added.all(), scratch->outer);
  for (const auto& part : scratch->outer) {
    if (part.token >= 0) {
      out.push_back(parts.added.all()[static_cast<size_t>(part.token)].id);
      continue;
    }
    std::string_view rest = text.substr(part.span.begin, part.span.end - part.span.begin);
    bool at_start = part.span.begin == 0;
    while (!rest.empty()) {
      const size_t run = valid ? rest.size() : valid_utf8_prefix(rest);
      if (run > 0) parts.encode_text(rest.substr(0, run), at_start, *scratch, out);
      rest.remove_prefix(run);
      at_start = false;
      if (rest.empty()) break;
      parts.model->encode(rest.substr(0, 1), scratch->model.get(), out);  // a byte that is in no character
      rest.remove_prefix(1);
    }
  }
  parts.give_back(std::move(scratch));

  if (add_special_tokens) {
    const auto& after = parts.post_processor.after;
    out.insert(out.end(), after.begin(), after.end());
    if (parts.special.add_eos && parts.eos && (after.empty() || after.back() != *parts.eos)) out.push_back(*parts.eos);
  }
  return out;
}

}  // namespace tenon::text
