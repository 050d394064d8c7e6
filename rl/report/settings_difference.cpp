#include "settings_difference.h"

#include <algorithm>
#include <string_view>

namespace tenon::rl {
namespace {

// The value at the start of `text`, without the comment: a # inside a string is no comment.
std::string value_of(std::string_view text) {
  char quote = 0;
  size_t end = 0;
  for (; end < text.size(); ++end) {
    const char c = text[end];
    if (quote == '"' && c == '\\')
      ++end;
    else if (quote && c == quote)
      quote = 0;
    else if (!quote && (c == '"' || c == '\''))
      quote = c;
    else if (!quote && c == '#')
      break;
  }
  end = std::min(end, text.size());
  while (end > 0 && text[end - 1] == ' ') --end;
  return std::string(text.substr(0, end));
}

}  // namespace

std::vector<SettingDifference> differing_settings(const std::vector<std::string>& texts) {
  std::vector<SettingDifference> all;
  for (size_t i = 0; i < texts.size(); ++i) {
    std::string section;
    for (size_t at = 0; at < texts[i].size();) {
      const size_t end = std::min(texts[i].find('\n', at), texts[i].size());
      const std::string_view line = std::string_view(texts[i]).substr(at, end - at);
      at = end + 1;
      if (line.starts_with('[') && line.ends_with(']')) {
        section = std::string(line.substr(1, line.size() - 2)) + ".";
        continue;
      }
      const size_t equals = line.find(" = ");
      if (equals == std::string_view::npos) continue;
      const std::string name = section + std::string(line.substr(0, equals));
      auto found = std::find_if(all.begin(), all.end(), [&](const SettingDifference& d) { return d.name == name; });
      if (found == all.end()) found = all.insert(all.end(), {name, std::vector<std::string>(texts.size())});
      found->values[i] = value_of(line.substr(equals + 3));
    }
  }
  std::erase_if(all, [](const SettingDifference& d) {
    const auto missing = std::count(d.values.begin(), d.values.end(), "");
    if (missing > static_cast<std::ptrdiff_t>(d.values.size()) - 2) return true;
    return std::all_of(d.values.begin(), d.values.end(), [&](const std::string& v) { return v == d.values[0]; });
  });
  return all;
}

}  // namespace tenon::rl
