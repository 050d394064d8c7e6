#include "model.h"

#include <filesystem>

#include "../autograd/arithmetic.h"
#include "../autograd/indexing.h"
#include "../ops/loss_head.h"
#include "../runtime/check.h"
#include "../runtime/cuda.h"
#include "../runtime/files.h"
#include "../runtime/json.h"
#include "model_impl.h"

namespace tenon::models {
namespace {

constexpr const char* kTokenizer = "tokenizer.json";
constexpr const char* kTokenizerConfig = "tokenizer_config.json";
constexpr const char* kChatTemplate = "chat_template.jinja";

std::string file_or_empty(const std::map<std::string, std::string>& files, const char* name) {
  auto it = files.find(name);
  return it == files.end() ? std::string() : it->second;
}

// chat_template.jinja, or the entry of tokenizer_config.json: a text, or a list of named ones of which "default" is
// meant.
std::string chat_template_source(const std::map<std::string, std::string>& files, const std::string& where) {
  std::string source = file_or_empty(files, kChatTemplate);
  std::string config = file_or_empty(files, kTokenizerConfig);
  if (!source.empty() || config.empty()) return source;
  Json parsed = parse_json(config, where + kTokenizerConfig);
  if (!parsed.is_object() || !parsed.contains("chat_template")) return {};
  const Json& entry = parsed["chat_template"];
  if (entry.is_string()) return entry.get<std::string>();
  if (entry.is_array()) {
    for (const Json& item : entry) {
      if (item.is_object() && item.value("name", "") == "default" && item.contains("template") &&
          item["template"].is_string()) {
        return item["template"].get<std::string>();
      }
    }
  }
  return {};
}

}  // namespace

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

const ModelConfig& Model::config() const { return impl_->config; }
ParamStore& Model::params() { return impl_->params; }
const ParamStore& Model::params() const { return impl_->params; }
DType Model::dtype() const { return impl_->dtype; }
Device Model::device() const { return impl_->device; }
const std::string& Model::source_dir() const { return impl_->source_dir; }
const std::map<std::string, std::string>& Model::files() const { return impl_->files; }

Forward Model::forward(const Batch& batch, const ForwardOptions& options) {
  const cuda::Stage stage("forward");
  return impl_->decoder.forward(batch, options);
}

Var Model::head_weight() {
  check(!config().scalar_head, "the model gives scores ({}): it has no head of a language model",
        impl_->decoder.head().name());
  return impl_->decoder.head().var();
}

Var Model::scores(const Var& hidden) {
  check(config().scalar_head, "the model is a language model: it has no scalar head (score.weight)");
  // In f32: of a bf16 result few digits would be left to compare rewards by.
  const Var weight = impl_->decoder.head().var();
  return reshape(matmul(cast(hidden, DType::f32), cast(weight, DType::f32), false, /*trans_b=*/true), {-1});
}

Tensor Model::next_logits(const Tensor& hidden) {
  check(!config().scalar_head, "the model gives scores, no tokens: it cannot generate");
  Parameter& head = impl_->decoder.head();
  return ops::logits(hidden, head.value(), head.packed(ops::PackFor::forward));
}

std::shared_ptr<const text::Tokenizer> Model::tokenizer() const {
  std::lock_guard lock(impl_->text_mutex);
  if (!impl_->tokenizer && impl_->files.contains(kTokenizer)) {
    std::string where = (std::filesystem::path(impl_->source_dir) / kTokenizer).string();
    impl_->tokenizer =
        text::Tokenizer::from_json(impl_->files.at(kTokenizer), where, file_or_empty(impl_->files, kTokenizerConfig));
  }
  return impl_->tokenizer;
}

const text::ChatTemplate* Model::chat_template() const {
  std::shared_ptr<const text::Tokenizer> words = tokenizer();
  std::lock_guard lock(impl_->text_mutex);
  if (impl_->chat_template) return impl_->chat_template.get();
  std::string where = impl_->source_dir.empty() ? std::string() : impl_->source_dir + "/";
  std::string source = chat_template_source(impl_->files, where);
  if (source.empty()) return nullptr;
  text::TemplateVariables variables;
  if (words) {
    const text::SpecialTokens& special = words->special_tokens();
    for (auto& [name, token] : {std::pair{"bos_token", &special.bos},
                                {"eos_token", &special.eos},
                                {"pad_token", &special.pad},
                                {"unk_token", &special.unk}}) {
      if (!token->empty()) variables[name] = Json(*token).dump();
    }
  }
  impl_->chat_template = std::make_unique<text::ChatTemplate>(
      text::ChatTemplate::from_source(std::move(source), where + "chat template", std::move(variables)));
  return impl_->chat_template.get();
}

void Model::set_file(const std::string& name, std::string bytes) {
  check(is_companion_file(name), "`{}` is no file that belongs beside a model's weights", name);
  std::lock_guard lock(impl_->text_mutex);
  impl_->files[name] = std::move(bytes);
  impl_->tokenizer.reset();
  impl_->chat_template.reset();
}

void Model::set_tokenizer(std::shared_ptr<const text::Tokenizer> tokenizer) {
  check(tokenizer->vocab_size() <= config().vocab_size, "a tokenizer of {} tokens does not fit a model of {}",
        tokenizer->vocab_size(), config().vocab_size);
  std::lock_guard lock(impl_->text_mutex);
  impl_->files[kTokenizer] = tokenizer->json();
  impl_->files.erase(kTokenizerConfig);
  impl_->files.erase(kChatTemplate);
  if (!tokenizer->config_json().empty()) impl_->files[kTokenizerConfig] = tokenizer->config_json();
  impl_->tokenizer = std::move(tokenizer);
  impl_->chat_template.reset();
}

void Model::take_tokenizer_files(const std::string& dir) {
  auto files = read_companion_files(dir);
  check(files.contains(kTokenizer), "{}: no {}", dir, kTokenizer);
  std::shared_ptr<const text::Tokenizer> tokenizer = text::Tokenizer::load(dir);
  check(tokenizer->vocab_size() <= config().vocab_size, "{}: a tokenizer of {} tokens does not fit a model of {}", dir,
        tokenizer->vocab_size(), config().vocab_size);
  std::lock_guard lock(impl_->text_mutex);
  impl_->files = std::move(files);
  impl_->tokenizer = std::move(tokenizer);
  impl_->chat_template.reset();
}

bool is_companion_file(const std::string& name) {
  for (const char* known :
       {kTokenizer, kTokenizerConfig, kChatTemplate, "chat_template.json", "generation_config.json",
        "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model"}) {
    if (name == known) return true;
  }
  return false;
}

std::map<std::string, std::string> read_companion_files(const std::string& dir) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) {
    std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && is_companion_file(name)) out[name] = read_file(entry.path().string());
  }
  return out;
}

int64_t score_position(std::span<const int32_t> tokens, const ModelConfig& config) {
  check(!tokens.empty(), "score_position: no tokens");
  int64_t at = static_cast<int64_t>(tokens.size()) - 1;
  while (at > 0 && tokens[static_cast<size_t>(at)] == config.pad_token_id) --at;
  return at;
}

}  // namespace tenon::models
