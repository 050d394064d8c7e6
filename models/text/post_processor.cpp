#include "post_processor.h"

#include "json_fields.h"

namespace tenon::text {
namespace {

int32_t known_id(int64_t id, const std::function<bool(int64_t)>& known, const std::string& where) {
  check(known(id), "{}: id {} is not in the vocabulary", where, id);
  return static_cast<int32_t>(id);
}

}  // namespace

PostProcessor::PostProcessor(const Json& json, const std::function<bool(int64_t)>& known, const std::string& where) {
  for (const auto& [part, place] : parts_of(json, "processors", where)) add(*part, known, place);
}

void PostProcessor::add(const Json& json, const std::function<bool(int64_t)>& known, const std::string& where) {
  const std::string type = string_field(json, "type", where);
  if (type == "TemplateProcessing") {
    std::vector<int32_t> left, right;
    bool seen_text = false;
    for (const Json& piece : array_field(json, "single", where)) {
      if (find_field(piece, "Sequence", where) != nullptr) {
        check(!seen_text, "{}: a template with the text twice is not supported", where);
        seen_text = true;
        continue;
      }
      const std::string name = string_field(object_field(piece, "SpecialToken", where), "id", where);
      const Json& token = object_field(object_field(json, "special_tokens", where), name.c_str(), where);
      for (const Json& id : array_field(token, "ids", where)) {
        check(id.is_number_integer(), "{}: the ids of {} must be whole numbers", where, name);
        (seen_text ? right : left).push_back(known_id(id.get<int64_t>(), known, where));
      }
    }
    check(seen_text, "{}: a template without the text is not supported", where);
    before.insert(before.begin(), left.begin(), left.end());
    after.insert(after.end(), right.begin(), right.end());
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    const auto id_of = [&](const char* key) {
      const Json& pair = array_field(json, key, where);
      check(pair.size() == 2 && pair[1].is_number_integer(), "{}: '{}' must be a token and its id", where, key);
      return known_id(pair[1].get<int64_t>(), known, where);
    };
    before.insert(before.begin(), id_of("cls"));
    after.push_back(id_of("sep"));
  } else if (type != "ByteLevel") {
    fail(
        "{}: post-processor {} is not supported (known: TemplateProcessing, BertProcessing, RobertaProcessing, "
        "ByteLevel, Sequence)",
        where, type);
  }
}

}  // namespace tenon::text
