// How IFEval's checks take a text apart. Internal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tenon::rl::rewards {

/// Runs of letters, marks, digits and connectors of any script: the \w+ of a regular expression.
std::vector<std::string> word_runs(std::string_view text);

/// Words for counting capitals: parted at white space, without the punctuation around them; a clitic (n't, 's, 'LL)
/// is a word of its own, as in the Penn Treebank.
std::vector<std::string> treebank_words(std::string_view text);

/// Sentences that end at . ! ? with closing quotes or brackets behind it, before white space or the end. Not at the
/// full stop of a title (Dr.), nor of another abbreviation (etc., e.g.), an initial or a number where the next word
/// begins in lower case, nor of an initial before a capital.
int64_t count_sentences(std::string_view text);

/// Pieces between separators, empty ones too.
std::vector<std::string_view> split_at(std::string_view text, std::string_view separator);

/// Whether `word` stands in `text` with a word boundary on both sides, both in lower case.
bool has_word(std::string_view text, std::string_view word);

/// At least one letter with case, and none of the other case.
bool is_all_upper(std::string_view text);
bool is_all_lower(std::string_view text);

/// Without white space at the ends, that of Unicode too.
std::string_view stripped(std::string_view text);

}  // namespace tenon::rl::rewards
