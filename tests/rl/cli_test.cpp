// The binary tenon as its users meet it: exit codes, one line for an error, help, pipes.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "../../rl/rewards/subprocess.h"
#include "../paths.h"
#include "../temp_dir.h"

namespace tenon::rl {
namespace {

class Cli : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(binary)) GTEST_SKIP() << "the binary is not built: " << binary;
  }
  ProcessResult tenon(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), binary);
    return run_process(arguments, 60);
  }
  // The one line that an error is.
  void expect_error(const std::vector<std::string>& arguments, int code, const std::string& part) const {
    const ProcessResult r = tenon(arguments);
    EXPECT_EQ(r.exit_code, code) << r.errors;
    EXPECT_EQ(r.errors.rfind("tenon: error: ", 0), 0u) << r.errors;
    EXPECT_EQ(std::count(r.errors.begin(), r.errors.end(), '\n'), 1) << r.errors;
    EXPECT_NE(r.errors.find(part), std::string::npos) << r.errors;
    EXPECT_EQ(r.output, "");
  }

  const std::string binary = testing::binary_dir() + "/tenon";
  testing::TempDir dir;
};

TEST_F(Cli, HelpOfEveryCommand) {
  const ProcessResult all = tenon({"--help"});
  EXPECT_EQ(all.exit_code, 0);
  for (const char* command : {"pretrain", "sft", "grpo", "distill", "eval", "sample", "generate", "chat", "tokenize",
                              "render", "score", "reward", "info", "merge", "tokenizer", "report", "r1"}) {
    EXPECT_NE(all.output.find(command), std::string::npos) << command;
    const ProcessResult one = tenon({command, "--help"});
    EXPECT_EQ(one.exit_code, 0) << command;
    EXPECT_GT(one.output.size(), 80u) << command;
  }
  EXPECT_NE(tenon({"grpo", "--help"}).output.find("--grpo.num_generations"), std::string::npos);
}

TEST_F(Cli, ErrorsAreOneLineAndAnExitCode) {
  expect_error({}, 2, "subcommand");
  expect_error({"grpo", "--num_genrations", "8"}, 2, "'num_generations'");
  expect_error({"grpo", "--num_generations", "many"}, 2, "is an integer, got 'many'");
  expect_error({"info", "--threads", "none"}, 2, "--threads needs a number");
  expect_error({"eval"}, 1, "no model");
  expect_error({"eval", dir / "none.toml"}, 1, "none.toml");
  testing::write_text(dir / "bad.toml", "[eval]\nnum_samples = 4\ntemperture = 1\n");
  expect_error({"eval", dir / "bad.toml"}, 1,
               "bad.toml:3: unknown setting 'temperture' in [eval]; the nearest known one is 'temperature'");
  expect_error({"info", dir / "none"}, 1, "none");
  expect_error({"tokenize", "--model", dir / "none", "--text", "a"}, 1, "none");
  expect_error({"r1", dir / "none.toml"}, 1, "none.toml");
}

TEST_F(Cli, RewardReadsRowsAndWritesNumbers) {
  testing::write_text(
      dir / "rows.jsonl",
      "{\"prompt\": \"p\", \"completion\": \"<think> </think> <answer> 2 * 5 </answer>\", \"numbers\": [5, 2], "
      "\"target\": 10, \"language\": \"en\"}\n"
      "{\"prompt\": \"p\", \"completion\": \"10\", \"numbers\": [5, 2], \"target\": 10, \"language\": \"en\"}\n");
  const ProcessResult r = tenon({"reward", "countdown", dir / "rows.jsonl"});
  EXPECT_EQ(r.exit_code, 0) << r.errors;
  EXPECT_EQ(r.output, "1\n0\n");
  EXPECT_EQ(tenon({"reward", "countdown_language", dir / "rows.jsonl"}).output, "null\nnull\n");
  EXPECT_EQ(
      tenon({"reward", "exec:while read -r l; do echo 0.5; done", dir / "rows.jsonl", "--exec_timeout", "10"}).output,
      "0.5\n0.5\n");
  expect_error({"reward", "cuntdown", dir / "rows.jsonl"}, 1, "did you mean 'countdown'");
  testing::write_text(dir / "bad.jsonl", "{\"prompt\": \"p\"\n");
  expect_error({"reward", "countdown", dir / "bad.jsonl"}, 1, "bad.jsonl:1: not a JSON object");
}

TEST_F(Cli, ReportOfRuns) {
  for (const std::string run : {"a", "b"}) {
    std::filesystem::create_directories(dir / run);
    testing::write_text(dir / run + "/metrics.jsonl", "{\"step\":1,\"loss\":2.5}\n{\"step\":2,\"loss\":1.5}\n");
  }
  EXPECT_EQ(tenon({"report", dir / "a"}).output, dir / "a/report.html\n");
  EXPECT_NE(testing::read_text(dir / "a/report.html").find("Loss"), std::string::npos);
  EXPECT_EQ(tenon({"report", dir / "a", dir / "b", "--output", dir / "both.html"}).output, dir / "both.html\n");
  EXPECT_NE(testing::read_text(dir / "both.html").find("2 runs compared"), std::string::npos);
  std::filesystem::create_directories(dir / "empty");
  expect_error({"report", dir / "a", dir / "empty"}, 1, "empty: no run is in this folder");
  expect_error({"report", dir / "none"}, 1, "none: no such folder");
  EXPECT_FALSE(std::filesystem::exists(dir / "none")) << "looking makes no folder";
  expect_error({"report"}, 2, "runs is required");
}

TEST_F(Cli, AModelFromTheTaskToItsScores) {
  ASSERT_EQ(tenon({"countdown", "--output_dir", dir / "task", "--documents", "100", "--train_prompts", "4",
                   "--held_out_prompts", "4"})
                .exit_code,
            0);
  testing::write_text(dir / "pretrain.toml", "output_dir = '" + (dir / "run") + "'\ntokenizer = '" + (dir / "task") +
                                                 "'\nmax_steps = 3\n[data]\npath = '" + (dir / "task") +
                                                 "/corpus.jsonl'\n[model_config]\narchitectures = "
                                                 "['LlamaForCausalLM']\nmodel_type = 'llama'\nhidden_size = 16\n"
                                                 "num_hidden_layers = 1\nnum_attention_heads = 2\nnum_key_value_heads "
                                                 "= 1\nhead_dim = 8\nintermediate_size = 16\n"
                                                 "max_position_embeddings = 64\n");
  const ProcessResult trained =
      tenon({"pretrain", dir / "pretrain.toml", "--train_batch_size", "8", "--max_length", "48"});
  ASSERT_EQ(trained.exit_code, 0) << trained.errors;
  EXPECT_NE(trained.errors.find("pretrain 3/3"), std::string::npos) << trained.errors;
  const std::string model = dir / "run/model";

  const auto info = nlohmann::json::parse(tenon({"info", model, "--json", "--batch", "6", "--ranks", "2"}).output);
  EXPECT_EQ(info["vocab_size"], 82);
  EXPECT_EQ(info["parameters"], info["active_parameters"]);
  EXPECT_EQ(info["training_step"]["tokens"], 6 * 64);  // sequences as long as the model takes
  const std::string about = tenon({"info", model + "/config.json"}).output;
  EXPECT_NE(about.find("parameters " + info["parameters"].dump()), std::string::npos) << about;
  expect_error({"info", model, "--batch", "2", "--ranks", "4"}, 1, "4 ranks");

  const std::string text = "<bos> use 9 6 3 make 36";
  const auto ids = nlohmann::json::parse(tenon({"tokenize", "--model", model, "--text", text}).output);
  EXPECT_EQ(ids.size(), 7u);
  EXPECT_EQ(tenon({"tokenize", "--model", model, "--ids", ids.dump()}).output, text + "\n");

  const auto score = nlohmann::json::parse(tenon({"score", "--model", model, "--text", text}).output);
  ASSERT_EQ(score["logprobs"].size(), 7u);
  EXPECT_TRUE(score["logprobs"][0].is_null());
  double sum = 0;
  for (size_t i = 1; i < 7; ++i) {
    EXPECT_LT(score["logprobs"][i].get<double>(), 0);
    sum += score["logprobs"][i].get<double>();
  }
  EXPECT_NEAR(sum, score["sum"].get<double>(), 1e-6);
  EXPECT_EQ(nlohmann::json::parse(tenon({"score", "--model", model, "--ids", ids.dump()}).output)["logprobs"],
            score["logprobs"]);
  expect_error({"score", "--model", model, "--ids", "[1, 4096]"}, 1, "4096 is not in the vocabulary of 82");

  const ProcessResult a =
      tenon({"generate", "--model", model, "--prompt", text, "--max_new_tokens", "5", "--seed", "3"});
  EXPECT_EQ(a.exit_code, 0) << a.errors;
  EXPECT_EQ(a.errors.find("profile of"), std::string::npos) << a.errors;
  const ProcessResult profiled =
      tenon({"generate", "--model", model, "--prompt", text, "--max_new_tokens", "5", "--profile", "--seed", "3"});
  EXPECT_EQ(profiled.output, a.output);
  for (const char* part : {"profile of ", "op on cpu", "of limit", "\nlinear ", "\nrms_norm ", "\nall ops "})
    EXPECT_NE(profiled.errors.find(part), std::string::npos) << part << " in " << profiled.errors;
  EXPECT_EQ(a.output,
            tenon({"generate", "--model", model, "--prompt", text, "--max_new_tokens", "5", "--seed", "3"}).output);
  expect_error({"generate", "--model", model, "--prompt", text, "--chat"}, 1, "chat template");
  expect_error({"generate", "--model", model, "--prompt",
                "7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 "
                "7 7 7 7 7 7 7 7 7 7 7 7 7 7 7"},
               1, "64");

  const ProcessResult eval = tenon({"eval", "--model", model, "--data.path", dir / "task/held_out.jsonl", "--correct",
                                    "countdown", "--num_samples", "2", "--max_new_tokens", "4"});
  EXPECT_EQ(eval.exit_code, 0) << eval.errors;
  EXPECT_EQ(nlohmann::json::parse(eval.output)["questions"], 4);

  // An adapter's folder stands wherever a model's does.
  testing::write_text(dir / "sft.jsonl", "{\"prompt\": \"<bos> use 9 6\", \"completion\": \"make 36\"}\n");
  const ProcessResult sft =
      tenon({"sft", "--model", model, "--data.path", dir / "sft.jsonl", "--output_dir", dir / "lora", "--max_steps",
             "3", "--learning_rate", "0.1", "--lora_r", "2", "--lora_target_modules", "q_proj,down_proj"});
  ASSERT_EQ(sft.exit_code, 0) << sft.errors;
  const std::string adapter = dir / "lora/model";
  const auto with = nlohmann::json::parse(tenon({"score", "--model", adapter, "--text", text}).output);
  EXPECT_EQ(
      nlohmann::json::parse(tenon({"score", "--model", model, "--adapter", adapter, "--text", text}).output)["sum"],
      with["sum"]);
  EXPECT_GT(std::abs(with["sum"].get<double>() - sum), 1e-3);
  EXPECT_EQ(tenon({"tokenize", "--model", adapter, "--text", text}).output, ids.dump() + "\n");
  EXPECT_EQ(nlohmann::json::parse(tenon({"info", adapter, "--json"}).output)["vocab_size"], 82);
  const ProcessResult merged = tenon({"merge", adapter, "--output", dir / "merged"});
  EXPECT_EQ(merged.exit_code, 0) << merged.errors;
  EXPECT_EQ(nlohmann::json::parse(merged.output)["r"], 2);
  EXPECT_NEAR(nlohmann::json::parse(tenon({"score", "--model", dir / "merged", "--text", text}).output)["sum"],
              with["sum"].get<double>(), 1e-4);
  expect_error({"merge", model, "--output", dir / "merged"}, 1, "it is no adapter");
  expect_error({"sft", "--model", model, "--data.path", dir / "sft.jsonl", "--output_dir", dir / "bad", "--lora_r", "2",
                "--lora_target_modules", "q_prj"},
               1, "did you mean `q_proj`?");
}

}  // namespace
}  // namespace tenon::rl
