// The pre-tokenizer of a tokenizer.json: cuts a text into the words that the model sees one by one. Internal.
//
// Known: ByteLevel, Split, Digits, Whitespace, WhitespaceSplit, Punctuation, Metaspace, Sequence. ByteLevel as the last
// part only splits here: the model then works on bytes rather than on the alphabet that stands for them
// (byte_alphabet.h).
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "../../runtime/json.h"
#include "marks.h"
#include "regex.h"

namespace tenon::text {

/// A text and the pieces of it, in order and apart from each other.
struct Pieces {
  std::string_view text;
  std::vector<TextSpan> spans;
  bool at_start = true;    // of the whole text: nothing, not even an added token, stands before it
  Marks marks;             // offsets in `text`
  bool continues = false;  // another text: nothing is put in front of this one

  std::string_view operator[](size_t i) const { return text.substr(spans[i].begin, spans[i].end - spans[i].begin); }

  /// Makes `text` the pieces' new text, kept here.
  void own(std::string text, std::vector<TextSpan> spans);

  // Room for the steps, kept from one use to the next.
  std::string owned;
  std::vector<TextSpan> scratch, matches;
};

class PreTokenizer {
 public:
  PreTokenizer() = default;  // one piece: the text
  PreTokenizer(const Json&, const std::string& where);

  /// Whether the model sees bytes.
  bool byte_level() const { return byte_level_; }

  /// Splits `pieces.text`, which must be valid UTF-8.
  void operator()(Pieces& pieces) const;

 private:
  void add(const Json&, const std::string& where, bool last);
  std::vector<std::function<void(Pieces&)>> steps_;
  bool byte_level_ = false;
};

}  // namespace tenon::text
