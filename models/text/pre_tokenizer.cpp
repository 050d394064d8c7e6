#include "pre_tokenizer.h"

#include <algorithm>

#include "byte_alphabet.h"
#include "json_fields.h"
#include "pattern.h"
#include "unicode.h"

namespace tenon::text {
namespace {

// What GPT-2 splits by (openai/gpt-2, encoder.py).
constexpr const char* kGpt2Pattern = R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

Behavior behavior_from(const std::string& name, const std::string& where) {
  if (name == "Removed") return Behavior::removed;
  if (name == "Isolated") return Behavior::isolated;
  if (name == "MergedWithPrevious") return Behavior::merged_with_previous;
  if (name == "MergedWithNext") return Behavior::merged_with_next;
  if (name == "Contiguous") return Behavior::contiguous;
  fail("{}: behavior {} is not supported", where, name);
}

// Cuts one piece by the matches in it (offsets from the piece's begin) and appends what is left of it.
void cut(const TextSpan& piece, const std::vector<TextSpan>& matches, Behavior behavior, bool invert,
         std::vector<TextSpan>& out) {
  const size_t first = out.size();
  size_t done = 0;
  bool previous = false;
  const auto emit = [&](size_t begin, size_t end, bool match) {
    if (begin == end) return;
    const TextSpan span{piece.begin + begin, piece.begin + end};
    switch (behavior) {
      case Behavior::removed:
        if (!match) out.push_back(span);
        break;
      case Behavior::isolated:
        out.push_back(span);
        break;
      case Behavior::contiguous:
        if (match == previous && out.size() > first)
          out.back().end = span.end;
        else
          out.push_back(span);
        break;
      case Behavior::merged_with_previous:
        if (match && !previous && out.size() > first)
          out.back().end = span.end;
        else
          out.push_back(span);
        break;
      case Behavior::merged_with_next:
        // Read from the right, a match is joined to what follows unless that is a match too.
        if (!match && previous && out.size() > first)
          out.back().end = span.end;
        else
          out.push_back(span);
        break;
    }
    previous = match;
  };
  for (const TextSpan& m : matches) {
    emit(done, m.begin, invert);
    emit(m.begin, m.end, !invert);
    done = m.end;
  }
  emit(done, piece.end - piece.begin, invert);
}

using Finder = std::function<void(std::string_view, std::vector<TextSpan>&)>;

std::function<void(Pieces&)> splitter(Finder find, Behavior behavior, bool invert) {
  return [find = std::move(find), behavior, invert](Pieces& pieces) {
    pieces.scratch.clear();
    for (size_t i = 0; i < pieces.spans.size(); ++i) {
      pieces.matches.clear();
      find(pieces[i], pieces.matches);
      cut(pieces.spans[i], pieces.matches, behavior, invert, pieces.scratch);
    }
    pieces.spans.swap(pieces.scratch);
  };
}

template <class Is>
Finder single_characters(Is is) {
  return [is](std::string_view text, std::vector<TextSpan>& out) {
    for (size_t i = 0; i < text.size();) {
      const CodePoint c = decode_utf8(text.substr(i));
      const auto next = i + static_cast<size_t>(std::max(c.length, 1));
      if (is(c.value)) out.push_back({i, next});
      i = next;
    }
  };
}

// Runs of characters of one class; class 0 is in no run.
template <class ClassOf>
Finder runs(ClassOf class_of) {
  return [class_of](std::string_view text, std::vector<TextSpan>& out) {
    int current = 0;
    for (size_t i = 0; i < text.size();) {
      const CodePoint c = decode_utf8(text.substr(i));
      const auto next = i + static_cast<size_t>(std::max(c.length, 1));
      const int k = class_of(c.value);
      if (k != 0 && k == current)
        out.back().end = next;
      else if (k != 0)
        out.push_back({i, next});
      current = k;
      i = next;
    }
  };
}

// Each piece through `change`, which appends the new text of a piece; empty pieces vanish. A mark within a piece moves
// to the end of what its part of the piece before it becomes, one at its begin or before it to the begin.
template <class Change>
void rewrite(Pieces& pieces, Change change) {
  std::string text;
  std::vector<TextSpan> spans;
  text.reserve(pieces.text.size() + pieces.spans.size());
  size_t mark = 0;
  for (size_t i = 0; i < pieces.spans.size(); ++i) {
    const size_t begin = text.size();
    change(pieces[i], i, text);
    if (text.size() > begin) spans.push_back({begin, text.size()});
    for (; mark < pieces.marks.size() && pieces.marks[mark].at < pieces.spans[i].end; ++mark) {
      size_t& at = pieces.marks[mark].at;
      std::string before;
      if (at > pieces.spans[i].begin) change(pieces[i].substr(0, at - pieces.spans[i].begin), i, before);
      at = begin + before.size();
    }
  }
  for (; mark < pieces.marks.size(); ++mark) pieces.marks[mark].at = text.size();
  pieces.own(std::move(text), std::move(spans));
}

std::function<void(Pieces&)> metaspace(const Json& json, const std::string& where) {
  const std::string replacement = string_field(json, "replacement", where, "\u2581");
  const bool legacy_prefix = bool_field(json, "add_prefix_space", where, true);
  const std::string scheme = string_field(json, "prepend_scheme", where, legacy_prefix ? "always" : "never");
  check(scheme == "always" || scheme == "first" || scheme == "never", "{}: prepend_scheme {} is not supported", where,
        scheme);
  const bool split = bool_field(json, "split", where, true);
  check(!replacement.empty(), "{}: the replacement is empty", where);
  auto cut_before = splitter(
      [replacement](std::string_view text, std::vector<TextSpan>& out) {
        for (size_t at = text.find(replacement); at != std::string_view::npos;
             at = text.find(replacement, at + replacement.size()))
          out.push_back({at, at + replacement.size()});
      },
      Behavior::merged_with_next, false);
  return [=](Pieces& pieces) {
    rewrite(pieces, [&](std::string_view piece, size_t i, std::string& out) {
      const bool first = i == 0 && pieces.spans[i].begin == 0;
      const bool prefix =
          !(first && pieces.continues) && (scheme == "always" || (scheme == "first" && first && pieces.at_start));
      if (prefix && !piece.starts_with(' ') && !piece.starts_with(replacement)) out += replacement;
      for (const char c : piece) c == ' ' ? out += replacement : out += c;
    });
    if (split) cut_before(pieces);
  };
}

}  // namespace

void Pieces::own(std::string new_text, std::vector<TextSpan> new_spans) {
  owned = std::move(new_text);
  text = owned;
  spans = std::move(new_spans);
}

PreTokenizer::PreTokenizer(const Json& json, const std::string& where) {
  const auto parts = parts_of(json, "pretokenizers", where);
  for (size_t i = 0; i < parts.size(); ++i) add(*parts[i].first, parts[i].second, i + 1 == parts.size());
}

void PreTokenizer::add(const Json& json, const std::string& where, bool last) {
  const std::string type = string_field(json, "type", where);
  if (type == "ByteLevel") {
    if (bool_field(json, "add_prefix_space", where, true)) {
      steps_.emplace_back([](Pieces& pieces) {
        rewrite(pieces, [&](std::string_view piece, size_t i, std::string& out) {
          if (!piece.starts_with(' ') && !(i == 0 && pieces.continues)) out += ' ';
          out += piece;
        });
      });
    }
    if (bool_field(json, "use_regex", where, true))
      steps_.push_back(splitter([regex = Regex(kGpt2Pattern, where)](
                                    std::string_view text, std::vector<TextSpan>& out) { regex.find_all(text, out); },
                                Behavior::isolated, false));
    byte_level_ = last;
    if (!last)
      steps_.emplace_back([](Pieces& pieces) {
        rewrite(pieces, [](std::string_view piece, size_t, std::string& out) { out += bytes_to_alphabet(piece); });
      });
  } else if (type == "Split") {
    const Json* pattern = find_field(json, "pattern", where);
    check(pattern != nullptr, "{}: needs a 'pattern'", where);
    const Behavior behavior = behavior_from(string_field(json, "behavior", where), where);
    steps_.push_back(splitter(
        [p = Pattern(*pattern, where)](std::string_view text, std::vector<TextSpan>& out) { p.find_all(text, out); },
        behavior, bool_field(json, "invert", where, false)));
  } else if (type == "Digits") {
    const bool individual = bool_field(json, "individual_digits", where, false);
    steps_.push_back(
        splitter(single_characters(is_numeric), individual ? Behavior::isolated : Behavior::contiguous, false));
  } else if (type == "Whitespace") {
    steps_.push_back(
        splitter(runs([](char32_t c) { return is_word(c)          ? 1
                                              : is_white_space(c) ? 0
                                                                  : 2; }), Behavior::removed, true));
  } else if (type == "WhitespaceSplit") {
    steps_.push_back(splitter(single_characters(is_white_space), Behavior::removed, false));
  } else if (type == "Punctuation") {
    steps_.push_back(splitter(single_characters(is_punctuation),
                              behavior_from(string_field(json, "behavior", where, "Isolated"), where), false));
  } else if (type == "Metaspace") {
    steps_.push_back(metaspace(json, where));
  } else {
    fail(
        "{}: pre-tokenizer {} is not supported (known: ByteLevel, Split, Digits, Whitespace, WhitespaceSplit, "
        "Punctuation, Metaspace, Sequence)",
        where, type);
  }
}

void PreTokenizer::operator()(Pieces& pieces) const {
  pieces.spans.clear();
  if (!pieces.text.empty()) pieces.spans.push_back({0, pieces.text.size()});
  for (const auto& step : steps_) step(pieces);
}

}  // namespace tenon::text
