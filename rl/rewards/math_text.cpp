#include "math_text.h"

#include <algorithm>
#include <cctype>

namespace tenon::rl {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// \command with no letter behind it, so that \le is not taken out of \left.
void replace_command(std::string& text, std::string_view command, std::string_view to) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text.compare(i, command.size(), command) == 0 &&
        (i + command.size() >= text.size() || !letter(text[i + command.size()]))) {
      out += to;
      i += command.size();
    } else {
      out += text[i++];
    }
  }
  text = std::move(out);
}

int depth_change(std::string_view text, size_t i) {
  const char c = text[i];
  return c == '(' || c == '[' || c == '{' ? 1 : c == ')' || c == ']' || c == '}' ? -1 : 0;
}

// 1,234,567 outside brackets is a number; 1,2345 is two.
void join_thousands(std::string& text) {
  std::string out;
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    depth += depth_change(text, i);
    if (depth != 0 || !digit(text[i]) || (i > 0 && (digit(text[i - 1]) || text[i - 1] == '.' || text[i - 1] == ','))) {
      out += text[i];
      continue;
    }
    size_t end = i;
    while (end < text.size() && digit(text[end])) ++end;
    const size_t first = end - i;
    size_t groups = 0;
    while (first <= 3 && end + 3 < text.size() + 0 && text[end] == ',' && digit(text[end + 1]) &&
           digit(text[end + 2]) && digit(text[end + 3]) && !(end + 4 < text.size() && digit(text[end + 4])))
      end += 4, ++groups;
    const bool broken = end + 1 < text.size() && text[end] == ',' && digit(text[end + 1]);
    for (size_t j = i; j < end; ++j)
      if (groups == 0 || broken || text[j] != ',') out += text[j];
    i = end - 1;
  }
  text = std::move(out);
}

// 1\,000 is a number too: \, between digits, three behind.
void join_thin_spaces(std::string& text) {
  for (size_t at = text.find("\\,"); at != std::string::npos; at = text.find("\\,", at + 1)) {
    const bool grouped = at > 0 && digit(text[at - 1]) && at + 4 < text.size() && digit(text[at + 2]) &&
                         digit(text[at + 3]) && digit(text[at + 4]) && !(at + 5 < text.size() && digit(text[at + 5]));
    if (grouped) text.erase(at, 2);
  }
}

}  // namespace

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done).append(to);
    done = at + from.size();
  }
  if (done > 0) text = out.append(text, done);
}

std::string trimmed(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return std::string(text);
}

std::string plain_answer(std::string_view input) {
  std::string text = trimmed(input);
  for (const auto& [from, to] : std::initializer_list<std::pair<const char*, const char*>>{{"\\\\", kRowEnd},
                                                                                           {",\\! ", ""},
                                                                                           {",\\!", ""},
                                                                                           {"{,}", ""},
                                                                                           {"\\!", ""},
                                                                                           {"\\$", ""},
                                                                                           {"$", ""},
                                                                                           {"\\(", ""},
                                                                                           {"\\)", ""},
                                                                                           {"\\[", ""},
                                                                                           {"\\]", ""},
                                                                                           {"\u2212", "-"},
                                                                                           {"\u2013", "-"},
                                                                                           {"\u00D7", "\\times "},
                                                                                           {"\u00B7", "\\cdot "},
                                                                                           {"\u00F7", "/"},
                                                                                           {"\u03C0", "\\pi "},
                                                                                           {"\u221A", "\\sqrt "},
                                                                                           {"\u221E", "\\infty "},
                                                                                           {"\u00B0", "^\\circ "},
                                                                                           {"\u2264", "\\le "},
                                                                                           {"\u2265", "\\ge "},
                                                                                           {"\u2260", "\\ne "},
                                                                                           {"\u222A", "\\cup "},
                                                                                           {"\u2205", "\\emptyset "},
                                                                                           {"\uFF0C", ","},
                                                                                           {"\u3002", "."},
                                                                                           {"\u00A0", " "},
                                                                                           {"\\%", "%"},
                                                                                           {"p.m.", "pm"},
                                                                                           {"a.m.", "am"},
                                                                                           {"**", "^"},
                                                                                           {"^{\\circ}", "\\degree "},
                                                                                           {"^\\circ", "\\degree "}})
    replace_all(text, from, to);
  for (const char* frac : {"\\dfrac", "\\tfrac", "\\cfrac"}) replace_command(text, frac, "\\frac");
  for (const char* size :
       {"\\left", "\\right", "\\big", "\\Big", "\\bigg", "\\Bigg", "\\bigl", "\\bigr", "\\displaystyle", "\\limits"})
    replace_command(text, size, "");
  replace_command(text, "\\lvert", "|"), replace_command(text, "\\rvert", "|");
  replace_command(text, "\\leq", "\\le"), replace_command(text, "\\geq", "\\ge"),
      replace_command(text, "\\neq", "\\ne");
  replace_command(text, "\\leqslant", "\\le"), replace_command(text, "\\geqslant", "\\ge");
  replace_command(text, "\\lt", "<"), replace_command(text, "\\gt", ">");
  replace_command(text, "\\lbrace", "\\{"), replace_command(text, "\\rbrace", "\\}");
  replace_command(text, "\\varnothing", "\\emptyset");
  replace_command(text, "\\operatorname", "\\text"), replace_command(text, "\\mathrm", "\\text"),
      replace_command(text, "\\mbox", "\\text");
  replace_command(text, "\\textbf", "\\text"), replace_command(text, "\\textit", "\\text"),
      replace_command(text, "\\mathbf", "\\text"), replace_command(text, "\\textrm", "\\text");
  join_thin_spaces(text);
  for (const char* space : {"\\,", "\\;", "\\:", "\\ ", "~"}) replace_all(text, space, " ");
  replace_command(text, "\\quad", " "), replace_command(text, "\\qquad", " ");
  join_thousands(text);
  return trimmed(text);
}

std::vector<std::string> split_outside(std::string_view text, std::string_view separators) {
  std::vector<std::string> parts(1);
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    depth += depth_change(text, i);
    if (depth == 0 && separators.find(text[i]) != std::string_view::npos)
      parts.emplace_back();
    else
      parts.back() += text[i];
  }
  return parts;
}

std::string plain_words(std::string_view input) {
  std::string text(input), out;
  for (const char* command : {"\\text", "\\textbf", "\\mathrm", "\\textit", "\\mathbf", "\\mbox"})
    replace_command(text, command, "");
  for (const char c : text) {
    if (c == ' ' || c == '\n' || c == '\t' || c == '~') {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else if (std::string_view("{}$\\\"'*`").find(c) == std::string_view::npos) {
      out += static_cast<char>(static_cast<unsigned char>(c) < 0x80 ? std::tolower(static_cast<unsigned char>(c)) : c);
    }
  }
  while (!out.empty() && std::string_view(" .,;:!()").find(out.back()) != std::string_view::npos) out.pop_back();
  const size_t first = out.find_first_not_of(" .,;:(");
  return first == std::string::npos ? std::string() : out.substr(first);
}

}  // namespace tenon::rl
