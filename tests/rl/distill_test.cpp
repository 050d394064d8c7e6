// Distillation: whose completions, a teacher known by its most probable tokens, its cache on disk, and vocabularies.
#include "../../rl/distill.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "../../models/model.h"
#include "../../rl/sample_data.h"
#include "../../rl/vocabulary.h"
#include "../../runtime/files.h"
#include "trainer_checks.h"

namespace tenon::rl {
namespace {

using namespace tenon::testing;
namespace fs = std::filesystem;

models::Model trained_teacher(std::shared_ptr<const text::Tokenizer> tokenizer = nullptr) {
  models::Model teacher = tiny_model({.layers = 3, .seed = 7});
  if (tokenizer) teacher.set_tokenizer(tokenizer);
  SftTrainer(teacher, sum_examples(), {.train_batch_size = 25, .max_steps = 60, .learning_rate = 5e-3}).train();
  return teacher;
}

DistillOptions distill_options(const std::string& dir, int64_t steps) {
  return {.train_batch_size = 25,
          .max_new_tokens = 6,
          .max_steps = steps,
          .learning_rate = 5e-3,
          .save_steps = 0,
          .output_dir = dir,
          .tensorboard = false};
}

TEST(DistillOptions, ContradictionsAreNamed) {
  models::Model student = tiny_model(), teacher = tiny_model();
  const SftDataset data = sum_examples();
  const std::vector<std::pair<DistillOptions, std::string>> contradictions = {
      {{.beta = 1.5}, "beta 1.5"},
      {{.lmbda = -1}, "lmbda -1"},
      {{.loss_temperature = 0}, "loss_temperature 0"},
      {{.loss_top_k = 25}, "loss_top_k 25 is more than the vocabulary of 24"},
      {{.teacher_cache = "x"}, "set loss_top_k"},
      {{.lmbda = 0.5, .loss_top_k = 4, .teacher_cache = "x"}, "lmbda (0.5) must be 0"},
      {{.seq_kd = true, .loss_top_k = 4, .teacher_cache = "x"}, "seq_kd (true) false"},
      {{.loss_top_k = 4, .teacher_cache = "x"}, "needs the teacher's folder"}};
  for (const auto& [options, words] : contradictions)
    EXPECT_NE(error_of([&] { DistillTrainer(student, teacher, data, options); }).find(words), std::string::npos)
        << words;
  Row prompt = make_row("what is one plus two");
  prompt.source = "data.jsonl:3";
  const PromptDataset prompts = PromptDataset::from_rows({prompt});
  EXPECT_EQ(error_of([&] { DistillTrainer(student, teacher, prompts, {}); }),
            "data.jsonl:3: the row has no completion, which it needs unless lmbda is 1 or seq_kd is set");
  EXPECT_NE(error_of([&] { DistillTrainer(student, ModelOptions{}, data, {}); }).find("no teacher"), std::string::npos);
}

TEST(Distill, PromptsAloneDoWhereCompletionsAreSampled) {
  models::Model teacher = trained_teacher();
  const PromptDataset prompts = sum_prompts();
  for (const bool seq_kd : {true, false}) {
    TempDir dir;
    models::Model student = tiny_model();
    DistillOptions options = distill_options(dir / "run", 60);
    options.seq_kd = seq_kd;
    options.lmbda = seq_kd ? 0 : 1;
    options.sft_weight = 0.5;
    DistillTrainer(student, teacher, prompts, options).train();
    const auto lines = read_metrics(dir / "run/metrics.jsonl");
    EXPECT_LT(metric(lines.back(), "divergence"), 0.5 * metric(lines.front(), "divergence")) << seq_kd;
    EXPECT_EQ(metric(lines.back(), "on_policy"), seq_kd ? 0 : 1);
    if (!seq_kd) continue;
    // Sequence-level distillation proper is the cross-entropy on what the teacher says.
    EXPECT_LT(metric(lines.back(), "cross_entropy"), 0.5 * metric(lines.front(), "cross_entropy"));
  }
}

TEST(Distill, TheWholeVocabularyAsTopKIsTheFullLoss) {
  models::Model teacher = trained_teacher();
  const SftDataset data = sum_examples();
  const auto losses = [&](int64_t top_k) {
    TempDir dir;
    models::Model student = tiny_model();
    DistillOptions options = distill_options(dir / "run", 5);
    options.loss_top_k = top_k;
    options.loss_temperature = 1.5;
    DistillTrainer(student, teacher, data, options).train();
    std::vector<double> out;
    for (const auto& line : read_metrics(dir / "run/metrics.jsonl")) out.push_back(metric(line, "divergence"));
    return out;
  };
  const auto full = losses(0), whole = losses(24), few = losses(3);
  for (size_t i = 0; i < full.size(); ++i) {
    EXPECT_NEAR(full[i], whole[i], 1e-4 * full[i]) << i;  // AdamW's steps divide by small gradients
    EXPECT_LE(few[i], full[i] + 1e-4) << i;
  }
  EXPECT_LT(few[0], full[0] - 1e-3);  // merging outcomes hides part of a divergence
}

class CachedTeacher : public ::testing::Test {
 protected:
  CachedTeacher() : data(sum_examples()) {
    models::Model teacher = trained_teacher();
    models::save(teacher, folder);
  }
  // The metrics of a run with the cache.
  std::string run(const std::string& name, const std::string& teacher, const Dataset& rows,
                  const std::function<void(DistillOptions&)>& change = {}) {
    models::Model student = tiny_model();
    DistillOptions options = distill_options(dir / name, 6);
    options.loss_top_k = 4;
    options.teacher_cache = cache;
    if (change) change(options);
    DistillTrainer(student, ModelOptions{.model = teacher}, rows, options).train();
    return dir / name;
  }
  std::string error(const std::string& teacher, const Dataset& rows,
                    const std::function<void(DistillOptions&)>& change = {}) {
    return error_of([&] { run("refused", teacher, rows, change); });
  }

  TempDir dir;
  const std::string folder = dir / "teacher", cache = dir / "cache";
  const SftDataset data;
};

TEST_F(CachedTeacher, IsNotNeededOnceItsCacheIsFull) {
  EXPECT_EQ(error("", data),
            "teacher_cache: " + cache + " holds no cache, and no teacher to make it is named (teacher)");
  run("first", folder, data);
  run("second", folder, data);
  expect_same_metrics(dir / "first", dir / "second");
  fs::rename(folder, dir / "elsewhere");
  run("third", "", data);
  expect_same_metrics(dir / "first", dir / "third");
  // The teacher in memory says the same, but for the rounding of its log-probabilities to f16 (5e-4 of them).
  models::Model student = tiny_model(), teacher = models::load(dir / "elsewhere");
  DistillOptions options = distill_options(dir / "live", 6);
  options.loss_top_k = 4;
  DistillTrainer(student, teacher, data, options).train();
  const auto live = read_metrics(dir / "live/metrics.jsonl"), cached = read_metrics(dir / "first/metrics.jsonl");
  for (size_t i = 0; i < live.size(); ++i)
    EXPECT_NEAR(metric(live[i], "divergence"), metric(cached[i], "divergence"), 2e-3) << i;
}

TEST_F(CachedTeacher, AnothersCacheIsRefused) {
  run("first", folder, data);
  const auto expect = [&](const std::string& message, const std::string& words) {
    EXPECT_NE(message.find("teacher_cache: " + cache + " is of " + words), std::string::npos) << message;
  };
  models::Model other = tiny_model({.layers = 3, .seed = 8});
  models::save(other, dir / "other");
  expect(error(dir / "other", data), "another teacher");
  std::vector<Row> rows = data.rows();
  rows.pop_back();
  expect(error(folder, SftDataset::from_rows(rows)), "other data");
  expect(error(folder, data, [](DistillOptions& o) { o.append_eos = false; }), "other data");
  expect(error(folder, data, [](DistillOptions& o) { o.loss_top_k = 5; }), "another loss_top_k: 4 there, 5 here");
  expect(error(folder, data, [](DistillOptions& o) { o.loss_temperature = 2; }), "another loss_temperature");
  write_file_atomically(cache + "/rows-00000.safetensors", "no safetensors");
  EXPECT_NE(error(folder, data).find("rows-00000.safetensors"), std::string::npos);
}

TEST_F(CachedTeacher, FillingGoesOnWhereItWasCutOff) {
  models::Model teacher = models::load(folder), student = tiny_model();
  std::vector<TokenizedExample> examples;
  for (const Row& row : data.rows()) examples.push_back(tokenize_example(row, student, 0, true, true));
  const TeacherCacheKey key{.top_k = 4, .teacher = "t", .vocabulary = "v", .data = "d"};
  constexpr int64_t kShardBytes = 200;  // a dozen tokens
  const auto open = [&](const std::string& name) { return TeacherCache(dir / name, key, examples, kShardBytes); };
  TeacherCache whole = open("whole");
  whole.fill(teacher, 16);
  EXPECT_GT(std::distance(fs::directory_iterator(dir / "whole"), fs::directory_iterator{}), 4);

  std::atomic<bool> stop = true;
  EXPECT_EQ(error_of([&] { open("cut").fill(teacher, 16, {.stop = &stop}); }), "interrupted");
  fs::copy_file(dir / "whole/rows-00001.safetensors", dir / "cut/rows-00001.safetensors");
  const auto written = fs::last_write_time(dir / "cut/rows-00001.safetensors");
  EXPECT_FALSE(open("cut").complete());
  open("cut").fill(teacher, 1000);  // results do not depend on micro-batches
  EXPECT_EQ(fs::last_write_time(dir / "cut/rows-00001.safetensors"), written);
  for (const auto& entry : fs::directory_iterator(dir / "whole"))
    EXPECT_EQ(read_file(entry.path()), read_file(dir / "cut/" + entry.path().filename().string())) << entry.path();

  // Rows in any order are what the teacher says of them, as probabilities.
  const TeacherCache cut = open("cut");
  const std::vector<int64_t> rows = {20, 3};
  const std::vector<const TokenizedExample*> batch = {&examples[20], &examples[3]};
  const TokenBatch packed = pack_examples(batch, Device::cpu());
  const auto top = top_logprobs_of(teacher, packed.batch, packed.places.rows, 4, 1);
  const auto kept = cut.of(rows, Device::cpu());
  EXPECT_EQ(top.ids.to_vector<int32_t>(), kept.ids.to_vector<int32_t>());
  const auto p = top.logprob.to_vector<float>(), q = kept.logprob.to_vector<float>();
  const auto tail = kept.tail.to_vector<float>();
  for (size_t i = 0; i < p.size(); ++i)
    EXPECT_NEAR(p[i], q[i], 2e-3 + std::abs(p[i]) * 1e-3) << i;  // f16 keeps 11 bits; then they are normalised
  for (size_t t = 0; t < tail.size(); ++t) {
    double sum = std::exp(tail[t]);
    for (size_t i = 0; i < 4; ++i) sum += std::exp(q[4 * t + i]);
    EXPECT_NEAR(sum, 1, 1e-6);
  }
}

std::shared_ptr<const text::Tokenizer> foreign_tokenizer() {
  const std::vector<std::string> special = {"<pad>", "<bos>", "<eos>"};
  const std::vector<std::string> words = {"is",    "what", "plus", "zero", "one",   "two",   "three", "four", "five",
                                          "seven", "six",  "nine", "yes",  "eight", "minus", "no",    "a",    "b"};
  return text::Tokenizer::from_json(
      text::word_level_tokenizer_json(special, words, "<pad>"), "foreign",
      text::tokenizer_config_json({.bos = "<bos>", .eos = "<eos>", .pad = "<pad>", .unk = ""}));
}

TEST(Distill, DifferentVocabulariesAreAnErrorThatSaysWhatToDo) {
  models::Model student = tiny_model(), teacher = tiny_model();
  teacher.set_tokenizer(foreign_tokenizer());
  const std::string message = error_of([&] { DistillTrainer(student, teacher, sum_examples(), {}); });
  EXPECT_NE(message.find("token 3 is 'is' to the teacher and 'zero' to the student"), std::string::npos) << message;
  EXPECT_NE(message.find("tenon sft"), std::string::npos) << message;
  models::ModelConfig config = student.config();
  config.vocab_size = 30;
  models::Model wide = models::create(config);
  wide.set_tokenizer(tiny_tokenizer());
  const std::string size = error_of([&] { check_same_vocabulary(student, wide); });
  EXPECT_NE(size.find("the teacher has 30 tokens, the student 24, of the same tokenizer"), std::string::npos) << size;
  EXPECT_NE(vocabulary_fingerprint(student), vocabulary_fingerprint(teacher));
  EXPECT_NE(vocabulary_fingerprint(student), vocabulary_fingerprint(wide));
}

TEST(Distill, AStudentLearnsTheSamplesOfAForeignTeacher) {
  TempDir dir;
  models::Model teacher = trained_teacher(foreign_tokenizer());
  std::vector<Row> prompts;
  for (const auto& [question, answer] : sums()) prompts.push_back(make_row(question, {{"answer", answer}}));
  sample_data(teacher, PromptDataset::from_rows(prompts),
              {.num_samples = 2,
               .temperature = 0.5,
               .max_new_tokens = 6,
               .correct = "contains:zero,one,two,three,four,"
                          "five,six,seven,eight",
               .output = dir / "samples.jsonl"});
  models::Model student = tiny_model();
  const auto samples = SftDataset::from_jsonl(dir / "samples.jsonl");
  EXPECT_GT(samples.size(), 10);
  SftTrainer(student, samples,
             {.train_batch_size = 25,
              .max_steps = 40,
              .learning_rate = 5e-3,
              .save_steps = 0,
              .output_dir = dir / "run",
              .tensorboard = false})
      .train();
  const auto lines = read_metrics(dir / "run/metrics.jsonl");
  EXPECT_LT(metric(lines.back(), "loss"), 0.3 * metric(lines.front(), "loss"));
}

}  // namespace
}  // namespace tenon::rl
