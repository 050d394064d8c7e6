#include "tokenizer.h"

#include <algorithm>
#include <filesystem>

#include "../../runtime/files.h"
#include "byte_alphabet.h"
#include "json_fields.h"
#include "tokenizer_parts.h"

namespace tenon::text {
namespace {

namespace fs = std::filesystem;

std::string read_if_there(const fs::path& path) { return fs::exists(path) ? read_file(path.string()) : std::string(); }

// A token as the configs write it: "<s>", or {"content": "<s>", ...}, or null.
std::string token_text(const Json& value, const std::string& where) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object()) return string_field(value, "content", where);
  check(value.is_null(), "{}: must be a token", where);
  return {};
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Tokenizer::~Tokenizer() = default;

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::string& dir_or_file) {
  const fs::path path(dir_or_file);
  const bool is_dir = fs::is_directory(path);
  const fs::path file = is_dir ? path / "tokenizer.json" : path;
  const fs::path dir = file.parent_path();
  check(fs::exists(file), "{}: there is no such file; a tokenizer is read from a Hugging Face tokenizer.json",
        file.string());
  std::string config = read_if_there(dir / "tokenizer_config.json");
  const std::string map = read_if_there(dir / "special_tokens_map.json");
  if (!map.empty()) {
    // The map knows roles that an old config may lack; the config's word counts where both speak.
    Json merged = parse_json(map, (dir / "special_tokens_map.json").string());
    const Json own = config.empty() ? Json::object() : parse_json(config, (dir / "tokenizer_config.json").string());
    check(merged.is_object() && own.is_object(),
          "{}: tokenizer_config.json and special_tokens_map.json must hold objects", dir.string());
    bool lacks = false;
    for (const char* role : {"bos_token", "eos_token", "pad_token", "unk_token"})
      lacks = lacks || (merged.contains(role) && !own.contains(role));
    if (lacks) {
      merged.update(own);
      config = merged.dump(2);
    }
  }
  return from_json(read_file(file.string()), file.string(), std::move(config));
}

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string json, const std::string& where,
                                                      std::string config_json) {
  auto parts = std::make_unique<Parts>();
  parts->json = std::move(json);
  parts->config_json = std::move(config_json);
  parts->read(where);
  return std::shared_ptr<const Tokenizer>(new Tokenizer(std::move(parts)));
}

void Tokenizer::Parts::read(const std::string& source) {
  where = source;
  const Json root = parse_json(json, where);
  check(root.is_object(), "{}: a tokenizer.json is an object", where);
  const auto part = [&](const char* name) -> const Json& {
    static const Json null;
    const auto it = root.find(name);
    return it == root.end() ? null : *it;
  };
  const auto place = [&](const char* name) { return where + ": " + name; };

  if (!part("normalizer").is_null()) normalizer = Normalizer(part("normalizer"), place("normalizer"));
  if (!part("pre_tokenizer").is_null()) pre_tokenizer = PreTokenizer(part("pre_tokenizer"), place("pre_tokenizer"));
  check(part("model").is_object(), "{}: there is no model", where);
  model = make_token_model(part("model"), pre_tokenizer.byte_level(), vocabulary, place("model"));
  added = AddedTokens(part("added_tokens"), normalizer, vocabulary, place("added_tokens"));
  size = vocabulary.size();
  for (const AddedToken& token : added.all()) size = std::max<int64_t>(size, token.id + 1);
  const auto known = [&](int64_t id) {
    return id >= 0 && id < size &&
           (vocabulary.contains(static_cast<int32_t>(id)) || added.by_id(static_cast<int32_t>(id)) != nullptr);
  };
  if (!part("post_processor").is_null())
    post_processor = PostProcessor(part("post_processor"), known, place("post_processor"));
  decoder = TokenDecoder(part("decoder"), place("decoder"));
  if (decoder.only_byte_level()) {
    bytes.resize(static_cast<size_t>(size));
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
      const std::string_view token = vocabulary.token(id);
      bytes[static_cast<size_t>(id)] = alphabet_to_bytes(token).value_or(std::string(token));
    }
    // An added token stands for its text, which is not written in the alphabet of bytes.
    for (const AddedToken& token : added.all())
      if (!vocabulary.contains(token.id)) bytes[static_cast<size_t>(token.id)] = token.text;
  }
  if (!config_json.empty()) read_special_tokens(parse_json(config_json, "tokenizer_config.json beside " + where));
}

void Tokenizer::Parts::read_special_tokens(const Json& config) {
  const std::string here = "tokenizer_config.json beside " + where;
  const auto token = [&](const char* role) {
    const Json* value = find_field(config, role, here);
    return value == nullptr ? std::string() : token_text(*value, here + ": " + role);
  };
  special.bos = token("bos_token");
  special.eos = token("eos_token");
  special.pad = token("pad_token");
  special.unk = token("unk_token");
  special.add_bos = bool_field(config, "add_bos_token", here, false);
  special.add_eos = bool_field(config, "add_eos_token", here, false);
  bos = id_of(special.bos);
  eos = id_of(special.eos);
  pad = id_of(special.pad);
  unk = id_of(special.unk);
}

std::optional<int32_t> Tokenizer::Parts::id_of(std::string_view token) const {
  if (token.empty()) return std::nullopt;
  if (const AddedToken* found = added.by_content(token)) return found->id;
  const int32_t id = vocabulary.find(token);
  return id < 0 ? std::nullopt : std::optional(id);
}

void Tokenizer::save(const std::string& dir) const {
  write_file_atomically((fs::path(dir) / "tokenizer.json").string(), parts_->json);
  if (!parts_->config_json.empty())
    write_file_atomically((fs::path(dir) / "tokenizer_config.json").string(), parts_->config_json);
}

int64_t Tokenizer::vocab_size() const { return parts_->size; }
std::optional<int32_t> Tokenizer::token_id(std::string_view token) const { return parts_->id_of(token); }

std::string Tokenizer::token(int32_t id) const {
  const AddedToken* added = parts_->added.by_id(id);
  return added != nullptr ? added->content : std::string(parts_->vocabulary.token(id));
}

bool Tokenizer::is_special(int32_t id) const {
  const AddedToken* added = parts_->added.by_id(id);
  return added != nullptr && added->special;
}

std::optional<int32_t> Tokenizer::bos() const { return parts_->bos; }
std::optional<int32_t> Tokenizer::eos() const { return parts_->eos; }
std::optional<int32_t> Tokenizer::pad() const { return parts_->pad; }
std::optional<int32_t> Tokenizer::unk() const { return parts_->unk; }
const SpecialTokens& Tokenizer::special_tokens() const { return parts_->special; }
const std::string& Tokenizer::json() const { return parts_->json; }
const std::string& Tokenizer::config_json() const { return parts_->config_json; }

}  // namespace tenon::text
