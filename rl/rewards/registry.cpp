#include "registry.h"

#include <algorithm>

#include "../../runtime/check.h"
#include "../../runtime/nearest_name.h"
#include "../settings.h"
#include "../tasks/countdown.h"
#include "code.h"
#include "exec_reward.h"
#include "format.h"
#include "ifeval.h"
#include "language_consistency.h"
#include "length_rewards.h"
#include "math_accuracy.h"
#include "model_reward.h"
#include "multiple_choice.h"
#include "text_match.h"

namespace tenon::rl::rewards {
namespace {

// "contains:wait,等": 1 when one of the words stands in the completion.
Reward contains(const std::string& words) {
  std::vector<std::string> list;
  for (size_t at = 0; at <= words.size();) {
    const size_t end = std::min(words.find(',', at), words.size());
    if (end > at) list.push_back(words.substr(at, end - at));
    at = end + 1;
  }
  check(!list.empty(), "reward 'contains:': no words; write contains:WORD,WORD");
  return [list](const Sample& s) {
    return std::any_of(list.begin(), list.end(),
                       [&](const std::string& w) { return s.completion.find(w) != std::string::npos; })
               ? 1.0f
               : 0.0f;
  };
}

LengthUnit unit_of(const RewardOptions& o) {
  return o.length_unit == "tokens" ? LengthUnit::tokens : LengthUnit::characters;
}

// What length and cosine ask whether a completion is right.
BatchReward correctness(const RewardOptions& o) {
  check(o.length_correct != "length" && o.length_correct != "cosine",
        "length_correct = '{}': it cannot say whether a completion is right", o.length_correct);
  return make_reward(o.length_correct, o).reward;
}

BatchReward make_cosine(const RewardOptions& o) {
  return cosine(correctness(o), {.min_value_wrong = o.cosine_min_value_wrong,
                                 .max_value_wrong = o.cosine_max_value_wrong,
                                 .min_value_correct = o.cosine_min_value_correct,
                                 .max_value_correct = o.cosine_max_value_correct,
                                 .max_len = o.cosine_max_len,
                                 .unit = unit_of(o)});
}

BatchReward make_code(const RewardOptions& o) {
  return code({.language = o.code_language,
               .share = o.code_score == "share",
               .cpu_seconds = o.code_cpu_seconds,
               .wall_seconds = o.code_wall_seconds,
               .memory_mb = o.code_memory_mb,
               .processes = o.code_processes,
               .output_kb = o.code_output_kb,
               .workers = o.code_workers,
               .python = o.code_python,
               .compiler = o.code_compiler});
}

// "b" of "a/b" and "a/b/".
std::string last_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

struct Entry {
  const char* name;
  const char* about;
  BatchReward (*make)(const RewardOptions&);
};

constexpr Entry kRewards[] = {
    {"accuracy",
     "1 when the final answer is that of the column answer: numbers, LaTeX, sets, intervals, equations, words",
     [](const RewardOptions&) { return batched(math_accuracy()); }},
    {"multiple_choice", "1 when the final answer names the choice in answer (B, or a number from 0); choices: options",
     [](const RewardOptions&) { return batched(multiple_choice()); }},
    {"exact_match", "1 when the final words are one of the answers in answer, made plain as SQuAD and DROP do",
     [](const RewardOptions&) { return batched(exact_match()); }},
    {"f1", "DROP's F1 of the final words with the best of the answers in answer (and validated_answers)",
     [](const RewardOptions&) { return batched(f1()); }},
    {"ifeval", "1 when all instructions of instruction_id_list and kwargs are followed (IFEval, prompt-level strict)",
     [](const RewardOptions&) { return batched(ifeval()); }},
    {"ifeval_share", "the share of these instructions that are followed",
     [](const RewardOptions&) { return batched(ifeval_share()); }},
    {"ifeval_instructions", "as a measure of an evaluation: the share of all rows' instructions (instruction-level)",
     [](const RewardOptions&) { return ifeval_instructions(); }},
    {"code",
     "the program passes the row's tests, run in a sandbox: test_cases, test_list, test and entry_point, tests, "
     "input_output, verification_info; language",
     make_code},
    {"format", "1 for <think> ... </think> <answer> ... </answer>, each tag once and nothing outside",
     [](const RewardOptions&) { return batched(format()); }},
    {"format_strict", "1 when it begins with these tags on lines of their own (open-r1)",
     [](const RewardOptions&) { return batched(format_strict()); }},
    {"format_soft", "1 when these tags stand in it somewhere, in order",
     [](const RewardOptions&) { return batched(format_soft()); }},
    {"think_format", "1 when it begins with <think>, opened once and closed (TRL)",
     [](const RewardOptions&) { return batched(think_format()); }},
    {"tag_count", "1/4 for each tag that stands once on its line (open-r1)",
     [](const RewardOptions&) { return batched(tag_count()); }},
    {"xml_count", "1/8 for each such tag, less 1/1000 for each character behind the answer",
     [](const RewardOptions&) { return batched(xml_count()); }},
    {"language_consistency", "share of the thinking's words in the language of the column language, or of the prompt",
     [](const RewardOptions&) { return batched(language_consistency()); }},
    {"reasoning_steps", "min(1, steps / 3): Step 1:, bullets, First, Next, ... (open-r1)",
     [](const RewardOptions&) { return batched(reasoning_steps()); }},
    {"length", "0.5 to -0.5, shortest to longest completion of a prompt; wrong ones at most 0 (Kimi k1.5)",
     [](const RewardOptions& o) { return length(correctness(o), unit_of(o)); }},
    {"cosine", "right and short is best, wrong and short is worst, by a cosine of the length (arXiv 2502.03373)",
     make_cosine},
    {"repetition_penalty", "0 to repetition_max_penalty by the share of repeated n-grams of words (arXiv 2502.03373)",
     [](const RewardOptions& o) {
       return batched(repetition_penalty(o.repetition_n_grams, o.repetition_max_penalty));
     }},
    {"countdown", "1 when the expression uses the numbers once each and gives the target",
     [](const RewardOptions&) { return batched(countdown()); }},
    {"countdown_format", "the form of the Countdown task",
     [](const RewardOptions&) { return batched(countdown_format()); }},
    {"countdown_language", "the language of the Countdown task",
     [](const RewardOptions&) { return batched(countdown_language()); }},
};

}  // namespace

std::vector<RewardInfo> known_rewards() {
  std::vector<RewardInfo> out;
  for (const Entry& e : kRewards) out.push_back({e.name, e.about});
  out.push_back({"contains:WORD,WORD", "1 when one of the words stands in the completion"});
  out.push_back({"model:DIR", "the score of a reward model, a folder as tenon reward-model writes"});
  out.push_back({"exec:PROGRAM",
                 "what a program answers: a line of JSON with prompt, completion and the columns in, a line "
                 "with a number out"});
  return out;
}

WeightedReward make_reward(const std::string& spec, const RewardOptions& options, float weight) {
  if (spec.rfind("exec:", 0) == 0) {
    ExecOptions exec{
        .timeout = options.exec_timeout, .fail_on_error = options.exec_on_failure == "error", .sandbox = {}};
    if (options.sandbox) {
      exec.sandbox = SandboxLimits{.cpu_seconds = options.sandbox_cpu_seconds,
                                   .memory_mb = options.sandbox_memory_mb,
                                   .processes = options.sandbox_processes,
                                   .file_mb = options.sandbox_file_mb};
    }
    // The metric is named after the program, without its folder and arguments.
    const std::string program = spec.substr(5);
    return {last_name(program.substr(0, program.find(' '))), exec_reward(program, exec), weight};
  }
  if (spec.rfind("model:", 0) == 0) {
    const std::string dir = spec.substr(6);
    check(!dir.empty(), "reward 'model:': no folder; write model:DIR");
    return {last_name(dir), model_reward(dir), weight};
  }
  if (spec.rfind("contains:", 0) == 0) return {spec, batched(contains(spec.substr(9))), weight};
  for (const Entry& e : kRewards) {
    if (spec == e.name) return {spec, e.make(options), weight};
  }
  std::string known;
  for (const RewardInfo& r : known_rewards()) known += (known.empty() ? "" : ", ") + r.name;
  std::vector<std::string> names;
  for (const Entry& e : kRewards) names.emplace_back(e.name);
  const std::string nearest = nearest_name(spec, names);
  fail("unknown reward '{}'{}; known are {}", spec, nearest.empty() ? "" : ", did you mean '" + nearest + "'?", known);
}

std::vector<WeightedReward> make_rewards(const std::vector<std::string>& specs, const std::vector<double>& weights,
                                         const RewardOptions& options) {
  check(weights.empty() || weights.size() == specs.size(), "reward_weights has {} values for {} rewards (reward_funcs)",
        weights.size(), specs.size());
  std::vector<WeightedReward> out;
  for (size_t i = 0; i < specs.size(); ++i) {
    out.push_back(make_reward(specs[i], options, weights.empty() ? 1.0f : static_cast<float>(weights[i])));
    for (size_t j = 0; j < i; ++j) check(out[j].name != out[i].name, "the reward '{}' is given twice", out[i].name);
  }
  return out;
}

}  // namespace tenon::rl::rewards
