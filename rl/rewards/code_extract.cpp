#include "code_extract.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "response.h"

namespace tenon::rl::rewards {
namespace {

struct Block {
  std::string tag, text;
};

std::string_view trimmed_left(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  return line;
}

std::string tag_of(std::string_view fence) {  // "```python title=x"
  fence.remove_prefix(std::min(fence.find_first_not_of('`'), fence.size()));
  fence = trimmed_left(fence);
  std::string tag(fence.substr(0, fence.find_first_of(" \t\r{")));
  std::ranges::transform(tag, tag.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return tag;
}

std::vector<Block> fenced_blocks(std::string_view text) {
  std::vector<Block> blocks;
  bool inside = false;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (trimmed_left(line).starts_with("```")) {
      if (!inside) blocks.push_back({tag_of(trimmed_left(line)), {}});
      inside = !inside;
    } else if (inside) {
      blocks.back().text.append(line).append("\n");
    }
  }
  return blocks;
}

}  // namespace

bool language_of_tag(std::string_view tag, CodeLanguage& language) {
  std::string low(tag);
  std::ranges::transform(low, low.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (low == "python" || low == "py" || low == "python3" || low == "py3") {
    language = CodeLanguage::python;
  } else if (low == "cpp" || low == "c++" || low == "cc" || low == "cxx") {
    language = CodeLanguage::cpp;
  } else {
    return false;
  }
  return true;
}

ExtractedCode extract_code(std::string_view response, CodeLanguage language, bool any) {
  ExtractedCode out{.language = language};
  const auto answer = answer_part(response);
  if (!answer) return out;
  const std::vector<Block> blocks = fenced_blocks(*answer);
  if (blocks.empty()) {
    out.text = *answer;
    return out;
  }
  const Block* untagged = nullptr;
  for (auto block = blocks.rbegin(); block != blocks.rend(); ++block) {
    CodeLanguage tagged{};
    if (language_of_tag(block->tag, tagged) && (any || tagged == language)) {
      out.language = tagged;
      out.text = block->text;
      return out;
    }
    if (block->tag.empty() && !untagged) untagged = &*block;
  }
  if (untagged) out.text = untagged->text;
  return out;
}

}  // namespace tenon::rl::rewards
