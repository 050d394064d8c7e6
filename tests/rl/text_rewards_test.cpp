// Rewards of form, language, length and choice, compared with the formulas as they were published.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <random>
#include <regex>
#include <set>
#include <sstream>

#include "../../rl/datasets.h"
#include "../../rl/rewards/format.h"
#include "../../rl/rewards/language_consistency.h"
#include "../../rl/rewards/length_rewards.h"
#include "../../rl/rewards/math_accuracy.h"
#include "../../rl/rewards/multiple_choice.h"
#include "../../rl/rewards/registry.h"
#include "../../runtime/json_lines.h"
#include "../expect_error.h"
#include "../test_data.h"

namespace tenon::rl {
namespace {

const Row kRow = make_row("q", {{"answer", "4"}});

float score(const Reward& reward, const std::string& completion, const std::string& prompt = "q") {
  return reward({.row = kRow, .prompt = prompt, .completion = completion});
}

TEST(Format, TagsOnceAndInOrder) {
  const Row row = make_row("q");
  const auto score = [&](const std::string& completion, const std::string& prompt = "q", bool finished = true) {
    return rewards::format()({.row = row, .prompt = prompt, .completion = completion, .finished = finished});
  };
  EXPECT_EQ(score("<think> a </think>\n<answer> 3 </answer>\n"), 1);
  EXPECT_EQ(score("<think> a </think> <answer> 3 </answer>", "q", false), 0);
  EXPECT_EQ(score("a </think> <answer> 3 </answer>", "Assistant: <think>\n"), 1) << "the prompt opened it";
  EXPECT_EQ(score("a </think> <answer> 3 </answer>"), 0);
  EXPECT_EQ(score("<think> a </think> so <answer> 3 </answer>"), 0);
  EXPECT_EQ(score("<think> a <answer> 3 </answer> </think>"), 0);
  EXPECT_EQ(score("<think> a </think> <answer> </answer>"), 0);
  EXPECT_EQ(score("<think> a </think> <answer> 3 </answer> <answer> 4 </answer>"), 0);
  EXPECT_EQ(score(""), 0);
}

TEST(LanguageConsistency, CountsWordsOfTheThinking) {
  EXPECT_FLOAT_EQ(rewards::language_share("so 3 + 4 = 7, wait", "en"), 1);
  EXPECT_FLOAT_EQ(rewards::language_share("so 等等 wait", "en"), 0.5f) << "a Han character is a word";
  EXPECT_FLOAT_EQ(rewards::language_share("so 等等 wait", "zh"), 0.5f);
  EXPECT_FLOAT_EQ(rewards::language_share("Für naïve Leute", "de"), 1);
  EXPECT_TRUE(std::isnan(rewards::language_share("1 + 2 = \xff", "en")));
  const auto reward = [](const std::string& prompt, const std::string& completion,
                         std::vector<std::pair<std::string, std::string>> columns = {}) {
    const Row row = make_row(prompt, std::move(columns));
    return rewards::language_consistency()({.row = row, .prompt = prompt, .completion = completion});
  };
  EXPECT_FLOAT_EQ(reward("How many?", "<think> let me 看 see </think> <answer> 苹果 </answer>"), 0.75f);
  EXPECT_FLOAT_EQ(reward("多少苹果？", "<think> 我想 </think> five"), 1);
  EXPECT_FLOAT_EQ(reward("How many?", "我想", {{"language", "zh"}}), 1);
}

// Responses put together at random from the pieces that these rewards look for.
std::vector<std::string> random_responses(std::vector<std::string> pieces, int count, int most) {
  std::mt19937 random(7);
  std::vector<std::string> out{""};
  for (int i = 0; i < count; ++i) {
    std::string text;
    for (auto n = static_cast<int>(random() % static_cast<unsigned>(most)); n >= 0; --n)
      text += pieces[random() % pieces.size()];
    out.push_back(text);
  }
  return out;
}

const std::vector<std::string> kTagPieces = {
    "<think>",  "<think>\n",   "\n</think>", "</think>",      "\n</think>\n", "<answer>\n", "\n<answer>\n",
    "<answer>", "\n</answer>", "</answer>",  "\n</answer>\n", "\n",           " ",          "x + 1"};

int count_of(const std::string& text, const std::string& what) {
  int count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++count;
  return count;
}

TEST(PublishedFormulas, FormatsAreTheirRegularExpressions) {
  const std::regex strict("^<think>\\n[\\s\\S]*?\\n</think>\\n<answer>\\n[\\s\\S]*?\\n</answer>(\\n[\\s\\S]*)?$");
  const std::regex soft("<think>[\\s\\S]*?</think>\\s*<answer>[\\s\\S]*?</answer>");
  const std::regex trl("^<think>(?![\\s\\S]*<think>)([\\s\\S]*?)</think>[\\s\\S]*$");
  auto responses = random_responses(kTagPieces, 3000, 9);
  for (const char* good :
       {"<think>\na\n</think>\n<answer>\n4\n</answer>", "<think>a</think><answer>4</answer>",
        "<think>\n\n</think>\n<answer>\n\n</answer>\nmore", "so <think>a</think> <answer>4</answer>"})
    responses.emplace_back(good);
  int hits = 0;
  for (const std::string& r : responses) {
    EXPECT_EQ(score(rewards::format_strict(), r) == 1, std::regex_match(r, strict)) << r;
    EXPECT_EQ(score(rewards::format_soft(), r) == 1, std::regex_search(r, soft)) << r;
    EXPECT_EQ(score(rewards::think_format(), r) == 1, std::regex_match(r, trl)) << r;
    hits += std::regex_search(r, soft);
  }
  EXPECT_GT(hits, 30) << "the responses must hold right ones";
}

TEST(PublishedFormulas, TagsAreCounted) {
  for (const std::string& r : random_responses(kTagPieces, 3000, 9)) {
    const bool once[4] = {count_of(r, "<think>\n") == 1, count_of(r, "\n</think>\n") == 1,
                          count_of(r, "\n<answer>\n") == 1, count_of(r, "\n</answer>") == 1};
    const auto tail = [&](const std::string& tag) {
      const size_t at = r.rfind(tag);
      return static_cast<double>(at == std::string::npos ? r.size() : r.size() - at - tag.size());
    };
    double tags = 0, xml = 0;
    for (const bool o : once) tags += o ? 0.25 : 0, xml += o ? 0.125 : 0;
    if (once[2]) xml -= tail("\n</answer>\n") * 0.001;
    if (once[3]) xml -= (tail("\n</answer>") - 1) * 0.001;
    EXPECT_FLOAT_EQ(score(rewards::tag_count(), r), static_cast<float>(tags)) << r;
    EXPECT_NEAR(score(rewards::xml_count(), r), xml, 1e-6) << r;
  }
}

TEST(PublishedFormulas, StepsAreMatchesOfTheExpression) {
  const std::regex steps("(Step \\d+:|^\\d+\\.|\\n-|\\n\\*|First,|Second,|Next,|Finally,)");
  for (const std::string& r : random_responses(
           {"Step 1:", "Step ", "12", ".", "\n", "-", "*", "First,", "Second", ",", "Next,", "Finally,", ":", " so "},
           2000, 12)) {
    // ECMAScript's ^ is also the beginning of a line, Python's only that of the text.
    const auto begin = std::sregex_iterator(r.begin(), r.end(), steps);
    const auto found = std::count_if(begin, std::sregex_iterator(), [](const std::smatch& m) {
      return m.position() == 0 || !std::isdigit(static_cast<unsigned char>(m.str()[0]));
    });
    EXPECT_FLOAT_EQ(score(rewards::reasoning_steps(), r), std::min(1.0f, static_cast<float>(found) / 3)) << r;
  }
}

TEST(PublishedFormulas, RepetitionIsTheShareOfRepeatedNGrams) {
  for (const std::string& r : random_responses({"the ", "The ", "cat ", "sat\n", "on ", "  ", "mat"}, 1000, 20)) {
    std::istringstream in(r);
    std::vector<std::string> words;
    for (std::string w; in >> w;) {
      std::ranges::transform(w, w.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      words.push_back(w);
    }
    double expected = 0;
    if (words.size() >= 3) {
      std::set<std::vector<std::string>> grams;
      for (size_t i = 0; i + 3 <= words.size(); ++i) grams.insert({words[i], words[i + 1], words[i + 2]});
      expected = -0.5 * (1 - static_cast<double>(grams.size()) / static_cast<double>(words.size() - 2));
    }
    EXPECT_NEAR(score(rewards::repetition_penalty(3, -0.5), r), expected, 1e-6) << r;
  }
  EXPECT_FLOAT_EQ(score(rewards::repetition_penalty(1), "好好好 ÄB äb"), -0.6f) << "5 words, 2 different";
  EXPECT_ERROR(rewards::repetition_penalty(3, 1), "repetition_max_penalty");
  EXPECT_ERROR(rewards::repetition_penalty(0), "repetition_n_grams");
}

TEST(PublishedFormulas, LengthIsComparedWithinAPrompt) {
  const Row other = make_row("p2", {{"answer", "7"}});
  std::vector<std::string> texts = {"4", "it is 4", "some words, and then 5", "so 12345", "7", "of 7 or so 7", "1"};
  std::vector<Sample> samples;
  for (size_t i = 0; i < texts.size(); ++i)
    samples.push_back({.row = i < 4 ? kRow : other, .prompt = i < 4 ? "q" : "p2", .completion = texts[i]});
  const BatchReward correct = batched(rewards::math_accuracy());
  const auto right = correct(samples);
  const auto values = rewards::length(correct)(samples);
  for (size_t i = 0; i < texts.size(); ++i) {
    const double shortest = 1, longest = i < 4 ? 22 : 12;
    const double lambda = 0.5 - (static_cast<double>(texts[i].size()) - shortest) / (longest - shortest);
    EXPECT_NEAR(values[i], right[i] == 1 ? lambda : std::min(0.0, lambda), 1e-6) << texts[i];
  }
  EXPECT_EQ(rewards::length(correct)(std::vector<Sample>(3, samples[0])), (std::vector<float>{0, 0, 0}));
  EXPECT_ERROR(rewards::length(correct, rewards::LengthUnit::tokens)(samples), "length_unit");
  const std::vector<int32_t> tokens(30);
  for (size_t i = 0; i < 2; ++i) samples[i].completion_tokens = std::span(tokens).first(10 * (i + 1));
  EXPECT_EQ(rewards::length(correct, rewards::LengthUnit::tokens)(std::span(samples).first(2)),
            (std::vector<float>{0.5f, -0.5f}));
}

TEST(PublishedFormulas, CosineOfTheLength) {
  std::vector<Sample> samples;
  for (const size_t n : {size_t{0}, size_t{9}, size_t{50}, size_t{99}, size_t{100}, size_t{180}}) {
    samples.push_back({.row = kRow, .completion = std::string(n, ' ') + "4"});
    samples.push_back({.row = kRow, .completion = std::string(n, ' ') + "5"});
  }
  const auto values = rewards::cosine(batched(rewards::math_accuracy()), {.max_len = 100})(samples);
  for (size_t i = 0; i < samples.size(); ++i) {
    const double progress = std::min(1.0, static_cast<double>(samples[i].completion.size()) / 100);
    const double low = i % 2 == 0 ? 0.5 : -0.5, high = i % 2 == 0 ? 1 : -1;
    EXPECT_NEAR(values[i], low + 0.5 * (high - low) * (1 + std::cos(progress * std::numbers::pi)), 1e-6) << i;
  }
}

TEST(LanguageConsistency, TellsLanguagesOfOneScriptApart) {
  const std::string german = "Zuerst rechnen wir die Summe aus. Das ist nicht schwer, also sind es zwölf.";
  const std::string english = "First we add the numbers. That is not hard, so there are twelve.";
  EXPECT_FLOAT_EQ(rewards::language_share(english, "en"), 1);
  EXPECT_FLOAT_EQ(rewards::language_share(german, "de"), 1);
  EXPECT_FLOAT_EQ(rewards::language_share(german, "German"), 1);
  EXPECT_LT(rewards::language_share(german, "en"), 0.2f);
  EXPECT_LT(rewards::language_share(english, "de"), 0.2f);
  EXPECT_NEAR(rewards::language_share(english + " " + german, "en"), 13.0 / 27, 0.1) << "sentence by sentence";
  EXPECT_FLOAT_EQ(rewards::language_share("Kreuzberg plus Neukölln = 12", "en"), 1) << "names are no other language";
  EXPECT_EQ(rewards::language_of_text(german), "de");
  EXPECT_EQ(rewards::language_of_text(english), "en");
  EXPECT_EQ(rewards::language_of_text("Combien de pommes est-ce que Paul a dans son panier ?"), "fr");
  EXPECT_EQ(rewards::language_of_text("¿Cuántas manzanas hay en la cesta si cada niño tiene dos?"), "es");
  EXPECT_EQ(rewards::language_of_text("Сколько яблок?"), "ru");
  EXPECT_EQ(rewards::language_of_text("りんごは何個ですか"), "ja");
  EXPECT_EQ(rewards::language_of_text("12 + 7"), "en");
}

TEST(MultipleChoice, LettersHoweverWritten) {
  for (const char* b :
       {"B", "b", "(B)", "\\text{B}", "\\textbf{(B)}", "B) 21", "B. 21", "Option B", "**B**", "the choice (b)", "[B]"})
    EXPECT_EQ(rewards::choice_letter(b), 'B') << b;
  for (const char* none : {"", "21", "Both", "because", "K", "x = 2"})
    EXPECT_EQ(rewards::choice_letter(none), std::nullopt) << none;

  const auto reward = [](const std::string& answer, const std::string& completion, const std::string& options = "") {
    std::vector<std::pair<std::string, std::string>> columns{{"answer", answer}};
    if (!options.empty()) columns.emplace_back("options", options);
    const Row row = make_row("q", columns);
    return rewards::multiple_choice()({.row = row, .completion = completion});
  };
  EXPECT_EQ(reward("C", "<think> A? B? </think> <answer> C </answer>"), 1);
  EXPECT_EQ(reward("C", "so \\boxed{C}"), 1);
  EXPECT_EQ(reward("(C)", "The answer is C) 21."), 1);
  EXPECT_EQ(reward("2", "It must be (C), as 4 is even."), 1) << "counted from 0";
  EXPECT_EQ(reward("C", "<think> C </think> <answer> B </answer>"), 0);
  EXPECT_EQ(reward("C", "<think> C"), 0);
  EXPECT_EQ(reward("C", ""), 0);
  const std::string options = R"(["A)1/2","B)3/4","C)0.8","D)3/4"])";
  EXPECT_EQ(reward("A", "\\boxed{0.5}", options), 1);
  EXPECT_EQ(reward("C", "\\boxed{0.5}", options), 0);
  EXPECT_EQ(reward("B", "\\boxed{0.75}", options), 0) << "two choices say so";
  EXPECT_ERROR(reward("none of these", "A"), "names no choice");
  EXPECT_ERROR(reward("E", "A", options), "a letter A to D");
  EXPECT_EQ(reward("B", "With distance (H) it is (B), if (I) see it.", options), 1) << "there are four choices";
  EXPECT_EQ(reward("B", "The answer is B. So am I", options), 1);
  EXPECT_ERROR(reward("B", "B", "A) 1 B) 2"), "must be a list of choices");
}

TEST(MultipleChoice, PhrasesInEnglishAndChinese) {
  const auto choice = [](const std::string& completion) {
    const Row row = make_row("q", {{"answer", "B"}});
    return rewards::chosen_letter({.row = row, .completion = completion});
  };
  for (const char* b :
       {"The answer is B because A is too small and C is no number at all.", "Not A. **Answer:** B\n", "Answer: (B)",
        "The correct option is **B**, not C.", "So the answer is $\\boxed{B}$. A was close.", "Answer:\n\nB) 21",
        "A? No: \\boxed{\\text{B}}", "<think>答案是A</think>答案是B。", "因为 3+4=7，所以正确答案为（B）。", "故选：B",
        "本题选B，而不选A", "设 $A$=3，则答案：Ｂ", "因此，应选 B 项。", "正确选项是B、21", "答案\n是什么？选择 B",
        "综上所述，选项为【B】"})
    EXPECT_EQ(choice(b), 'B') << b;
  for (const char* none : {"The answer is Boston.", "答案是北京。", "<think>answer is B", "I cannot say."})
    EXPECT_EQ(choice(none), std::nullopt) << none;
}

TEST(MultipleChoice, AquaRightAndWrong) {
  const auto path = testing::data_path("aqua/test.jsonl");
  if (!path) GTEST_SKIP() << "no test data";
  const auto data = PromptDataset::from_jsonl(*path, {.prompt_column = "question", .answer_column = "correct"});
  int right = 0, wrong = 0;
  for (const Row& row : data.rows()) {
    const std::string letter = row.column("answer");
    const std::string other(1, letter == "A" ? 'B' : 'A');
    right += rewards::multiple_choice()(
                 {.row = row, .completion = "<think>?</think> <answer>(" + letter + ")</answer>"}) == 1;
    wrong += rewards::multiple_choice()(
                 {.row = row, .completion = "<think>?</think> <answer>(" + other + ")</answer>"}) == 1;
  }
  EXPECT_EQ(right, data.size());
  EXPECT_EQ(wrong, 0);
}

TEST(RewardRegistry, EveryNamedRewardIsMade) {
  const auto known = rewards::known_rewards();
  EXPECT_GE(known.size(), 17u);
  for (const auto& r : known) {
    EXPECT_FALSE(r.about.empty()) << r.name;
    if (r.name.find(':') != std::string::npos || r.name == "code") continue;
    EXPECT_EQ(rewards::make_reward(r.name).name, r.name);
  }
  rewards::RewardOptions options;
  options.cosine_max_len = 10;
  const auto cosine = rewards::make_reward("cosine", options).reward;
  EXPECT_FLOAT_EQ(cosine(std::vector<Sample>{{.row = kRow, .completion = "         4"}})[0], 0.5f)
      << "settings reach it";
  options.length_correct = "length";
  EXPECT_ERROR(rewards::make_reward("length", options), "length_correct");
}

}  // namespace
}  // namespace tenon::rl
