// Chat templates: the Jinja text in a Hugging Face folder that turns a conversation into a prompt.
//
// An interpreter of the part of Jinja that chat templates use (statements, expressions, filters, tests and methods are
// listed in jinja/README.md), with trim_blocks and lstrip_blocks as transformers sets them. What lies outside is an
// Error with its line. A template is a program from a stranger: its steps, depth and output are bounded.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace tenon::text {

struct Message {
  std::string role, content;
  std::string extra_json =
      {};  // further fields as a JSON object: {"tool_calls": [...]}, {"content": null}; empty: none
};

/// Variables by name, each value a JSON text: {"enable_thinking", "false"}, {"tools", "[...]"}.
using TemplateVariables = std::map<std::string, std::string>;

class ChatTemplate {
 public:
  /// The template of a folder: chat_template.jinja, or chat_template in tokenizer_config.json. Error when it has
  /// neither.
  static ChatTemplate load(const std::string& dir);

  /// Whether load(dir) would find one.
  static bool exists(const std::string& dir);

  /// From source. `variables` are defined in every rendering (bos_token and the like).
  static ChatTemplate from_source(std::string source, const std::string& where, TemplateVariables variables = {});

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  /// The conversation as text, with the opening of the assistant's next turn if `add_generation_prompt`.
  std::string render(std::span<const Message>, bool add_generation_prompt, const TemplateVariables& = {}) const;

  /// The same from the JSON of a message list, `[{"role": ..., "content": ...}, ...]`.
  std::string render_json(const std::string& messages_json, bool add_generation_prompt,
                          const TemplateVariables& = {}) const;

  struct Rendered {
    std::string text;
    std::vector<std::pair<size_t, size_t>>
        assistant_spans;  // [begin, end) in bytes: what the assistant has to produce, end token included
  };

  /// The text and where the assistant's own words stand in it, for a loss on these alone. Spans are those of `{%
  /// generation %}` blocks if the template has them; else what it writes for each assistant message, less the opening
  /// that a generation prompt would give.
  Rendered render_with_spans(std::span<const Message>, const TemplateVariables& = {}) const;

  const std::string& source() const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl>);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenon::text
