// tenon generate, tenon chat: text from a model, as it comes.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "../../models/generation/generator.h"
#include "../../models/text/chat_template.h"
#include "../../models/text/tokenizer.h"
#include "../jobs.h"
#include "console.h"

namespace tenon::cli {
namespace {

struct Options {
  rl::ModelOptions model;
  std::string prompt, system;
  bool chat = false, json = false;
  int num_samples = 1;
  int64_t max_new_tokens = 256;
  float temperature = 0.7f, top_p = 0.95f, min_p = 0, repetition_penalty = 1;
  int top_k = 0;
  std::vector<std::string> stop;
  uint64_t seed = 0;
};

void add_options(CLI::App* command, Options& o) {
  command->add_option("--model", o.model.model, "folder of the model, or of an adapter")->required();
  command->add_option("--adapter", o.model.adapter, "folder of a LoRA adapter to put on the model");
  command->add_option("--device", o.model.device, "auto, cpu or cuda")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  command->add_option("--dtype", o.model.dtype, "f32 or bf16; default: as the folder has it")
      ->check(CLI::IsMember({"f32", "bf16"}));
  command->add_option("--system", o.system, "system message");
  command->add_option("--max_new_tokens,--max-new-tokens", o.max_new_tokens, "tokens at most")
      ->check(CLI::PositiveNumber);
  command->add_option("--temperature", o.temperature, "0: the most probable token always")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--top_p,--top-p", o.top_p, "sample from the smallest set with this probability")
      ->capture_default_str();
  command->add_option("--top_k,--top-k", o.top_k, "sample from the k most probable")->capture_default_str();
  command->add_option("--min_p,--min-p", o.min_p, "leave out tokens below this share of the most probable")
      ->capture_default_str();
  command->add_option("--repetition_penalty,--repetition-penalty", o.repetition_penalty)->capture_default_str();
  command->add_option("--stop", o.stop, "strings that end the text");
  command->add_option("--seed", o.seed, "seed of sampling")->capture_default_str();
}

models::GenerateRequest request_of(const Options& o, std::vector<int32_t> prompt) {
  models::GenerateRequest r;
  r.prompt = std::move(prompt);
  r.num_samples = o.num_samples;
  r.sampling.temperature = o.temperature;
  r.sampling.top_p = o.top_p;
  r.sampling.min_p = o.min_p;
  r.sampling.top_k = o.top_k;
  r.sampling.repetition_penalty = o.repetition_penalty;
  r.max_new_tokens = o.max_new_tokens;
  r.stop = o.stop;
  r.seed = o.seed;
  return r;
}

std::shared_ptr<const text::Tokenizer> tokenizer_of(const models::Model& model) {
  auto tokenizer = model.tokenizer();
  if (!tokenizer) throw Error(model.source_dir() + ": the model has no tokenizer");
  return tokenizer;
}

const text::ChatTemplate& template_of(const models::Model& model) {
  const text::ChatTemplate* found = model.chat_template();
  if (!found) throw Error(model.source_dir() + ": the model has no chat template; use tenon generate without --chat");
  return *found;
}

// Prints a sequence while it is made; returns its text.
std::string stream(models::Generator& generator, const text::Tokenizer& tokenizer,
                   const models::GenerateRequest& request) {
  text::StreamDecoder decoder(tokenizer, true);
  std::string whole;
  generator.generate(std::span(&request, 1), [&](size_t, int, int32_t token) {
    const std::string piece = decoder.push(token);
    whole += piece;
    print(piece);
    return !stop_requested.load();
  });
  const std::string rest = decoder.finish();
  print(rest);
  return whole + rest;
}

void generate(const Options& o) {
  models::Model model = rl::open_model(o.model);
  const auto tokenizer = tokenizer_of(model);
  std::string prompt = o.prompt.empty() ? read_standard_input() : o.prompt;
  if (o.chat) {
    std::vector<text::Message> messages;
    if (!o.system.empty()) messages.push_back({"system", o.system});
    messages.push_back({"user", prompt});
    prompt = template_of(model).render(messages, true);
  }
  models::Generator generator(model);
  const models::GenerateRequest request = request_of(o, tokenizer->encode(prompt, !o.chat));
  catch_signals();
  if (o.num_samples == 1 && !o.json) {
    stream(generator, *tokenizer, request);
    print("\n");
    return;
  }
  for (const models::Completion& c : generator.generate(std::span(&request, 1))) {
    const std::string text = tokenizer->decode(c.tokens, true);
    if (o.json) {
      print(nlohmann::ordered_json({{"completion", text},
                                    {"tokens", c.tokens},
                                    {"logprobs", c.logprobs},
                                    {"finished", c.finish == models::FinishReason::stop}})
                .dump() +
            "\n");
    } else {
      print("--- " + std::to_string(c.sample + 1) + "\n" + text + "\n");
    }
  }
}

void chat(Options o) {
  models::Model model = rl::open_model(o.model);
  const auto tokenizer = tokenizer_of(model);
  const text::ChatTemplate& chat_template = template_of(model);
  models::Generator generator(model);
  std::vector<text::Message> messages;
  if (!o.system.empty()) messages.push_back({"system", o.system});
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  std::string line;
  while (true) {
    if (terminal) print("> ");
    if (!std::getline(std::cin, line)) break;
    if (line.empty()) continue;
    messages.push_back({"user", line});
    models::GenerateRequest request = request_of(o, tokenizer->encode(chat_template.render(messages, true), false));
    request.id = messages.size();  // each turn has draws of its own
    messages.push_back({"assistant", stream(generator, *tokenizer, request)});
    print("\n");
  }
  if (terminal) print("\n");
}

}  // namespace

void add_generate_commands(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("generate", "continue a prompt");
  add_options(command, *options);
  command->add_option("--prompt", options->prompt, "the prompt; default: standard input");
  command->add_flag("--chat", options->chat, "put the prompt into the model's chat template");
  command->add_option("--num_samples,--num-samples", options->num_samples, "completions")->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "a line of JSON a completion, with tokens and log-probabilities");
  command->callback([options] { generate(*options); });

  auto chat_options = std::make_shared<Options>();
  command = app.add_subcommand("chat", "talk with a model, line by line");
  add_options(command, *chat_options);
  command->callback([chat_options] { chat(*chat_options); });
}

}  // namespace tenon::cli
