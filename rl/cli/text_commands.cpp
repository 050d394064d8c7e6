// tenon tokenize, tenon render, tenon tokenizer train: text to ids and back, conversations to text.
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "../../models/lora.h"
#include "../../models/text/chat_template.h"
#include "../../models/text/tokenizer.h"
#include "../../models/text/train_bpe.h"
#include "../../runtime/check.h"
#include "../../runtime/files.h"
#include "../datasets.h"
#include "../run_folder.h"
#include "console.h"

namespace tenon::cli {
namespace {

using OrderedJson = nlohmann::ordered_json;

// Where the files of a model's text are: of an adapter that has none, beside its base.
std::string text_dir(const std::string& model, const char* file) {
  return std::filesystem::exists(model + "/" + file) ? model : models::base_dir(model);
}

struct TokenizeOptions {
  std::string model, text, ids;
  bool special = false, tokens = false;
};

std::vector<int32_t> ids_from(const std::string& text) {
  const auto json = OrderedJson::parse(text, nullptr, false);
  check(json.is_array(), "ids must be a JSON list of integers, got '{}'", text.substr(0, 80));
  std::vector<int32_t> out;
  for (const auto& id : json) {
    check(id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() <= INT32_MAX,
          "ids must be a JSON list of integers, got {}", id.dump());
    out.push_back(id.get<int32_t>());
  }
  return out;
}

void tokenize(const TokenizeOptions& o) {
  const auto tokenizer = text::Tokenizer::load(text_dir(o.model, "tokenizer.json"));
  if (!o.ids.empty()) {
    print(tokenizer->decode(ids_from(o.ids)) + "\n");
    return;
  }
  const auto ids = tokenizer->encode(o.text.empty() ? read_standard_input() : o.text, o.special);
  if (!o.tokens) {
    print(OrderedJson(ids).dump() + "\n");
    return;
  }
  for (const int32_t id : ids) print(std::to_string(id) + "\t" + tokenizer->token(id) + "\n");
}

struct RenderOptions {
  std::string model, messages, user, system;
  bool no_generation_prompt = false;
  std::vector<std::string> variables;
};

void render(const RenderOptions& o) {
  const auto chat_template = text::ChatTemplate::load(text_dir(o.model, "tokenizer_config.json"));
  text::TemplateVariables variables;
  for (const std::string& v : o.variables) {
    const size_t equals = v.find('=');
    check(equals != std::string::npos && equals > 0, "--var must be NAME=JSON, got '{}'", v);
    const std::string value = v.substr(equals + 1);
    // What is no JSON is a string: --var date=today needs no quotes within quotes.
    variables[v.substr(0, equals)] = OrderedJson::accept(value) ? value : OrderedJson(value).dump();
  }
  if (!o.user.empty()) {
    std::vector<text::Message> messages;
    if (!o.system.empty()) messages.push_back({"system", o.system});
    messages.push_back({"user", o.user});
    print(chat_template.render(messages, !o.no_generation_prompt, variables));
    return;
  }
  std::string json = o.messages.empty() ? read_standard_input() : read_file(o.messages);
  const auto parsed = OrderedJson::parse(json, nullptr, false);
  if (parsed.is_object() && parsed.contains("messages")) json = parsed["messages"].dump();
  print(chat_template.render_json(json, !o.no_generation_prompt, variables));
}

struct TrainOptions {
  std::vector<std::string> files, special{"<|endoftext|>"};
  int64_t vocab_size = 4096, min_frequency = 1;
  std::string output, text_column = "text", eos, bos, pad;
};

void train(const TrainOptions& o) {
  std::vector<std::string> texts;
  for (const std::string& file : o.files) {
    const auto data = rl::TextDataset::from_file(file, {.text_column = o.text_column});
    for (const rl::Row& row : data.rows()) texts.push_back(row.text);
  }
  rl::make_folders(o.output);
  text::SpecialTokens special{
      .bos = o.bos, .eos = o.eos.empty() && !o.special.empty() ? o.special[0] : o.eos, .pad = o.pad};
  write_file_atomically(o.output + "/tokenizer.json", text::train_bpe(texts, o.vocab_size, o.special, o.min_frequency));
  write_file_atomically(o.output + "/tokenizer_config.json", text::tokenizer_config_json(special));
  print("{\"vocab_size\":" + std::to_string(text::Tokenizer::load(o.output)->vocab_size()) + "}\n");
}

}  // namespace

void add_text_commands(CLI::App& app) {
  auto tokenize_options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "text to token ids, or with --ids back");
  command->add_option("--model", tokenize_options->model, "folder of a model, or a tokenizer.json")->required();
  command->add_option("--text", tokenize_options->text, "the text; default: standard input");
  command->add_option("--ids", tokenize_options->ids, "a JSON list of ids to decode");
  command->add_flag("--add-special-tokens,--add_special_tokens", tokenize_options->special,
                    "with what the tokenizer puts around a text");
  command->add_flag("--tokens", tokenize_options->tokens, "a line a token: id and how it is spelled in the vocabulary");
  command->callback([tokenize_options] { tokenize(*tokenize_options); });

  auto render_options = std::make_shared<RenderOptions>();
  command = app.add_subcommand("render", "a conversation as the model's chat template writes it");
  command->add_option("--model", render_options->model, "folder of a model")->required();
  command->add_option("--messages", render_options->messages,
                      "file with a JSON list of messages; default: standard input");
  command->add_option("--user", render_options->user, "one message instead");
  command->add_option("--system", render_options->system, "and a system message before it");
  command->add_flag("--no-generation-prompt", render_options->no_generation_prompt, "do not open the assistant's turn");
  command->add_option("--var", render_options->variables, "a variable of the template, NAME=JSON");
  command->callback([render_options] { render(*render_options); });

  auto train_options = std::make_shared<TrainOptions>();
  command = app.add_subcommand("tokenizer", "make a tokenizer")->require_subcommand(1);
  command = command->add_subcommand("train", "byte-level BPE from text files or JSON lines");
  command->add_option("files", train_options->files, "files to learn from")->required();
  command->add_option("--vocab_size,--vocab-size", train_options->vocab_size, "tokens in all")->capture_default_str();
  command
      ->add_option("--min_frequency,--min-frequency", train_options->min_frequency,
                   "how often a pair must be seen to become a token")
      ->capture_default_str();
  command->add_option("--special", train_options->special,
                      "special tokens; the first ends a text unless --eos names another");
  command->add_option("--eos", train_options->eos, "end token");
  command->add_option("--bos", train_options->bos, "begin token");
  command->add_option("--pad", train_options->pad, "padding token");
  command->add_option("--text_column,--text-column", train_options->text_column, "column of JSON lines")
      ->capture_default_str();
  command->add_option("--output", train_options->output, "folder to write")->required();
  command->callback([train_options] { train(*train_options); });
}

}  // namespace tenon::cli
