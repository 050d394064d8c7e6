// The normalizer of a tokenizer.json: what happens to a text before it is split. Internal.
//
// Known: NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, Sequence.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "../../runtime/json.h"

namespace tenon::text {

class Normalizer {
 public:
  Normalizer() = default;  // changes nothing
  Normalizer(const Json&, const std::string& where);

  bool empty() const { return steps_.empty(); }
  std::string operator()(std::string_view text) const;

 private:
  void add(const Json&, const std::string& where);
  std::vector<std::function<std::string(std::string_view)>> steps_;
};

}  // namespace tenon::text
