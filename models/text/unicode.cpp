#include "unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "../../runtime/check.h"
#include "recent_unicode.h"

namespace tenon::text {
namespace {

// General category, "Lu".
std::string_view category(char32_t c) {
  const char* recent = recent_category(c);
  return recent != nullptr ? recent : utf8proc_category_string(static_cast<utf8proc_int32_t>(c));
}

bool continuation(unsigned char c) { return (c & 0xC0) == 0x80; }

// Allowed second bytes after each leading byte, and the length of the sequence (0: no sequence starts so).
struct Lead {
  int length;
  unsigned char low, high;
};

Lead lead(unsigned char c) {
  if (c < 0x80) return {1, 0, 0};
  if (c < 0xC2) return {0, 0, 0};
  if (c < 0xE0) return {2, 0x80, 0xBF};
  if (c == 0xE0) return {3, 0xA0, 0xBF};
  if (c == 0xED) return {3, 0x80, 0x9F};
  if (c < 0xF0) return {3, 0x80, 0xBF};
  if (c == 0xF0) return {4, 0x90, 0xBF};
  if (c < 0xF4) return {4, 0x80, 0xBF};
  if (c == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// Bytes at the front that could begin a character: the maximal part that one U+FFFD replaces. At least 1.
size_t maximal_part(std::string_view text) {
  const Lead l = lead(static_cast<unsigned char>(text[0]));
  if (l.length < 2 || text.size() < 2) return 1;
  const auto second = static_cast<unsigned char>(text[1]);
  if (second < l.low || second > l.high) return 1;
  size_t n = 2;
  while (n < static_cast<size_t>(l.length) && n < text.size() && continuation(static_cast<unsigned char>(text[n]))) ++n;
  return n;
}

// utf8proc orders combining marks by exchanging neighbours, which takes a quadratic time for a long run of them: long
// runs are put into canonical order here.
std::string order_long_runs(std::string_view text) {
  constexpr size_t kLong = 16;
  const auto combining = [](utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; };
  std::string out;
  out.reserve(text.size());
  std::vector<utf8proc_int32_t> run;
  size_t begin = 0;  // of the run
  const auto flush = [&](size_t end) {
    if (run.size() < kLong) {
      out.append(text.substr(begin, end - begin));
    } else {
      std::ranges::stable_sort(run, {}, combining);
      for (const auto c : run) append_utf8(out, static_cast<char32_t>(c));
    }
    run.clear();
  };
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = decode_utf8(text.substr(i));
    const auto next = i + static_cast<size_t>(std::max(c.length, 1));
    const auto value = static_cast<utf8proc_int32_t>(c.value);
    if (c.value >= 0x300 && combining(value) != 0) {
      if (run.empty()) begin = i;
      utf8proc_int32_t parts[16];
      int boundary = 0;
      const auto n = utf8proc_decompose_char(value, parts, 16, UTF8PROC_DECOMPOSE, &boundary);
      run.insert(run.end(), parts, parts + std::clamp<utf8proc_ssize_t>(n, 0, 16));
    } else {
      if (!run.empty()) flush(i);
      out.append(text.substr(i, next - i));
    }
    i = next;
  }
  if (!run.empty()) flush(text.size());
  return out;
}

}  // namespace

CodePoint decode_utf8(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return {first, 1};
  const Lead l = lead(first);
  if (l.length == 0 || text.size() < static_cast<size_t>(l.length)) return {};
  const auto second = static_cast<unsigned char>(text[1]);
  if (second < l.low || second > l.high) return {};
  char32_t value = first & (0x7F >> l.length);
  value = value << 6 | (second & 0x3F);
  for (int i = 2; i < l.length; ++i) {
    const auto next = static_cast<unsigned char>(text[static_cast<size_t>(i)]);
    if (!continuation(next)) return {};
    value = value << 6 | (next & 0x3F);
  }
  return {value, l.length};
}

void append_utf8(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F)), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  }
}

size_t valid_utf8_prefix(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      ++i;
      continue;
    }
    const CodePoint c = decode_utf8(text.substr(i));
    if (c.length == 0) return i;
    i += static_cast<size_t>(c.length);
  }
  return i;
}

std::string to_valid_utf8(std::string_view text) {
  size_t valid = valid_utf8_prefix(text);
  if (valid == text.size()) return std::string(text);
  std::string out;
  out.reserve(text.size() + 8);
  while (true) {
    out.append(text.substr(0, valid));
    text.remove_prefix(valid);
    if (text.empty()) return out;
    out += "\uFFFD";
    text.remove_prefix(maximal_part(text));
    valid = valid_utf8_prefix(text);
  }
}

size_t incomplete_utf8_suffix(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const std::string_view tail = text.substr(text.size() - back);
    const auto c = static_cast<unsigned char>(tail[0]);
    if (continuation(c)) continue;
    const Lead l = lead(c);
    return l.length > static_cast<int>(back) && maximal_part(tail) == back ? back : 0;
  }
  return 0;
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  // The last two are of Unicode 17, which is Rust's.
  return category(c)[0] == 'N' || (c >= 0x11DE0 && c <= 0x11DE9) || (c >= 0x16FF4 && c <= 0x16FF6);
}

bool is_letter(char32_t c) {
  if (c < 0x80) return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
  return category(c)[0] == 'L';
}

bool is_word(char32_t c) {
  if (c < 0x80) return is_letter(c) || is_numeric(c) || c == '_';
  const std::string_view k = category(c);
  if (k[0] == 'L' || k[0] == 'M' || k == "Nd" || k == "Nl" || k == "Pc") return true;
  // Join_Control, and the symbols that have the property Alphabetic: circled and squared letters.
  return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) return c > ' ' && c < 0x7F && !is_letter(c) && !is_numeric(c);
  if (c == 0x166D || c == 0x111C9) return true;  // as they were in Unicode 8
  return category(c)[0] == 'P' && !recent_punctuation(c);
}

bool surely_nfc(std::string_view text) {
  // Characters that start a sequence, are unchanged by NFC and combine with nothing before them; any other says
  // "maybe".
  size_t i = 0;
  while (i < text.size()) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0xCC) {  // below U+0300
      i += byte < 0x80 ? 1 : 2;
      continue;
    }
    const CodePoint c = decode_utf8(text.substr(i));
    const char32_t v = c.value;
    const bool stable = (v >= 0x4E00 && v <= 0x9FFF) || (v >= 0x3400 && v <= 0x4DBF) || (v >= 0x3000 && v <= 0x3029) ||
                        (v >= 0x3041 && v <= 0x3096) || (v >= 0x309B && v <= 0x30FF) || (v >= 0xFF01 && v <= 0xFF60) ||
                        (v >= 0x0400 && v <= 0x0482) || (v >= 0x2010 && v <= 0x205E) ||
                        (v >= 0x1F300 && v <= 0x1FAFF) || (v >= 0xAC00 && v <= 0xD7A3) || (v >= 0x2500 && v <= 0x27BF);
    if (!stable) return false;
    i += static_cast<size_t>(c.length);
  }
  return true;
}

namespace {

// Text without characters that are newer than the normalization.
void normalize_part(std::string_view text, NormalForm form, std::string& out) {
  if (text.empty()) return;
  int options = UTF8PROC_STABLE;
  switch (form) {
    case NormalForm::nfc:
      options |= UTF8PROC_COMPOSE;
      break;
    case NormalForm::nfd:
      options |= UTF8PROC_DECOMPOSE;
      break;
    case NormalForm::nfkc:
      options |= UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
      break;
    case NormalForm::nfkd:
      options |= UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
      break;
  }
  const std::string ordered = order_long_runs(text);
  utf8proc_uint8_t* mapped = nullptr;
  const auto length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(ordered.data()),
                   static_cast<utf8proc_ssize_t>(ordered.size()), &mapped, static_cast<utf8proc_option_t>(options));
  if (length < 0) fail("tokenizer: Unicode normalisation failed: {}", utf8proc_errmsg(length));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  out.append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
}

}  // namespace

std::string normalize(std::string_view text, NormalForm form) {
  if (form == NormalForm::nfc && surely_nfc(text)) return std::string(text);
  std::string out;
  out.reserve(text.size());
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = decode_utf8(text.substr(i));
    const auto next = i + static_cast<size_t>(std::max(c.length, 1));
    if (inert_in_unicode_9(c.value)) {
      normalize_part(text.substr(done, i - done), form, out);
      out.append(text.substr(i, next - i));
      done = next;
    }
    i = next;
  }
  normalize_part(text.substr(done), form, out);
  return out;
}

namespace {

// What is newer than utf8proc 2.8's Unicode 15.
char32_t recent_lower(char32_t c) {
  switch (c) {
    case 0x1C89:
    case 0xA7CC:
    case 0xA7CE:
    case 0xA7D2:
    case 0xA7D4:
    case 0xA7DA:
      return c + 1;
    case 0xA7CB:
      return 0x264;
    case 0xA7DC:
      return 0x19B;
    default:
      if (c >= 0x10D50 && c <= 0x10D65) return c + 0x20;
      if (c >= 0x16EA0 && c <= 0x16EB8) return c + 0x1B;
      return c;
  }
}

// Each character through `change`; what is not UTF-8 stays.
template <class Change>
std::string each_character(std::string_view text, Change change) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    if (c.length == 0)
      out.push_back(text[0]);
    else
      change(c.value, out);
    text.remove_prefix(static_cast<size_t>(std::max(c.length, 1)));
  }
  return out;
}

}  // namespace

std::string lower_case(std::string_view text) {
  return each_character(text, [](char32_t c, std::string& out) {
    if (c == 0x130)  // İ is the one character whose lower case is two
      out += "i\u0307";
    else
      append_utf8(out, recent_lower(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)))));
  });
}

std::string upper_case(std::string_view text) {
  return each_character(text, [](char32_t c, std::string& out) {
    if (c == 0xDF)
      out += "SS";
    else
      append_utf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
  });
}

}  // namespace tenon::text
