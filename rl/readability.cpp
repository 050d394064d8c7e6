#include "readability.h"

#include <algorithm>
#include <set>
#include <vector>

namespace tenon::rl {
namespace {

constexpr std::string_view kWhite = " \t\r\v\f";

// Calls `visit` with each line, less the white space around it.
template <class Visit>
void for_lines(std::string_view text, Visit&& visit) {
  while (true) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    line.remove_prefix(std::min(line.find_first_not_of(kWhite), line.size()));
    line = line.substr(0, line.find_last_not_of(kWhite) + 1);
    visit(line);
    if (end == text.size()) return;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

double repeated_share(std::span<const int32_t> tokens, size_t n) {
  if (n == 0 || tokens.size() < n) return 0;
  std::set<std::vector<int32_t>> seen;
  size_t repeated = 0;
  const size_t pieces = tokens.size() - n + 1;
  for (size_t i = 0; i < pieces; ++i)
    repeated += !seen.emplace(tokens.begin() + static_cast<std::ptrdiff_t>(i),
                              tokens.begin() + static_cast<std::ptrdiff_t>(i + n))
                     .second;
  return static_cast<double>(repeated) / static_cast<double>(pieces);
}

int64_t longest_paragraph(std::string_view text) {
  int64_t longest = 0, length = 0;
  for_lines(text, [&](std::string_view line) {
    if (line.empty()) {
      length = 0;
      return;
    }
    length += length > 0;                                                                // the line break
    for (const char c : line) length += (static_cast<unsigned char>(c) & 0xc0) != 0x80;  // not a continuation byte
    longest = std::max(longest, length);
  });
  return longest;
}

bool has_code_block(std::string_view text) {
  bool found = false;
  for_lines(text, [&](std::string_view line) { found |= line.starts_with("```") || line.starts_with("~~~"); });
  return found;
}

}  // namespace tenon::rl
