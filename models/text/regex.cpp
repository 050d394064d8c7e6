#include "regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <mutex>

#include "../../runtime/check.h"

namespace tenon::text {
namespace {

// PCRE2's \s takes U+180E for a space, Unicode (and with it Hugging Face's engines) does not: \s is spelt out.
constexpr std::string_view kSpaces =
    "\\t-\\r\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}\\x{3000}";

std::string spell_out_spaces(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      if (next == 's')
        out.append(in_class ? "" : "[").append(kSpaces).append(in_class ? "" : "]");
      else if (next == 'S' && !in_class)
        out.append("[^").append(kSpaces).append("]");
      else
        out.append({c, next});
      continue;
    }
    if (!in_class && c == '[') {
      in_class = true;
      out.push_back(c);
      if (i + 1 < pattern.size() && pattern[i + 1] == '^') out.push_back(pattern[++i]);
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') out.push_back(pattern[++i]);
      continue;
    }
    if (in_class && c == ']') in_class = false;
    out.push_back(c);
  }
  return out;
}

std::string message_of(int code) {
  unsigned char buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

constexpr size_t kMaxJitStack = size_t{4} << 20;
constexpr uint32_t kMatchLimit = 5'000'000;

}  // namespace

// Scratch of one search: block of results, limits, stack. Kept for the next search, so that short texts cost no
// allocation.
struct Regex::Code {
  struct Scratch {
    pcre2_match_data* match = nullptr;
    pcre2_match_context* context = nullptr;
    pcre2_jit_stack* stack = nullptr;
    Scratch() = default;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
      pcre2_match_data_free(match);
      pcre2_match_context_free(context);
      if (stack != nullptr) pcre2_jit_stack_free(stack);
    }
  };

  std::string where, pattern;
  pcre2_code* code = nullptr;
  bool jit = false;
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Scratch>> spare;

  Code() = default;
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() { pcre2_code_free(code); }

  std::unique_ptr<Scratch> take() const {
    {
      const std::lock_guard lock(mutex);
      if (!spare.empty()) {
        auto scratch = std::move(spare.back());
        spare.pop_back();
        return scratch;
      }
    }
    auto scratch = std::make_unique<Scratch>();
    scratch->match = pcre2_match_data_create_from_pattern(code, nullptr);
    scratch->context = pcre2_match_context_create(nullptr);
    check(scratch->match != nullptr && scratch->context != nullptr, "{}: no memory for a regular expression", where);
    if (jit) {
      scratch->stack = pcre2_jit_stack_create(32 * 1024, kMaxJitStack, nullptr);
      if (scratch->stack != nullptr) pcre2_jit_stack_assign(scratch->context, nullptr, scratch->stack);
    }
    return scratch;
  }

  void give_back(std::unique_ptr<Scratch> scratch) const {
    const std::lock_guard lock(mutex);
    spare.push_back(std::move(scratch));
  }

  // The match at or after `from`; false: none.
  bool match(Scratch& scratch, std::string_view text, size_t from, TextSpan& span) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data() == nullptr ? "" : text.data());
    int rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, scratch.match, scratch.context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
      rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch.match,
                       scratch.context);
    if (rc == PCRE2_ERROR_NOMATCH) return false;
    if (rc < 0)
      fail("{}: regular expression {} failed on a text of {} bytes: {}", where, pattern, text.size(), message_of(rc));
    const PCRE2_SIZE* found = pcre2_get_ovector_pointer(scratch.match);
    span = {found[0], found[1]};
    return true;
  }
};

Regex::Regex(const std::string& pattern, const std::string& where) {
  auto code = std::make_shared<Code>();
  code->where = where;
  code->pattern = pattern;
  const std::string spelt = spell_out_spaces(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelt.data()), spelt.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code->code == nullptr) fail("{}: regular expression {} is not understood: {}", where, pattern, message_of(error));
  code->jit = pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE) == 0;
  code_ = std::move(code);
}

void Regex::find_all(std::string_view text, std::vector<TextSpan>& out) const {
  auto scratch = code_->take();
  // A class of characters repeated over a whole text counts once per character, so the limit grows with the text.
  const size_t limit = kMatchLimit + 16 * text.size();
  pcre2_set_match_limit(scratch->context, limit > 0xFFFFFFFFu ? 0xFFFFFFFFu : static_cast<uint32_t>(limit));
  TextSpan span;
  size_t from = 0;
  while (from <= text.size() && code_->match(*scratch, text, from, span)) {
    // \K in a lookaround can put the end before the begin; such a match counts as empty.
    if (span.end > span.begin && span.begin >= from) {
      out.push_back(span);
      from = span.end;
    } else {
      from = (span.end > from ? span.end : from) + 1;
      while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
    }
  }
  code_->give_back(std::move(scratch));
}

bool Regex::matches(std::string_view text) const {
  auto scratch = code_->take();
  pcre2_set_match_limit(scratch->context, kMatchLimit);
  TextSpan span;
  const bool found = code_->match(*scratch, text, 0, span);
  code_->give_back(std::move(scratch));
  return found;
}

std::string regex_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    const bool plain =
        u >= 0x80 || (u >= '0' && u <= '9') || (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') || u <= ' ';
    if (!plain) out.push_back('\\');
    out.push_back(c);
  }
  return out;
}

}  // namespace tenon::text
