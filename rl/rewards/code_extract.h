// The program in a response: the last fenced block of the language asked for. Internal.
#pragma once

#include <string>
#include <string_view>

namespace tenon::rl::rewards {

enum class CodeLanguage { python, cpp };

struct ExtractedCode {
  std::string text;  // empty when there is none
  CodeLanguage language = CodeLanguage::python;
};

/// `tag`: "python", "py", "python3", "cpp", "c++", "cc", "cxx" in any case. False for others.
bool language_of_tag(std::string_view tag, CodeLanguage& language);

/// The last block of the answer (response.h) whose tag names `language`, else its last block without a tag; blocks with
/// another tag (bash, text, json) are none. An unclosed block goes to the end. `any`: whichever of the languages the
/// last block's tag names, `language` for one without a tag. A response without blocks is code as a whole.
ExtractedCode extract_code(std::string_view response, CodeLanguage language, bool any = false);

}  // namespace tenon::rl::rewards
