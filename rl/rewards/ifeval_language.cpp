#include "ifeval_language.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <vector>

#include "../../models/text/unicode.h"
#include "ifeval_text.h"
#include "language_consistency.h"
#include "language_words.h"

namespace tenon::rl::rewards {
namespace {

struct Block {
  char32_t first, last;
  const char* language;
};

// Scripts of one language among those asked for.
constexpr Block kScripts[] = {{0x0980, 0x09FF, "bn"}, {0x0A00, 0x0A7F, "pa"}, {0x0A80, 0x0AFF, "gu"},
                              {0x0B80, 0x0BFF, "ta"}, {0x0C00, 0x0C7F, "te"}, {0x0C80, 0x0CFF, "kn"},
                              {0x0D00, 0x0D7F, "ml"}};

struct Language {
  const char* code;
  const char* script_of;        // the language that language_of_text takes for this script; "": one of the Latin
  std::u32string_view letters;  // that its neighbours do not use
  std::initializer_list<std::string_view> words;
};

const Language kLanguages[] = {
    {"uk", "ru", U"іїєґ", {"та", "що", "це", "як", "від", "не", "для"}},
    {"bg", "ru", U"", {"и", "на", "да", "се", "от", "за", "е", "са", "като", "което", "който", "това", "не", "с"}},
    {"ru", "ru", U"ыэё", {"и", "в", "не", "на", "что", "с", "как", "это", "по", "но", "из", "для", "от"}},
    {"ur", "ar", U"ٹڈڑںےھہ", {"اور", "کے", "کی", "کا", "میں", "ہے", "سے"}},
    {"fa", "ar", U"", {"و", "در", "به", "از", "که", "را", "این", "است", "با", "برای", "می", "آن"}},
    {"ar", "ar", U"ةىأإ", {"في", "من", "على", "إلى", "أن", "هذا", "التي", "هو", "عن", "مع"}},
    {"mr", "hi", U"ळ", {"आहे", "आणि", "आहेत", "या", "मध्ये", "होते", "नाही", "ते", "हे"}},
    {"ne", "hi", U"", {"छ", "छन्", "र", "हो", "पनि", "गर्न", "यो", "भएको", "लागि", "तपाईं", "हुन्छ"}},
    {"hi", "hi", U"", {"है", "हैं", "और", "के", "की", "का", "में", "से", "को", "यह", "एक", "पर", "था"}},
    {"vi", "", U"ạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹđơư", {"và", "của", "là", "có", "cho", "những", "một"}},
    {"pl", "", U"łąęśźżćń", {"i", "w", "na", "nie", "się", "jest", "że", "do", "z", "jak", "oraz", "dla"}},
    {"fi", "", U"", {"ja", "on", "ei", "että", "se", "ovat", "myös", "mutta", "kun", "joka", "voi", "hän", "niin"}},
    {"sw", "", U"", {"na", "ya", "wa", "kwa", "ni", "la", "za", "katika", "hii", "kuwa", "au", "lakini", "yake"}}};

// Code points of the letters of `text` that are among `letters`, and words among `words`: a letter that only one
// language has says as much as a word.
int64_t hits_of(const Language& language, const std::map<char32_t, int64_t>& letters,
                const std::map<std::string, int64_t>& words) {
  int64_t hits = 0;
  for (const char32_t c : language.letters)
    if (const auto found = letters.find(c); found != letters.end()) hits += found->second;
  for (const std::string_view word : language.words)
    if (const auto found = words.find(std::string(word)); found != words.end()) hits += found->second;
  return hits;
}

}  // namespace

std::string detect_language(std::string_view response) {
  const std::string low = text::lower_case(text::to_valid_utf8(response));
  std::map<char32_t, int64_t> letters;
  std::map<std::string, int64_t> by_script;
  int64_t all = 0;
  for (std::string_view rest = low; !rest.empty();) {
    const text::CodePoint c = text::decode_utf8(rest);
    rest.remove_prefix(static_cast<size_t>(c.length));
    if (!text::is_letter(c.value)) continue;
    ++all;
    ++letters[c.value];
    for (const Block& block : kScripts)
      if (c.value >= block.first && c.value <= block.last) ++by_script[block.language];
  }
  if (all == 0) return "";
  for (const auto& [language, count] : by_script)
    if (count * 2 > all) return language;

  const std::vector<std::string> runs = word_runs(low);
  std::map<std::string, int64_t> words;
  for (const std::string& word : runs) ++words[word];
  const std::string base = language_of_text(low);
  const bool latin = std::ranges::none_of(std::array{"ru", "ar", "hi", "ja", "zh", "ko", "el", "he", "th"},
                                          [&](const char* other) { return base == other; });
  // A Latin text stays with language_of_text's own languages unless more of another shows than of the one it found.
  int64_t most = 0;
  if (latin) {
    const auto list = std::ranges::find(kWordLanguageCodes, base) - kWordLanguageCodes.begin();
    for (const std::string& word : runs) most += (languages_of_word(word) >> list) & 1;
  }
  std::string best = base;
  for (const Language& language : kLanguages) {
    if (latin ? *language.script_of != '\0' : base != language.script_of) continue;
    if (const int64_t hits = hits_of(language, letters, words); hits > most) most = hits, best = language.code;
  }
  return best;
}

}  // namespace tenon::rl::rewards
