// Trains a byte-level BPE tokenizer (Sennrich et al. 2016, arXiv 1508.07909; on bytes as in GPT-2) and writes it as a
// tokenizer.json.
//
// Digits stand alone, so that numbers are read digit by digit; words are split as GPT-2 splits them. Deterministic: the
// most frequent pair is merged first, ties go to the smaller pair of ids, which is the order of Hugging Face's trainer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tenon::text {

/// tokenizer.json text. Ids: `special`, then the 256 bytes, then merges, at most `vocab_size` in all (fewer where no
/// pair stands in the texts `min_frequency` times, which is at least 1). Throws Error when `vocab_size` has no room for
/// the specials and bytes, or a special token is empty or given twice.
std::string train_bpe(std::span<const std::string> texts, int64_t vocab_size, std::vector<std::string> special,
                      int64_t min_frequency = 1);

}  // namespace tenon::text
