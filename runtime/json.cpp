#include "json.h"

#include <algorithm>
#include <set>
#include <vector>

#include "check.h"
#include "files.h"

namespace tenon {
namespace {

// "line 3, column 7" of a byte, from 1.
std::string position(std::string_view text, size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte > 0 ? byte - 1 : 0, text.size()));
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const size_t last_break = before.rfind('\n');
  return fmt::format("line {}, column {}", line,
                     before.size() - (last_break == std::string_view::npos ? 0 : last_break + 1) + 1);
}

// nlohmann's texts begin with "[json.exception.parse_error.101] parse error at line 1, column 2: ".
std::string reason(const std::string& what) {
  const size_t colon = what.find(": ");
  return colon == std::string::npos ? what : what.substr(colon + 2);
}

}  // namespace

Json parse_json(std::string_view text, const std::string& what) {
  std::vector<std::set<std::string>> open_objects;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) {
      open_objects.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      open_objects.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& name = value.get_ref<const std::string&>();
      check(open_objects.back().insert(name).second, "{}: the name \"{}\" is given twice", what, name);
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::parse_error& e) {
    fail("{}: not valid JSON at {}: {}", what, position(text, e.byte), reason(e.what()));
  } catch (const Json::exception& e) {
    fail("{}: not valid JSON: {}", what, reason(e.what()));
  }
}

Json read_json(const std::string& path) { return parse_json(read_file(path), path); }

}  // namespace tenon
