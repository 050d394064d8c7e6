// Chat templates: the renderings of transformers for seven published templates, pieces of Jinja with what jinja2 3.1
// gives for them, spans, and bad or hostile templates.
#include "../../../models/text/chat_template.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "../../../runtime/error.h"
#include "../../../runtime/files.h"
#include "../../temp_dir.h"
#include "../../test_data.h"

namespace tenon::text {
namespace {

using Json = nlohmann::ordered_json;

TEST(ChatTemplate, RendersAsTransformersDoes) {
  const auto path = testing::data_path("oracles/chat_templates.json");
  if (!path) GTEST_SKIP() << "no test data";
  const Json oracle = Json::parse(read_file(*path));
  int renderings = 0;
  for (const Json& r : oracle["renderings"]) {
    const std::string name = r["template"], conversation = r["conversation"];
    TemplateVariables variables;
    for (const auto& [key, value] : r.items())
      if (key != "template" && key != "conversation" && key != "add_generation_prompt" && key != "text" &&
          key != "error")
        variables[key] = value.dump();
    if (conversation.starts_with("tool")) variables["tools"] = oracle["tools"].dump();
    const auto chat = ChatTemplate::from_source(oracle["templates"][name], name);
    const auto render = [&] {
      return chat.render_json(oracle["conversations"][conversation].dump(), r["add_generation_prompt"], variables);
    };
    if (r.contains("error"))
      EXPECT_THROW(render(), Error) << name << " " << conversation;
    else
      EXPECT_EQ(render(), r["text"].get<std::string>()) << name << " " << conversation;
    ++renderings;
  }
  EXPECT_EQ(renderings, 165);
}

std::string run(const std::string& source) {
  const std::vector<Message> messages{{"user", "Hi there"}, {"assistant", "", R"({"content": null, "n": 3})"}};
  return ChatTemplate::from_source(source, "test")
      .render(messages, false, {{"x", R"({"b":1,"a":[1,2.5,null,true,"é\n"]})"}, {"s", R"("  ab cé,D  ")"}});
}

TEST(ChatTemplate, Expressions) {
  EXPECT_EQ(run("{{ 1+2*3 }} {{ -7//2 }} {{ -7%3 }} {{ 7/2 }} {{ 2**10 }} {{ 0.1+0.2 }} {{ 1e16 }} {{ 1e15 }}"),
            "7 -4 2 3.5 1024 0.30000000000000004 1e+16 1000000000000000.0");
  EXPECT_EQ(run("{{ x.a[1:] }} {{ x.a[::-1] }} {{ s[2:5] }} {{ s[::-1] }} {{ s|length }}"),
            "[2.5, None, True, 'é\\n'] ['é\\n', True, None, 2.5, 1] ab    D,éc ba   11");
  EXPECT_EQ(run("{{ x|tojson }}{{ x|tojson(indent=2) }}"),
            "{\"b\": 1, \"a\": [1, 2.5, null, true, \"é\\n\"]}{\n  \"b\": 1,\n  \"a\": [\n    1,\n    2.5,\n    "
            "null,\n    true,\n    \"é\\n\"\n  ]\n}");
  EXPECT_EQ(run("{{ 1 < 2 < 3 }} {{ 'a' not in ['b'] }} {{ 'yes' if nothing }} {{ nothing|default('d') }} {{ 4 is "
                "divisibleby 2 }} {{ not nothing is defined }}"),
            "True True  d True True");
  EXPECT_EQ(run("{{ s.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'a b c'.rsplit(' ', 1) }} {{ 'xxabxx'.strip('x') }} {{ "
                "'it\\'s'|title }} {{ 'it\\'s'.title() }}"),
            "['ab', 'cé,D'] ['a', 'b c'] ['a b', 'c'] ab It's It'S");
  EXPECT_EQ(
      run("{{ messages|map(attribute='role')|join('+') }} {{ messages|selectattr('role','equalto','user')|list|length "
          "}} {{ [3,1,2]|sort(reverse=true) }} {{ 2 + 3|string|length }}"),
      "user+assistant 1 [3, 2, 1] 3");
  EXPECT_EQ(run("{{ messages[1].content is none }} {{ messages[1].n }} {{ messages[-1].foo is defined }} {{ x.get('q', "
                "7) }}"),
            "True 3 False 7");
}

TEST(ChatTemplate, StatementsAndScopes) {
  EXPECT_EQ(run("{% set a = 1 %}{% for i in range(2) %}{% set a = a + 1 %}{{ a }}{% endfor %}{{ a }}"), "221");
  EXPECT_EQ(run("{% set ns = namespace(v=0) %}{% for i in range(4) %}{% set ns.v = ns.v + i %}{% endfor %}{{ ns.v }}"),
            "6");
  EXPECT_EQ(run("{% macro m(a, b=2) %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(1, b=3) }}{{ m('x')|upper }}"),
            "[12][13][X2]");
  EXPECT_EQ(run("{% for i in range(10) if i is even %}{% if i == 6 %}{% break %}{% endif %}{% if i == 2 %}{% continue "
                "%}{% endif %}{{ i }}/{{ loop.length }} {% endfor %}"),
            "0/5 4/5 ");
  EXPECT_EQ(run("{% for i in [] %}{% else %}none{% endfor %}{% if 0 %}a{% elif 1 %}b{% else %}c{% endif %}"), "noneb");
  EXPECT_EQ(run("{% set t %} hi {{ 1 }}{% endset %}{{ t|length }}{% for k, v in x.items() %}{{ k }};{% endfor %}"),
            "5b;a;");
}

TEST(ChatTemplate, WhiteSpaceAroundTags) {
  EXPECT_EQ(run("   {% if true %}   \n  A\n   {%- if true -%}   \n   B   \n   {%- endif %}   \n   {% endif %}   \nC"),
            "   \n  AB   \n   \nC");
  EXPECT_EQ(run("a  {# c #} \n{#- d -#}\n  b {{- 1 -}}  c\n"), "a  b1c");
  EXPECT_EQ(run("{% raw %}{{ x }}{% endraw %}\n{%+ if true %} H {% endif +%}\nI\n"), "{{ x }} H \nI");
  EXPECT_EQ(run("\n  {% set q = 1 %}\n  {{ q }}\r\n\n{% if q %}\nz\n{% endif %}\nend\n\n"), "\n  1\n\nz\nend\n");
}

std::string error_of(const std::string& source) {
  try {
    run(source);
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(ChatTemplate, ErrorsNameTheLine) {
  const auto expect = [](const std::string& source, const std::string& part) {
    EXPECT_NE(error_of(source).find(part), std::string::npos) << source << ": " << error_of(source);
  };
  expect("a\n{{ 1 + }}", "test, line 2");
  expect("a\n\n{% if true %}x", "endif");
  expect("{{ 'abc }}", "not closed");
  expect("{{ x", "not closed");
  expect("\n{% include 'x' %}", "line 2: the statement 'include' is not supported");
  expect("\n\n{{ x|nosuch }}", "line 3: the filter 'nosuch'");
  expect("{{ x is nosuch }}", "nosuch");
  expect("{{ nope.y }}", "'nope' is undefined");
  expect("{{ nope() }}", "'nope'");
  expect("{{ 'a' + 1 }}", "str and int");
  expect("{{ 1 // 0 }}", "division by zero");
  expect("{{ 9223372036854775807 + 1 }}", "too large");
  expect("{{ raise_exception('only users') }}", "only users");
  expect("{{ x|map('upper')|tojson }}", "generator");
  expect("{{ messages[0].content.format(1) }}", "format");
  EXPECT_THROW(ChatTemplate::from_source("{{ 1 }}", "t").render_json("{}", false), Error);
  EXPECT_THROW(ChatTemplate::from_source("{{ 1 }}", "t").render_json("[1]", false), Error);
  EXPECT_THROW(ChatTemplate::from_source("{{ 1 }}", "t").render_json("[", false), Error);
}

// None of these may take long, overflow the stack or fill the memory.
TEST(ChatTemplate, HostileTemplatesAreBounded) {
  std::string deep_parentheses(100'000, '('), sum = "{{ 1", nots = "{{ ", blocks;
  for (int i = 0; i < 50'000; ++i) sum += "+1", nots += "not ", blocks += "{% if 1 %}";
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& source : std::vector<std::string>{
           "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
           "{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
           "{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
           "{% set ns = namespace(s=[]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}",
           "{% set ns = namespace() %}{% set ns.a = ns %}",
           "{% set ns = namespace() %}{% set ns.a = [1]|map(attribute='q', default=ns)|list %}",
           "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
           "{{ range(999999999) }}",
           "{{ 'x' * 999999999999 }}",
           "{{ ('x' * 30000000)|replace('x', 'yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy') }}",
           "{% for i in range(99999) %}{{ 'x' * 100000 }}{% endfor %}",
           "{{ " + deep_parentheses + " }}",
           "{{ " + deep_parentheses,
           sum + " }}",
           nots + "1 }}",
           blocks,
       })
    EXPECT_NE(error_of(source), "no error") << source.substr(0, 80);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 20);
}

std::vector<std::string> spans_of(const ChatTemplate& chat, const std::vector<Message>& messages) {
  const auto rendered = chat.render_with_spans(messages);
  EXPECT_EQ(rendered.text, chat.render(messages, false));
  std::vector<std::string> out;
  for (const auto& [begin, end] : rendered.assistant_spans) out.push_back(rendered.text.substr(begin, end - begin));
  return out;
}

TEST(ChatTemplate, SpansOfTheAssistant) {
  const std::vector<Message> chat{{"user", "q"}, {"assistant", "one"}, {"user", "r"}, {"assistant", "<b>two"}};
  const TemplateVariables eos{{"eos_token", "\"<|im_end|>\""}};
  const char* chatml =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
  EXPECT_EQ(spans_of(ChatTemplate::from_source(chatml, "t", eos), chat),
            (std::vector<std::string>{"one<|im_end|>", "<b>two<|im_end|>"}));

  // A prompt that opens the thinking agrees with what the assistant wrote only as far as its tag.
  const char* thinking =
      "{% for m in messages %}{{ '<' + m.role + '>' + m.content + '<|im_end|>' }}{% endfor %}{% if "
      "add_generation_prompt %}{{ '<assistant><think>\n' }}{% endif %}";
  EXPECT_EQ(spans_of(ChatTemplate::from_source(thinking, "t", eos), chat),
            (std::vector<std::string>{"one<|im_end|>", "<b>two<|im_end|>"}));

  const char* marked =
      "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content }}!{% endgeneration %}{% "
      "else %}{{ m.content }}{% endif %}{% endfor %}";
  EXPECT_EQ(spans_of(ChatTemplate::from_source(marked, "t"), chat), (std::vector<std::string>{"one!", "<b>two!"}));
}

TEST(ChatTemplate, SpansInPublishedTemplates) {
  const auto path = testing::data_path("oracles/chat_templates.json");
  if (!path) GTEST_SKIP() << "no test data";
  const Json oracle = Json::parse(read_file(*path));
  const std::vector<Message> chat{{"user", "q"},
                                  {"assistant", "<think>\nlong\n</think>\n\none"},
                                  {"user", "r"},
                                  {"assistant", "<think>\nhm\n</think>\n\ntwo"}};
  const auto spans = [&](const char* name, const char* eos) {
    return spans_of(ChatTemplate::from_source(oracle["templates"][name], name,
                                              {{"eos_token", Json(eos).dump()}, {"bos_token", "\"<s>\""}}),
                    chat);
  };
  using Texts = std::vector<std::string>;
  EXPECT_EQ(spans("qwen3", "<|im_end|>"), (Texts{"one<|im_end|>", "<think>\nhm\n</think>\n\ntwo<|im_end|>"}));
  EXPECT_EQ(spans("smollm2", "<|im_end|>"),
            (Texts{"<think>\nlong\n</think>\n\none<|im_end|>", "<think>\nhm\n</think>\n\ntwo<|im_end|>"}));
  EXPECT_EQ(spans("meta-llama-Llama-3.1-8B-Instruct", "<|eot_id|>"),
            (Texts{"<think>\nlong\n</think>\n\none<|eot_id|>", "<think>\nhm\n</think>\n\ntwo<|eot_id|>"}));
  EXPECT_EQ(spans("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "<｜end▁of▁sentence｜>"),
            (Texts{"\n\none<｜end▁of▁sentence｜>", "\n\ntwo<｜end▁of▁sentence｜>"}));
}

TEST(ChatTemplate, FoundInAFolder) {
  const testing::TempDir dir;
  EXPECT_FALSE(ChatTemplate::exists(dir.path()));
  EXPECT_THROW(ChatTemplate::load(dir.path()), Error);
  const auto write = [&](const char* name, const std::string& text) { std::ofstream(dir / name) << text; };
  write(
      "tokenizer_config.json",
      R"({"bos_token": {"content": "<s>"}, "chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "{{ bos_token }}A"}]})");
  EXPECT_TRUE(ChatTemplate::exists(dir.path()));
  EXPECT_EQ(ChatTemplate::load(dir.path()).render({}, false), "<s>A");
  write("chat_template.jinja", "{{ bos_token }}B\n");
  EXPECT_EQ(ChatTemplate::load(dir.path()).render({}, false), "<s>B");
  write("tokenizer_config.json", "{\"bos_token\":");
  EXPECT_THROW(ChatTemplate::load(dir.path()), Error);
}

}  // namespace
}  // namespace tenon::text
