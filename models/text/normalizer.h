// The normalizer of a tokenizer.json: what happens to a text before it is split. Internal.
//
// Known: NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, Sequence.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "../../runtime/json.h"
#include "marks.h"

namespace tenon::text {

class Normalizer {
 public:
  Normalizer() = default;  // changes nothing
  Normalizer(const Json&, const std::string& where);

  bool empty() const { return steps_.empty(); }
  /// `marks`, if there are any, become offsets in what is returned: as long as what their part of the text before them
  /// becomes by itself. Nothing is put in front of a text that `continues` another.
  std::string operator()(std::string_view text, Marks* marks = nullptr, bool continues = false) const;

 private:
  using Change = std::function<std::string(std::string_view)>;
  struct Step {
    Change whole;
    Change prefix;  // of a text that goes on
    bool prepends = false;
  };
  void add(const Json&, const std::string& where);
  std::vector<Step> steps_;
};

}  // namespace tenon::text
