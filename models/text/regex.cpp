#include "regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <mutex>

#include "../../runtime/check.h"
#include "../../runtime/error.h"
#include "oniguruma.h"
#include "recent_unicode.h"

namespace tenon::text {
namespace {

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

  Code(const std::string& where, const std::string& pattern, const std::string& translated);
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

Regex::Code::Code(const std::string& place, const std::string& written, const std::string& translated)
    : where(place), pattern(written) {
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  check(context != nullptr, "{}: no memory for a regular expression", where);
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                       PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context);
  pcre2_compile_context_free(context);
  if (code == nullptr) fail("{}: regular expression {} is not understood: {}", where, pattern, message_of(error));
  jit = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
}

namespace {

std::string translate(const std::string& pattern, bool recent, const std::string& where) {
  try {
    return oniguruma_to_pcre2(pattern, recent);
  } catch (const Error& e) {
    fail("{}: regular expression {} is not understood: {}", where, pattern, e.what());
  }
}

}  // namespace

// The pattern for nearly all texts, and made at need the one for texts with characters that PCRE2 does not know.
struct Regex::Codes {
  Code plain;
  std::string with_recent;  // translated; empty: the same
  mutable std::once_flag once;
  mutable std::unique_ptr<const Code> recent;

  Codes(const std::string& where, const std::string& pattern, const std::string& translated)
      : plain(where, pattern, translated), with_recent(translate(pattern, true, where)) {
    if (with_recent == translated) with_recent.clear();
  }
  const Code& code_for(std::string_view text) const {
    if (with_recent.empty() || !holds_recent(text)) return plain;
    std::call_once(once, [&] { recent = std::make_unique<const Code>(plain.where, plain.pattern, with_recent); });
    return *recent;
  }
};

Regex::Regex(const std::string& pattern, const std::string& where)
    : codes_(std::make_shared<const Codes>(where, pattern, translate(pattern, false, where))) {}

void Regex::find_all(std::string_view text, std::vector<TextSpan>& out) const {
  const Code& code = codes_->code_for(text);
  auto scratch = code.take();
  // A class of characters repeated over a whole text counts once per character, so the limit grows with the text.
  const size_t limit = kMatchLimit + 16 * text.size();
  pcre2_set_match_limit(scratch->context, limit > 0xFFFFFFFFu ? 0xFFFFFFFFu : static_cast<uint32_t>(limit));
  TextSpan span;
  size_t from = 0;
  while (from <= text.size() && code.match(*scratch, text, from, span)) {
    // \K in a lookaround can put the end before the begin; such a match counts as empty.
    if (span.end > span.begin && span.begin >= from) {
      out.push_back(span);
      from = span.end;
    } else {
      from = (span.end > from ? span.end : from) + 1;
      while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
    }
  }
  code.give_back(std::move(scratch));
}

}  // namespace tenon::text
