// Whether a page is HTML whose tags match, for the subset that the reports are written in: every element is closed or
// void, every attribute quoted, and no < or > stands loose.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace tenon::testing {

/// Empty when the page is well-formed, else what is wrong and where.
inline std::string not_well_formed(const std::string& page) {
  static const std::set<std::string> void_elements{"meta", "br"};
  const auto near = [&](size_t at) { return " near '" + page.substr(at, 60) + "'"; };
  std::vector<std::string> open;
  size_t at = 0;
  if (page.rfind("<!doctype html>\n", 0) != 0) return "no doctype";
  at = 16;
  while (at < page.size()) {
    const char c = page[at];
    if (c == '>') return "a loose >" + near(at);
    if (c == '&') {
      const size_t end = page.find(';', at);
      if (end == std::string::npos || end - at > 8) return "a loose &" + near(at);
    }
    if (c != '<') {
      ++at;
      continue;
    }
    const bool closing = page.compare(at, 2, "</") == 0;
    size_t end = at + 1 + closing;
    std::string name;
    while (end < page.size() && (std::isalnum(static_cast<unsigned char>(page[end])) != 0)) name += page[end++];
    if (name.empty()) return "a loose <" + near(at);
    while (end < page.size() && page[end] != '>' && page[end] != '/') {  // attributes
      if (page[end] != ' ' && page[end] != '\n') return "attributes run together" + near(at);
      ++end;
      while (end < page.size() && page[end] != '=' && page[end] != '>' && page[end] != ' ') ++end;
      if (page.compare(end, 2, "=\"") != 0) return "an attribute without quotes" + near(at);
      end = page.find('"', end + 2);
      if (end == std::string::npos) return "an open quote" + near(at);
      ++end;
    }
    const bool empty = end < page.size() && page[end] == '/';
    end += empty;
    if (end >= page.size() || page[end] != '>') return "an open tag" + near(at);
    if (closing) {
      if (open.empty() || open.back() != name)
        return "</" + name + "> closes <" + (open.empty() ? "" : open.back()) + ">" + near(at);
      open.pop_back();
    } else if (!empty && !void_elements.contains(name)) {
      open.push_back(name);
      if (name == "style") end = page.find("</style>", end) - 1;
    }
    at = end + 1;
  }
  return open.empty() ? "" : "<" + open.back() + "> is not closed";
}

}  // namespace tenon::testing
