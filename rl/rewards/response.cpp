#include "response.h"

namespace tenon::rl {
namespace {

constexpr size_t kNone = std::string_view::npos;
constexpr std::string_view kThink = "<think>", kThought = "</think>", kAnswer = "<answer>", kAnswered = "</answer>";

}  // namespace

std::string_view thinking_part(std::string_view response) {
  if (const size_t open = response.find(kThink); open != kNone) response.remove_prefix(open + kThink.size());
  return response.substr(0, response.find(kThought));
}

std::optional<std::string_view> answer_part(std::string_view response) {
  if (const size_t end = response.rfind(kThought); end != kNone)
    response.remove_prefix(end + kThought.size());
  else if (response.find(kThink) != kNone)
    return std::nullopt;
  if (const size_t at = response.rfind(kAnswer); at != kNone) {
    response.remove_prefix(at + kAnswer.size());
    response = response.substr(0, response.find(kAnswered));
  }
  return response;
}

std::string opened_response(const Sample& sample) {
  const std::string_view prompt = sample.prompt;
  const size_t open = prompt.rfind(kThink);
  if (open == kNone || prompt.find_first_not_of(" \t\r\n", open + kThink.size()) != kNone) return sample.completion;
  return std::string(prompt.substr(open)) + sample.completion;
}

}  // namespace tenon::rl
