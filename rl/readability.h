// Measures of how a completion reads, by which rejection sampling drops some: DeepSeek-R1 left out chains of thought
// with mixed languages, long paragraphs and code blocks (arXiv 2501.12948, section 2.3.3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace tenon::rl {

/// Share of pieces of `n` tokens that occurred earlier in the sequence.
double repeated_share(std::span<const int32_t> tokens, size_t n);

/// Characters (code points) of the longest paragraph; paragraphs are parted by blank lines.
int64_t longest_paragraph(std::string_view text);

/// Whether a line opens a fenced code block (``` or ~~~).
bool has_code_block(std::string_view text);

}  // namespace tenon::rl
