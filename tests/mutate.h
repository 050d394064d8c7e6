// Damage for files that are read: bytes flipped, cut out, doubled and swapped, numbers and values replaced by those
// that break readers. What comes out follows from the state of the Rng alone.
#pragma once

#include <cctype>
#include <cstdlib>
#include <string>
#include <vector>

#include "../runtime/random.h"

namespace tenon::testing {

/// How many rounds a fuzz test does: `rounds`, times TENON_FUZZ where that is set.
inline int fuzz_rounds(int rounds) {
  const char* set = std::getenv("TENON_FUZZ");
  return set && std::atoi(set) > 0 ? rounds * std::atoi(set) : rounds;
}

/// `text` with one to four kinds of damage.
inline std::string mutated(std::string text, Rng& rng) {
  static const std::vector<std::string> numbers = {"0",
                                                   "-1",
                                                   "1",
                                                   "1e999",
                                                   "-0",
                                                   "2147483647",
                                                   "4294967296",
                                                   "9223372036854775807",
                                                   "9223372036854775808",
                                                   "18446744073709551615",
                                                   "1e18",
                                                   "0.5"};
  static const std::vector<std::string> values = {
      "null",        "true",  "[]",        "{}",          "\"\"",     "[[[[[[[[]]]]]]]]",
      "\"\\u0000\"", "[1,2]", "{\"a\":1}", "\"../../x\"", "\xff\xfe", "1e5"};
  const auto place = [&](size_t n) { return static_cast<size_t>(rng.below(n)); };
  for (uint64_t left = 1 + rng.below(4); left > 0 && !text.empty(); --left) {
    const size_t at = place(text.size());
    switch (rng.below(7)) {
      case 0:
        text[at] = static_cast<char>(rng.below(256));
        break;
      case 1:
        text[at] = static_cast<char>(text[at] ^ (1 << rng.below(8)));
        break;
      case 2:
        text.resize(at);
        break;
      case 3:
        text.erase(at, 1 + place(16));
        break;
      case 4:
        text.insert(at, text.substr(place(text.size()), 1 + place(24)));
        break;
      case 5: {  // a number after `at`
        size_t begin = at;
        while (begin < text.size() && !std::isdigit(static_cast<unsigned char>(text[begin]))) ++begin;
        size_t end = begin;
        while (end < text.size() && std::isdigit(static_cast<unsigned char>(text[end]))) ++end;
        text.replace(begin, end - begin, numbers[place(numbers.size())]);
        break;
      }
      default: {  // a value after a colon
        const size_t colon = text.find(':', at);
        if (colon == std::string::npos) break;
        const size_t end = std::min(text.find_first_of(",}]", colon), text.size());
        text.replace(colon + 1, end - colon - 1, values[place(values.size())]);
      }
    }
  }
  return text;
}

}  // namespace tenon::testing
