#include "byte_alphabet.h"

#include "unicode.h"

namespace tenon::text {
namespace {

constexpr char32_t kLimit = 0x144;  // 256 + 68 bytes that are not printable

std::array<char32_t, 256> make_alphabet() {
  std::array<char32_t, 256> table{};
  char32_t next = 256;
  for (char32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    table[b] = printable ? b : next++;
  }
  return table;
}

std::array<int, kLimit> make_reverse() {
  std::array<int, kLimit> table{};
  table.fill(-1);
  for (size_t b = 0; b < 256; ++b) table[byte_alphabet()[b]] = static_cast<int>(b);
  return table;
}

}  // namespace

const std::array<char32_t, 256>& byte_alphabet() {
  static const std::array<char32_t, 256> table = make_alphabet();
  return table;
}

std::string bytes_to_alphabet(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char b : bytes) append_utf8(out, byte_alphabet()[static_cast<unsigned char>(b)]);
  return out;
}

std::optional<std::string> alphabet_to_bytes(std::string_view text) {
  static const std::array<int, kLimit> reverse = make_reverse();
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    if (c.length == 0 || c.value >= kLimit || reverse[c.value] < 0) return std::nullopt;
    out.push_back(static_cast<char>(reverse[c.value]));
    text.remove_prefix(static_cast<size_t>(c.length));
  }
  return out;
}

}  // namespace tenon::text
