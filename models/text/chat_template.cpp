#include "chat_template.h"

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "../../runtime/files.h"
#include "jinja/interpreter.h"
#include "jinja/parser.h"
#include "json_fields.h"

namespace tenon::text {
namespace {

namespace fs = std::filesystem;
using jinja::Value;
using Variables = std::vector<std::pair<std::string, Value>>;

// The template in a tokenizer_config.json: a string, or a list of named ones of which 'default' counts. Empty: none.
std::string template_of(const Json& config, const std::string& where) {
  const Json* found = find_field(config, "chat_template", where);
  if (found == nullptr) return {};
  if (found->is_string()) return found->get<std::string>();
  check(found->is_array(), "{}: chat_template must be a string or a list", where);
  for (const Json& entry : *found)
    if (string_field(entry, "name", where) == "default") return string_field(entry, "template", where);
  return {};
}

struct Found {
  std::string source, where;
  Json config = Json::object();
};

Found find_template(const std::string& dir) {
  Found found;
  const fs::path config = fs::path(dir) / "tokenizer_config.json", file = fs::path(dir) / "chat_template.jinja";
  if (fs::exists(config)) {
    found.config = read_json(config.string());
    check(found.config.is_object(), "{}: must hold an object", config.string());
  }
  if (fs::exists(file)) {
    found.where = file.string();
    found.source = read_file(found.where);
  } else {
    found.where = config.string() + ": chat_template";
    found.source = template_of(found.config, config.string());
  }
  return found;
}

Value to_value(const Message& message) {
  std::vector<std::pair<std::string, Value>> fields{{"role", Value(message.role)}, {"content", Value(message.content)}};
  if (!message.extra_json.empty()) {
    const Value extra = jinja::from_json(message.extra_json, "a message's further fields");
    check(extra.dict() != nullptr, "a message's further fields must be a JSON object");
    for (const auto& [name, value] : extra.dict()->items) {
      const auto it = std::ranges::find(fields, name, &std::pair<std::string, Value>::first);
      if (it == fields.end())
        fields.emplace_back(name, value);
      else
        it->second = value;
    }
  }
  return Value::dict(std::move(fields));
}

Value to_value(std::span<const Message> messages) {
  std::vector<Value> items;
  for (const Message& message : messages) items.push_back(to_value(message));
  return Value::list(std::move(items));
}

// How much of `part` is the opening that a generation prompt gives. Where only a beginning of it agrees (R1's prompt
// goes on with <think>), what agrees is cut after its last tag or line, so that a first letter that happens to agree
// stays with the assistant.
size_t opening_of(std::string_view part, std::string_view prompt) {
  if (part.starts_with(prompt)) return prompt.size();
  const size_t same = static_cast<size_t>(std::ranges::mismatch(part, prompt).in1 - part.begin());
  const size_t cut = part.substr(0, same).find_last_of(">\n");
  return cut == std::string_view::npos ? 0 : cut + 1;
}

}  // namespace

struct ChatTemplate::Impl {
  std::string source, where;
  jinja::Block block;
  TemplateVariables defaults;

  jinja::Rendering run(const Value& messages, bool add_generation_prompt, const TemplateVariables& variables) const {
    // transformers defines tools and documents in every rendering.
    Variables all{{"messages", messages},
                  {"add_generation_prompt", Value(add_generation_prompt)},
                  {"tools", jinja::None{}},
                  {"documents", jinja::None{}}};
    const auto define = [&](const std::string& name, const std::string& json) {
      Value value = jinja::from_json(json, "the template variable " + name);
      const auto it = std::ranges::find(all, name, &Variables::value_type::first);
      if (it == all.end())
        all.emplace_back(name, std::move(value));
      else
        it->second = std::move(value);
    };
    for (const auto& [name, json] : defaults)
      if (!variables.contains(name)) define(name, json);
    for (const auto& [name, json] : variables) define(name, json);
    std::vector<const jinja::Dict*> marked;
    for (const Value& message : messages.list()->items) marked.push_back(message.dict());
    return jinja::render(block, all, marked, where);
  }

  std::string variable(const std::string& name, const TemplateVariables& variables) const {
    auto it = variables.find(name);
    if (it == variables.end() && (it = defaults.find(name)) == defaults.end()) return {};
    const Value value = jinja::from_json(it->second, name);
    return value.string() != nullptr ? *value.string() : std::string();
  }
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

ChatTemplate ChatTemplate::load(const std::string& dir) {
  Found found = find_template(dir);
  check(!found.source.empty(),
        "{}: there is no chat template (chat_template.jinja, or chat_template in tokenizer_config.json)", dir);
  TemplateVariables variables;
  for (const auto& [name, value] : found.config.items()) {
    if (!name.ends_with("_token")) continue;
    if (value.is_string())
      variables[name] = value.dump();
    else if (value.is_object() && value.contains("content") && value["content"].is_string())
      variables[name] = value["content"].dump();
  }
  return from_source(std::move(found.source), found.where, std::move(variables));
}

bool ChatTemplate::exists(const std::string& dir) { return !find_template(dir).source.empty(); }

ChatTemplate ChatTemplate::from_source(std::string source, const std::string& where, TemplateVariables variables) {
  auto impl = std::make_unique<Impl>();
  impl->source = std::move(source);
  impl->where = where;
  impl->block = jinja::parse(impl->source, where);
  impl->defaults = std::move(variables);
  return ChatTemplate(std::move(impl));
}

std::string ChatTemplate::render(std::span<const Message> messages, bool add_generation_prompt,
                                 const TemplateVariables& variables) const {
  return impl_->run(to_value(messages), add_generation_prompt, variables).text;
}

std::string ChatTemplate::render_json(const std::string& messages_json, bool add_generation_prompt,
                                      const TemplateVariables& variables) const {
  const Value messages = jinja::from_json(messages_json, "messages");
  check(messages.list() != nullptr, "messages must be a JSON list");
  for (const Value& message : messages.list()->items)
    check(message.dict() != nullptr, "each message must be a JSON object");
  return impl_->run(messages, add_generation_prompt, variables).text;
}

ChatTemplate::Rendered ChatTemplate::render_with_spans(std::span<const Message> messages,
                                                       const TemplateVariables& variables) const {
  const Value list = to_value(messages);
  const jinja::Rendering rendering = impl_->run(list, false, variables);
  Rendered out{rendering.text, rendering.generated};
  if (!out.assistant_spans.empty()) return out;

  const std::string prompted = impl_->run(list, true, variables).text;
  const std::string prompt = prompted.starts_with(out.text) ? prompted.substr(out.text.size()) : std::string();
  const std::string eos = impl_->variable("eos_token", variables);
  for (const auto& part : rendering.parts) {
    if (messages[static_cast<size_t>(part.marked)].role != "assistant") continue;
    const std::string_view text = std::string_view(out.text).substr(part.begin, part.end - part.begin);
    const size_t begin = opening_of(text, prompt);
    const size_t last = eos.empty() ? std::string_view::npos : text.rfind(eos);
    const size_t end = last == std::string_view::npos || last < begin ? text.size() : last + eos.size();
    if (begin < end) out.assistant_spans.emplace_back(part.begin + begin, part.begin + end);
  }
  return out;
}

const std::string& ChatTemplate::source() const { return impl_->source; }

}  // namespace tenon::text
