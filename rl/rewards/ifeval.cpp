#include "ifeval.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "../../models/text/unicode.h"
#include "../../runtime/check.h"
#include "ifeval_language.h"
#include "ifeval_text.h"
#include "math_text.h"
#include "response.h"

namespace tenon::rl::rewards {
namespace {

using Json = nlohmann::json;
constexpr size_t kNone = std::string_view::npos;

// What an instruction asks for; errors name the row and the kind.
class Arguments {
 public:
  Arguments(const Json& values, std::string where) : values_(values), where_(std::move(where)) {}

  std::string text(const char* name) const {
    const Json& value = need(name);
    check(value.is_string(), "{}: '{}' must be a string, got {}", where_, name, value.dump());
    return value.get<std::string>();
  }
  int64_t integer(const char* name) const {
    const Json& value = need(name);
    check(value.is_number(), "{}: '{}' must be a number, got {}", where_, name, value.dump());
    return static_cast<int64_t>(value.get<double>());
  }
  std::vector<std::string> texts(const char* name) const {
    const Json& value = need(name);
    check(value.is_array() && std::ranges::all_of(value, [](const Json& v) { return v.is_string(); }),
          "{}: '{}' must be a list of strings, got {}", where_, name, value.dump());
    return value.get<std::vector<std::string>>();
  }
  // Whether `count` is as `relation` ("less than" or "at least") and `threshold` say.
  bool compare(int64_t count, const char* relation, const char* threshold) const {
    const std::string how = text(relation);
    check(how == "less than" || how == "at least", "{}: '{}' must be 'less than' or 'at least', got '{}'", where_,
          relation, how);
    return how == "less than" ? count < integer(threshold) : count >= integer(threshold);
  }

 private:
  const Json& need(const char* name) const {
    const auto at = values_.find(name);
    check(at != values_.end() && !at->is_null(), "{}: kwargs has no '{}'", where_, name);
    return *at;
  }

  const Json& values_;
  std::string where_;
};

std::string lower(std::string_view text) { return text::lower_case(text); }

bool blank(std::string_view text) { return stripped(text).empty(); }

int64_t count_of(std::string_view text, std::string_view what) {
  int64_t count = 0;
  if (what.empty()) return 0;
  for (size_t at = text.find(what); at != kNone; at = text.find(what, at + what.size())) ++count;
  return count;
}

size_t skip_space(std::string_view text, size_t at) {  // at most one
  return at < text.size() && std::string_view(" \t\n\r\f\v").find(text[at]) != kNone ? at + 1 : at;
}

// "[...]" within a line.
bool placeholders(std::string_view text, const Arguments& a) {
  int64_t count = 0;
  for (size_t at = text.find('['); at != kNone; at = text.find('[', at)) {
    const size_t end = text.find_first_of("]\n", at + 1);
    if (end == kNone) break;
    count += text[end] == ']';
    at = text[end] == ']' ? end + 1 : at + 1;
  }
  return count >= a.integer("num_placeholders");
}

// Lines that begin with "* " or the like (not **), and lines that begin with -.
bool bullets(std::string_view text, const Arguments& a) {
  int64_t count = 0;
  for (const std::string_view line : split_at(text, "\n")) {
    const size_t at = line.find_first_not_of(" \t\r\f\v");
    if (at == kNone) continue;
    const bool star = line[at] == '*' && at + 1 < line.size() && line[at + 1] != '*';
    count += star || line[at] == '-';
  }
  return count == a.integer("num_bullets");
}

// *...* and **...** within a line with something between; as published each kind is looked for by itself.
bool highlights(std::string_view text, const Arguments& a) {
  int64_t count = 0;
  for (const std::string_view mark : {"*", "**"}) {
    for (size_t at = text.find(mark); at != kNone;) {
      const size_t begin = at + mark.size(), end = text.find_first_of("*\n", begin);
      if (end != kNone && text.substr(end).starts_with(mark)) {
        count += !blank(text.substr(begin, end - begin));
        at = text.find(mark, end + mark.size());
      } else {
        at = text.find(mark, at + 1);
      }
    }
  }
  return count >= a.integer("num_highlights");
}

// The word that begins sections, white space or none, and a number.
bool sections(std::string_view text, const Arguments& a) {
  const std::string splitter(stripped(a.text("section_spliter")));  // the name is the file's
  int64_t count = 0;
  for (size_t at = text.find(splitter); at != kNone && !splitter.empty(); at = text.find(splitter, at)) {
    at += splitter.size();
    const size_t digit = skip_space(text, at);
    count += digit < text.size() && std::isdigit(static_cast<unsigned char>(text[digit])) != 0;
  }
  return count >= a.integer("num_sections");
}

// Paragraphs between *** ; empty ones only at the ends.
bool paragraphs(std::string_view text, const Arguments& a) {
  const auto parts = split_at(text, "***");
  auto count = static_cast<int64_t>(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!blank(parts[i])) continue;
    if (i != 0 && i + 1 != parts.size()) return false;
    --count;
  }
  return count == a.integer("num_paragraphs");
}

bool nth_paragraph(std::string_view text, const Arguments& a) {
  const auto parts = split_at(text, "\n\n");
  const int64_t count = std::ranges::count_if(parts, [](std::string_view p) { return !blank(p); });
  const int64_t nth = a.integer("nth_paragraph");
  if (nth < 1 || nth > count) return false;
  std::string_view paragraph = stripped(parts[static_cast<size_t>(nth - 1)]);  // empty ones count here, as published
  std::string_view word = paragraph.substr(0, paragraph.find_first_of(" \t\n\r\f\v"));
  word.remove_prefix(std::min(word.find_first_not_of('\''), word.size()));
  word.remove_prefix(std::min(word.find_first_not_of('"'), word.size()));
  word = word.substr(0, word.find_first_of(".,?!'\""));
  return !paragraph.empty() && count == a.integer("num_paragraphs") && lower(word) == lower(a.text("first_word"));
}

bool postscript(std::string_view text, const Arguments& a) {
  const std::string marker(stripped(a.text("postscript_marker"))), low = lower(text);
  const bool twice = marker == "P.P.S";
  if (!twice && marker != "P.S.") return low.find(lower(marker)) != std::string::npos;
  for (size_t at = low.find("p."); at != std::string::npos; at = low.find("p.", at + 1)) {
    size_t i = skip_space(low, at + 2);
    if (twice) {
      if (low.compare(i, 2, "p.") != 0) continue;
      i = skip_space(low, i + 2);
    }
    if (low.compare(i, twice ? 1 : 2, twice ? "s" : "s.") == 0) return true;
  }
  return false;
}

bool constrained(std::string_view text, const Arguments&) {
  return std::ranges::any_of(
      std::initializer_list<std::string_view>{"My answer is yes.", "My answer is no.", "My answer is maybe."},
      [&](std::string_view option) { return text.find(option) != kNone; });
}

bool json(std::string_view text, const Arguments&) {
  text = stripped(text);
  for (const std::string_view fence : {"```json", "```Json", "```JSON", "```"})
    if (text.starts_with(fence)) text.remove_prefix(fence.size());
  if (text.ends_with("```")) text.remove_suffix(3);
  return Json::accept(stripped(text));
}

// <<...>> in a line with something between.
bool title(std::string_view text, const Arguments&) {
  for (const std::string_view line : split_at(text, "\n")) {
    const size_t begin = line.find("<<"), end = line.rfind(">>");
    if (begin == kNone || end == kNone || end < begin + 3) continue;
    std::string_view inside = line.substr(begin, end + 2 - begin);
    inside.remove_prefix(std::min(inside.find_first_not_of('<'), inside.size()));
    inside = inside.substr(0, inside.find_last_not_of('>') == kNone ? 0 : inside.find_last_not_of('>') + 1);
    if (!blank(inside)) return true;
  }
  return false;
}

// Two different texts with ****** between them.
bool two_responses(std::string_view text, const Arguments&) {
  const auto parts = split_at(text, "******");
  std::vector<std::string_view> responses;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!blank(parts[i]))
      responses.push_back(stripped(parts[i]));
    else if (i != 0 && i + 1 != parts.size())
      return false;
  }
  return responses.size() == 2 && responses[0] != responses[1];
}

bool repeats_prompt(std::string_view text, const Arguments& a) {
  return lower(stripped(text)).starts_with(lower(stripped(a.text("prompt_to_repeat"))));
}

bool ends_with_phrase(std::string_view text, const Arguments& a) {
  text = stripped(text);
  while (text.starts_with('"')) text.remove_prefix(1);
  while (text.ends_with('"')) text.remove_suffix(1);
  return lower(text).ends_with(lower(stripped(a.text("end_phrase"))));
}

bool quoted(std::string_view text, const Arguments&) {
  text = stripped(text);
  return text.size() > 1 && text.front() == '"' && text.back() == '"';
}

bool keywords(std::string_view text, const Arguments& a) {
  const std::string low = lower(text);
  const auto words = a.texts("keywords");
  return std::ranges::all_of(words, [&](const std::string& w) { return low.find(lower(w)) != std::string::npos; });
}

bool keyword_frequency(std::string_view text, const Arguments& a) {
  return a.compare(count_of(lower(text), lower(stripped(a.text("keyword")))), "relation", "frequency");
}

bool forbidden_words(std::string_view text, const Arguments& a) {
  const std::string low = lower(text);
  const auto words = a.texts("forbidden_words");
  return std::ranges::none_of(words, [&](const std::string& w) { return has_word(low, lower(w)); });
}

bool letter_frequency(std::string_view text, const Arguments& a) {
  return a.compare(count_of(lower(text), lower(stripped(a.text("letter")))), "let_relation", "let_frequency");
}

bool number_of_sentences(std::string_view text, const Arguments& a) {
  return a.compare(count_sentences(text), "relation", "num_sentences");
}

bool number_of_words(std::string_view text, const Arguments& a) {
  return a.compare(static_cast<int64_t>(word_runs(text).size()), "relation", "num_words");
}

bool capital_words(std::string_view text, const Arguments& a) {
  const auto words = treebank_words(text);
  return a.compare(std::ranges::count_if(words, [](const std::string& w) { return is_all_upper(w); }),
                   "capital_relation", "capital_frequency");
}

bool response_language(std::string_view text, const Arguments& a) {
  const std::string wanted = a.text("language"), found = detect_language(text);
  return found.empty() || found == wanted;  // as published, a text without letters is in any
}

bool english_capital(std::string_view text, const Arguments&) {
  return is_all_upper(text) && detect_language(text) == "en";
}

bool english_lowercase(std::string_view text, const Arguments&) {
  return is_all_lower(text) && detect_language(text) == "en";
}

bool no_comma(std::string_view text, const Arguments&) { return text.find(',') == kNone; }

using Check = bool (*)(std::string_view, const Arguments&);
constexpr std::pair<const char*, Check> kKinds[] = {
    {"change_case:capital_word_frequency", capital_words},
    {"change_case:english_capital", english_capital},
    {"change_case:english_lowercase", english_lowercase},
    {"combination:repeat_prompt", repeats_prompt},
    {"combination:two_responses", two_responses},
    {"detectable_content:number_placeholders", placeholders},
    {"detectable_content:postscript", postscript},
    {"detectable_format:constrained_response", constrained},
    {"detectable_format:json_format", json},
    {"detectable_format:multiple_sections", sections},
    {"detectable_format:number_bullet_lists", bullets},
    {"detectable_format:number_highlighted_sections", highlights},
    {"detectable_format:title", title},
    {"keywords:existence", keywords},
    {"keywords:forbidden_words", forbidden_words},
    {"keywords:frequency", keyword_frequency},
    {"keywords:letter_frequency", letter_frequency},
    {"language:response_language", response_language},
    {"length_constraints:nth_paragraph_first_word", nth_paragraph},
    {"length_constraints:number_paragraphs", paragraphs},
    {"length_constraints:number_sentences", number_of_sentences},
    {"length_constraints:number_words", number_of_words},
    {"punctuation:no_comma", no_comma},
    {"startend:end_checker", ends_with_phrase},
    {"startend:quotation", quoted},
};

Json list_in(const Row& row, const char* column, const std::string& where) {
  Json value = Json::parse(row.column(column), nullptr, false);
  check(value.is_array() && !value.empty(), "{}: column '{}' must be a list of one or more", where, column);
  return value;
}

int64_t followed(const std::vector<bool>& all) { return std::ranges::count(all, true); }

}  // namespace

std::vector<std::string> instruction_kinds() {
  std::vector<std::string> out;
  for (const auto& [name, checks] : kKinds) out.emplace_back(name);
  return out;
}

std::vector<bool> followed_instructions(const Sample& sample) {
  const std::string where = sample.row.source.empty() ? "row" : sample.row.source;
  const Json kinds = list_in(sample.row, "instruction_id_list", where), kwargs = list_in(sample.row, "kwargs", where);
  check(kinds.size() == kwargs.size(), "{}: instruction_id_list has {} entries and kwargs {}", where, kinds.size(),
        kwargs.size());
  const auto part = answer_part(sample.completion);
  const std::string answer = text::to_valid_utf8(part ? *part : std::string_view());
  std::vector<bool> out;
  for (size_t i = 0; i < kinds.size(); ++i) {
    const std::string kind = kinds[i].is_string() ? kinds[i].get<std::string>() : kinds[i].dump();
    const auto* known = std::ranges::find(kKinds, kind, [](const auto& k) { return std::string_view(k.first); });
    check(known != std::end(kKinds), "{}: instruction_id_list: '{}' is no kind of IFEval's", where, kind);
    check(kwargs[i].is_object() || kwargs[i].is_null(), "{}: kwargs must be a list of objects", where);
    const Json values = kwargs[i].is_object() ? kwargs[i] : Json::object();
    const bool follows = known->second(answer, Arguments(values, where + ": " + kind));
    out.push_back(follows && !blank(answer));
  }
  return out;
}

Reward ifeval() {
  return [](const Sample& s) {
    const auto all = followed_instructions(s);
    return followed(all) == static_cast<int64_t>(all.size()) ? 1.0f : 0.0f;
  };
}

Reward ifeval_share() {
  return [](const Sample& s) {
    const auto all = followed_instructions(s);
    return static_cast<float>(followed(all)) / static_cast<float>(all.size());
  };
}

BatchReward ifeval_instructions() {
  return [](std::span<const Sample> samples) {
    std::vector<float> out;
    size_t instructions = 0;
    for (const Sample& s : samples) {
      const auto all = followed_instructions(s);
      instructions += all.size();
      out.push_back(static_cast<float>(followed(all)));
    }
    for (float& value : out) value *= static_cast<float>(samples.size()) / static_cast<float>(instructions);
    return out;
  };
}

}  // namespace tenon::rl::rewards
