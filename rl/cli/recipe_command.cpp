// tenon r1 RECIPE.toml [--output_dir DIR] [--seeds N] [--STAGE.SETTING value ...]
#include <memory>

#include "../r1.h"
#include "console.h"

namespace tenon::cli {
namespace {

std::vector<std::pair<std::string, std::string>> overrides_from(const std::vector<std::string>& words) {
  std::vector<std::pair<std::string, std::string>> out;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.rfind("--", 0) != 0 || word.find('.') == std::string::npos) {
      throw UsageError("r1: what is '" + word + "'? Settings of a stage are given as --STAGE.SETTING value");
    }
    const size_t equals = word.find('=');
    if (equals != std::string::npos) {
      out.emplace_back(word.substr(2, equals - 2), word.substr(equals + 1));
    } else if (i + 1 < words.size()) {
      out.emplace_back(word.substr(2), words[i + 1]);
      ++i;
    } else {
      throw UsageError("r1: " + word + " needs a value");
    }
  }
  return out;
}

}  // namespace

void add_recipe_command(CLI::App& app) {
  auto options = std::make_shared<rl::RecipeOptions>();
  CLI::App* command =
      app.add_subcommand("r1", "run the stages of a recipe in order, going on where an earlier run ended");
  command->add_option("recipe", options->path, "the recipe, for example rl/recipes/r1-miniature.toml")->required();
  command->add_option("--output_dir,--output-dir", options->output_dir, "folder of the run, instead of the recipe's");
  command
      ->add_option("--seeds", options->seeds,
                   "run the chain once for each of so many seeds; or a list, as in 4,5,6; instead of the recipe's")
      ->delimiter(',');
  command->allow_extras();
  command->footer("Settings of a stage can be given as --STAGE.SETTING value.");
  command->callback([options, command] {
    if (options->seeds.size() == 1) options->seeds = rl::first_seeds(options->seeds[0]);
    options->overrides = overrides_from(command->remaining());
    catch_signals();
    rl::Progress progress = console_progress();
    rl::RunControl control;
    control.stop = &stop_requested;
    control.progress = &progress;
    print(rl::run_recipe(*options, control).text);
  });
}

}  // namespace tenon::cli
