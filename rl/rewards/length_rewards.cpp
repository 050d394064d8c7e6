#include "length_rewards.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <set>

#include "../../runtime/check.h"

namespace tenon::rl::rewards {
namespace {

int64_t length_of(const Sample& s, LengthUnit unit) {
  if (unit == LengthUnit::characters)
    return std::ranges::count_if(s.completion, [](char c) { return (c & 0xC0) != 0x80; });
  check(!s.completion_tokens.empty() || s.completion.empty(),
        "the sample has no tokens to count; set length_unit = \"characters\"");
  return static_cast<int64_t>(s.completion_tokens.size());
}

std::vector<float> scores_of(const BatchReward& correct, std::span<const Sample> samples, const char* name) {
  std::vector<float> out = correct(samples);
  check(out.size() == samples.size(), "reward '{}': its reward of correctness gave {} values for {} samples", name,
        out.size(), samples.size());
  return out;
}

bool is_space(int32_t c) {
  const auto category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP ||
         (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F) || c == 0x85;
}

bool stands_alone(int32_t c) {  // kana, Han
  return (c >= 0x3040 && c <= 0x30FF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x4E00 && c <= 0x9FFF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x20000 && c <= 0x323AF);
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  for (auto left = static_cast<utf8proc_ssize_t>(text.size()); left > 0;) {
    utf8proc_int32_t c = 0;
    utf8proc_ssize_t n = utf8proc_iterate(at, left, &c);
    std::string letter;
    if (n <= 0) {  // a byte that is no UTF-8
      n = 1;
      c = 0;
      letter.assign(1, static_cast<char>(*at));
    } else {
      utf8proc_uint8_t bytes[4];
      letter.assign(reinterpret_cast<const char*>(bytes),
                    static_cast<size_t>(utf8proc_encode_char(utf8proc_tolower(c), bytes)));
    }
    at += n;
    left -= n;
    if (is_space(c)) {
      inside = false;
    } else if (stands_alone(c)) {
      words.push_back(letter);
      inside = false;
    } else {
      if (!inside) words.emplace_back();
      words.back() += letter;
      inside = true;
    }
  }
  return words;
}

int count_steps(std::string_view text) {
  constexpr std::array<std::string_view, 6> kMarks = {"\n-", "\n*", "First,", "Second,", "Next,", "Finally,"};
  const auto digits_from = [&](size_t i) {
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
    return i;
  };
  int steps = 0;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    if (text.substr(i).starts_with("Step ")) {
      const size_t after = digits_from(i + 5);
      if (after > i + 5 && after < text.size() && text[after] == ':') end = after + 1;
    } else if (i == 0 && digits_from(0) > 0) {
      const size_t after = digits_from(0);
      if (after < text.size() && text[after] == '.') end = after + 1;
    } else {
      for (const std::string_view mark : kMarks)
        if (text.substr(i).starts_with(mark)) end = i + mark.size();
    }
    steps += end > i;
    i = std::max(end, i + 1);
  }
  return steps;
}

}  // namespace

BatchReward length(BatchReward correct, LengthUnit unit) {
  return [correct = std::move(correct), unit](std::span<const Sample> samples) {
    std::vector<float> scores = scores_of(correct, samples, "length");
    std::map<std::string_view, std::pair<int64_t, int64_t>> bounds;  // by prompt: shortest, longest
    std::vector<int64_t> lengths;
    for (const Sample& s : samples) {
      const int64_t n = length_of(s, unit);
      lengths.push_back(n);
      const auto at = bounds.try_emplace(s.prompt, n, n).first;
      at->second = {std::min(at->second.first, n), std::max(at->second.second, n)};
    }
    for (size_t i = 0; i < samples.size(); ++i) {
      if (std::isnan(scores[i])) continue;
      const auto [shortest, longest] = bounds.at(samples[i].prompt);
      const double lambda = 0.5 - static_cast<double>(lengths[i] - shortest) /
                                      static_cast<double>(std::max<int64_t>(longest - shortest, 1));
      const double value = scores[i] >= 0.5f ? lambda : std::min(0.0, lambda);
      scores[i] = longest == shortest ? 0.0f : static_cast<float>(value);
    }
    return scores;
  };
}

BatchReward cosine(BatchReward correct, const CosineOptions& options) {
  check(options.max_len > 0, "reward 'cosine': cosine_max_len must be positive, got {}", options.max_len);
  return [correct = std::move(correct), options](std::span<const Sample> samples) {
    std::vector<float> scores = scores_of(correct, samples, "cosine");
    for (size_t i = 0; i < samples.size(); ++i) {
      if (std::isnan(scores[i])) continue;
      const bool right = scores[i] >= 0.5f;
      const double low = right ? options.min_value_correct : options.max_value_wrong;
      const double high = right ? options.max_value_correct : options.min_value_wrong;
      const double progress = std::min(
          1.0, static_cast<double>(length_of(samples[i], options.unit)) / static_cast<double>(options.max_len));
      scores[i] = static_cast<float>(low + 0.5 * (high - low) * (1 + std::cos(progress * std::numbers::pi)));
    }
    return scores;
  };
}

Reward repetition_penalty(int64_t ngram_size, double max_penalty) {
  check(ngram_size >= 1, "reward 'repetition_penalty': repetition_n_grams must be at least 1, got {}", ngram_size);
  check(max_penalty <= 0, "reward 'repetition_penalty': repetition_max_penalty must not be positive, got {}",
        max_penalty);
  return [n = static_cast<size_t>(ngram_size), max_penalty](const Sample& s) {
    const std::vector<std::string> words = words_of(s.completion);
    if (words.size() < n) return 0.0f;
    std::set<std::string> different;
    const size_t total = words.size() - n + 1;
    for (size_t i = 0; i < total; ++i) {
      std::string gram;
      for (size_t j = i; j < i + n; ++j) gram += words[j] + " ";
      different.insert(std::move(gram));
    }
    return static_cast<float>(max_penalty * (1 - static_cast<double>(different.size()) / static_cast<double>(total)));
  };
}

Reward reasoning_steps() {
  return [](const Sample& s) { return std::min(1.0f, static_cast<float>(count_steps(s.completion)) / 3.0f); };
}

}  // namespace tenon::rl::rewards
