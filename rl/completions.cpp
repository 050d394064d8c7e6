#include "completions.h"

#include <algorithm>

#include "../models/text/chat_template.h"
#include "../models/text/tokenizer.h"
#include "../runtime/check.h"

namespace tenon::rl {

EncodedPrompt encode_prompt(const Row& row, const models::Model& model) {
  const auto tokenizer = model.tokenizer();
  check(tokenizer != nullptr, "{}: the model has no tokenizer to read the prompt with",
        row.source.empty() ? "prompt" : row.source);
  EncodedPrompt out;
  out.text = prompt_text(row, row.messages.empty() ? nullptr : model.chat_template());
  // As training does: a plain text gets the tokens that the tokenizer puts around texts, a template has written its
  // own.
  out.tokens = tokenizer->encode(out.text, /*add_special_tokens=*/row.messages.empty());
  check(!out.tokens.empty(), "{}: the prompt is empty", row.source.empty() ? "prompt" : row.source);
  return out;
}

std::string completion_text(std::span<const int32_t> tokens, const models::Model& model,
                            const std::vector<std::string>& stop) {
  std::string text = model.tokenizer()->decode(tokens, /*skip_special=*/true);
  size_t end = text.size();
  for (const std::string& s : stop) end = std::min(end, text.find(s));
  text.resize(end);
  return text;
}

std::vector<Sample> Completions::samples(const std::vector<const Row*>& rows) const {
  std::vector<Sample> out;
  out.reserve(completions.size());
  for (size_t i = 0; i < completions.size(); ++i) {
    const models::Completion& c = completions[i];
    const EncodedPrompt& p = prompts[c.request];
    out.push_back({.row = *rows[c.request],
                   .prompt = p.text,
                   .completion = texts[i],
                   .prompt_tokens = p.tokens,
                   .completion_tokens = c.tokens,
                   .finished = c.finish == models::FinishReason::stop});
  }
  return out;
}

Completions complete(models::Generator& generator, models::Model& model, const std::vector<const Row*>& rows,
                     const CompletionOptions& options, const RunControl& control, const std::string& title) {
  Completions out;
  std::vector<models::GenerateRequest> requests;
  for (size_t i = 0; i < rows.size(); ++i) {
    out.prompts.push_back(encode_prompt(*rows[i], model));
    models::GenerateRequest request;
    request.prompt = out.prompts.back().tokens;
    request.num_samples = static_cast<int>(options.num_samples);
    request.sampling = options.sampling;
    request.max_new_tokens = options.max_new_tokens;
    request.stop = options.stop;
    request.seed = options.seed;
    request.id = options.first_id + i;
    requests.push_back(std::move(request));
  }
  const int64_t total = static_cast<int64_t>(rows.size()) * options.num_samples;
  int64_t finished = 0;
  Progress* progress = title.empty() ? nullptr : control.progress;
  if (progress) progress->begin(title, total);
  models::Generator::OnToken on_token;
  if (control.stop) on_token = [&](size_t, int, int32_t) { return !control.stop->load(std::memory_order_relaxed); };
  out.completions = generator.generate(requests, on_token, [&](const models::Completion&) {
    if (progress) progress->update(++finished);
  });
  if (progress) progress->end();
  check(!control.stop || !control.stop->load(), "interrupted");
  out.texts.reserve(out.completions.size());
  for (const models::Completion& c : out.completions)
    out.texts.push_back(completion_text(c.tokens, model, options.stop));
  return out;
}

}  // namespace tenon::rl
