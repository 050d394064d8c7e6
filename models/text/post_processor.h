// The post-processor of a tokenizer.json, for one text: which special tokens stand before and after it. Internal.
//
// Known: TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel (which only moves offsets), Sequence.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../../runtime/json.h"

namespace tenon::text {

struct PostProcessor {
  std::vector<int32_t> before, after;

  PostProcessor() = default;
  PostProcessor(const Json&, const std::function<bool(int64_t)>& known, const std::string& where);

 private:
  void add(const Json&, const std::function<bool(int64_t)>& known, const std::string& where);
};

}  // namespace tenon::text
