// Recipes: what is read and refused, overrides, and the verdicts on findings.
#include "../../rl/r1.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "../../rl/r1_recipe.h"
#include "../../runtime/error.h"
#include "../paths.h"
#include "../temp_dir.h"

namespace tenon::rl {
namespace {

class RecipeFile : public ::testing::Test {
 protected:
  std::string write(const std::string& text) {
    testing::write_text(dir / "recipe.toml", text);
    return dir / "recipe.toml";
  }
  std::string error(const std::string& text, std::vector<std::pair<std::string, std::string>> overrides = {}) {
    try {
      read_recipe({.path = write(text), .output_dir = "", .overrides = std::move(overrides)});
    } catch (const Error& e) {
      const std::string what = e.what(), prefix = dir.path() + "/";
      return what.rfind(prefix, 0) == 0 ? what.substr(prefix.size()) : what;
    }
    return "no error";
  }
  testing::TempDir dir;
};

const std::string kHead = "output_dir = 'out'\n";
const std::string kTask = "[[stage]]\nname = 'task'\nkind = 'countdown'\ndocuments = 10\n";

TEST_F(RecipeFile, StagesSettingsAndReferences) {
  const Recipe r = read_recipe(
      {.path = write(
           kHead + "[defaults.eval]\nnum_samples = 8\n" + kTask +
           "[[stage]]\nname = 'base'\nkind = 'pretrain'\ntokenizer = '${task}'\ndata.path = '${task}/corpus.jsonl'\n"
           "[stage.model_config]\nhidden_size = 8\n"
           "[[stage]]\nname = 'eval'\nkind = 'eval'\nmodels = ['base']\ndata.path = '${task}/held_out.jsonl'\n"
           "[labels]\nbase = 'Base'\n"
           "[[table]]\neval = 'eval'\ncolumns = ['pass@1']\n"
           "[[finding]]\ntext = 't'\nhigher = 'eval-base:pass@1'\nlower = 'eval-base:cons@8'\n"),
       .output_dir = "",
       .overrides = {{"eval.temperature", "0.25"}, {"base.seed", "9"}}});
  ASSERT_EQ(r.stages().size(), 3u);
  EXPECT_EQ(r.stages()[2].name, "eval-base");
  EXPECT_EQ(r.label("base"), "Base");
  const std::string eval = r.stages()[2].job->settings().to_toml();
  EXPECT_NE(eval.find("model = \"out/base/model\""), std::string::npos) << eval;
  EXPECT_NE(eval.find("path = [\"out/task/held_out.jsonl\"]"), std::string::npos);
  EXPECT_NE(eval.find("num_samples = 8"), std::string::npos) << "a default of the kind";
  EXPECT_NE(eval.find("temperature = 0.25"), std::string::npos) << "an override";
  EXPECT_NE(eval.find("output_dir = \"out/eval-base\""), std::string::npos);
  EXPECT_NE(r.stages()[1].job->settings().to_toml().find("seed = 9"), std::string::npos);
}

TEST_F(RecipeFile, MistakesNameTheirLine) {
  EXPECT_EQ(error("stages = 1\n" + kHead),
            "recipe.toml:1: unknown key 'stages' in a recipe; the nearest known one is 'stage'");
  EXPECT_EQ(error(kTask), "recipe.toml: the recipe names no output_dir");
  EXPECT_EQ(error(kHead), "recipe.toml: the recipe has no stages ([[stage]])");
  EXPECT_EQ(
      error(kHead + "[[stage]]\nname = 'a'\nkind = 'pertrain'\n").rfind("recipe.toml:2: unknown kind 'pertrain'", 0),
      0u);
  EXPECT_EQ(error(kHead + kTask + "document = 3\n"),
            "recipe.toml:6: unknown setting 'document'; the nearest known one is 'documents'");
  EXPECT_EQ(error(kHead + kTask + kTask), "recipe.toml:6: two stages are called 'task'");
  EXPECT_EQ(error(kHead + kTask + "[[stage]]\nname = 'x'\nkind = 'eval'\ndata.path = '${tusk}/a'\n"),
            "recipe.toml:9: '${tusk}' is no earlier stage (there are task)");
  EXPECT_EQ(error(kHead + kTask + "[[stage]]\nname = 'x'\nkind = 'eval'\nmodels = ['y']\n"),
            "recipe.toml:9: 'y' is no earlier stage (there are task)");
  EXPECT_NE(error(kHead + "[[stage]]\nname = 'task'\nkind = 'countdown'\nslip = 7.0\n")
                .find("stage 'task': slip is a probability"),
            std::string::npos);
  EXPECT_NE(error(kHead + kTask + "[[finding]]\ntext = 't'\nhigher = 'eval:a'\nlower = 'eval:b'\n")
                .find("'eval' is no stage"),
            std::string::npos);
  EXPECT_EQ(error(kHead + kTask, {{"tsk.documents", "3"}}), "--tsk.documents: the recipe has no stage 'tsk'");
  EXPECT_EQ(error(kHead + kTask, {{"task.documents", "many"}}),
            "--task.documents: setting 'countdown.documents' is an integer, got 'many'");
}

TEST_F(RecipeFile, TheMiniatureReads) {
  const std::string path = testing::source_dir() + "/rl/recipes/r1-miniature.toml";
  const Recipe r = read_recipe({.path = path, .output_dir = dir.path(), .overrides = {}});
  EXPECT_GT(r.stages().size(), 20u);
  EXPECT_GE(r.tables.size(), 2u);
  EXPECT_GE(r.findings.size(), 6u);
}

TEST_F(RecipeFile, AStageWhoseResultIsThereIsSkipped) {
  const RecipeOptions options{.path = write(kHead + kTask + "train_prompts = 5\nheld_out_prompts = 5\n"),
                              .output_dir = dir / "run",
                              .overrides = {}};
  std::string said;
  Progress progress([&](std::string_view text) { said += text; }, false);
  RunControl control;
  control.progress = &progress;
  run_recipe(options, control);
  EXPECT_NE(said.find("stage 1/1 task (countdown)"), std::string::npos) << said;
  const auto written = std::filesystem::last_write_time(dir / "run/task/corpus.jsonl");
  said.clear();
  run_recipe(options, control);
  EXPECT_NE(said.find("stage 1/1 task: done before"), std::string::npos) << said;
  EXPECT_EQ(said.find("other settings"), std::string::npos) << said;
  EXPECT_EQ(std::filesystem::last_write_time(dir / "run/task/corpus.jsonl"), written);
  RecipeOptions changed = options;
  changed.overrides = {{"task.documents", "11"}};
  run_recipe(changed, control);
  EXPECT_NE(said.find("with other settings"), std::string::npos) << said;
  EXPECT_TRUE(std::filesystem::exists(dir / "run/results.json"));
  EXPECT_TRUE(std::filesystem::exists(dir / "run/report.html"));
}

}  // namespace
}  // namespace tenon::rl
