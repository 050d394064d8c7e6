#include "r1_recipe.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/nearest_name.h"
#include "jobs_toml.h"

namespace tenon::rl {
namespace {

constexpr int64_t kMostSeeds = 1000000;

class Reader {
 public:
  Reader(const RecipeOptions& options, Recipe& recipe) : options_(options), where_(options.path), recipe_(recipe) {}

  void read() {
    const std::string source = read_file(where_);
    toml::table file = parse_toml(source, where_);
    static const std::vector<std::string> kKnown{"title",  "output_dir", "seeds",   "seeds_from", "defaults", "stage",
                                                 "labels", "table",      "finding", "plot",       "samples"};
    for (const auto& [key, node] : file) {
      const std::string name(key.str());
      if (std::find(kKnown.begin(), kKnown.end(), name) != kKnown.end()) continue;
      const std::string nearest = nearest_name(name, kKnown);
      fail("{}: unknown key '{}' in a recipe{}", place_of(node, where_), name,
           nearest.empty() ? "" : "; the nearest known one is '" + nearest + "'");
    }
    recipe_.title = text(file, "title", "Recipe");
    recipe_.output_dir = options_.output_dir.empty() ? text(file, "output_dir", "") : options_.output_dir;
    check(!recipe_.output_dir.empty(), "{}: the recipe names no output_dir", where_);
    const std::vector<int64_t> seeds = options_.seeds.empty() ? seeds_of(file) : options_.seeds;
    for (size_t i = 0; i < seeds.size(); ++i) {
      check(seeds[i] >= 1 && seeds[i] <= kMostSeeds, "{}: seeds are numbers from 1 to {}, got {}", where_, kMostSeeds,
            seeds[i]);
      check(std::find(seeds.begin(), seeds.begin() + static_cast<std::ptrdiff_t>(i), seeds[i]) ==
                seeds.begin() + static_cast<std::ptrdiff_t>(i),
            "{}: seed {} is named twice", where_, seeds[i]);
    }
    seeds_from_ = text(file, "seeds_from", "");
    if (const toml::node* defaults = file.get("defaults")) {
      check(defaults->is_table(), "{}: [defaults] holds a table for each kind", place_of(*defaults, where_));
      for (const auto& [key, node] : *defaults->as_table()) {
        const auto& kinds = job_kinds();
        check(std::find(kinds.begin(), kinds.end(), key.str()) != kinds.end(),
              "{}: [defaults.{}] is for no kind of stage", place_of(node, where_), key.str());
        check(node.is_table(), "{}: defaults.{} must be a table", place_of(node, where_), key.str());
      }
    }
    for (const int64_t seed : seeds) {
      toml::table own = parse_toml(source, where_);  // its ${stage} become folders of this seed; a copy has no lines
      read_run(own, seed, seeds.size() == 1 && seed == 1);
    }
    for (const auto& [name, value] : options_.overrides) {
      check(used_.count(name) > 0, "--{}: the recipe has no stage '{}'", name, name.substr(0, name.find('.')));
    }
    read_labels(file);
    for (toml::table* t : tables(file, "table")) read_table(*t);
    for (toml::table* t : tables(file, "finding")) read_finding(*t);
    for (toml::table* t : tables(file, "plot")) read_plot(*t);
    read_samples(file);
  }

 private:
  // `seeds = 3` means seeds 1 to 3.
  std::vector<int64_t> seeds_of(const toml::table& file) const {
    const toml::node* node = file.get("seeds");
    if (!node) return {1};
    if (node->is_integer()) {
      const int64_t count = *node->value<int64_t>();
      check(count >= 1 && count <= kMostSeeds, "{}: seeds is a number of seeds or a list of them, got {}",
            place_of(*node, where_), count);
      return first_seeds(count);
    }
    std::vector<int64_t> out;
    check(node->is_array() && !node->as_array()->empty(), "{}: seeds is a number of seeds or a list of them",
          place_of(*node, where_));
    for (const toml::node& item : *node->as_array()) {
      check(item.is_integer(), "{}: seeds is a number of seeds or a list of them", place_of(item, where_));
      out.push_back(*item.value<int64_t>());
    }
    return out;
  }

  // Seed 1 alone stands in output_dir itself.
  void read_run(toml::table& file, int64_t seed, bool alone) {
    recipe_.runs.push_back({.seed = seed, .stages = {}});
    folder_ = alone ? recipe_.output_dir : recipe_.output_dir + "/seed-" + std::to_string(seed);
    shared_ = !seeds_from_.empty();
    defaults_ = file["defaults"].as_table();
    for (toml::table* stage : tables(file, "stage")) read_stage(*stage);
    check(!stages().empty(), "{}: the recipe has no stages ([[stage]])", where_);
    check(!shared_, "{}: seeds_from names '{}', which is no stage (there are {})", where_, seeds_from_, stage_names());
  }

  std::vector<Stage>& stages() { return recipe_.runs.back().stages; }
  const std::vector<Stage>& stages() const { return recipe_.runs.back().stages; }

  std::string text(const toml::table& t, const char* key, const char* otherwise) const {
    const toml::node* node = t.get(key);
    if (!node) {
      check(otherwise != nullptr, "{}: no '{}' here", place_of(t, where_), key);
      return otherwise;
    }
    check(node->is_string(), "{}: '{}' must be a string", place_of(*node, where_), key);
    return *node->value<std::string>();
  }

  std::vector<std::string> texts(const toml::table& t, const char* key) const {
    std::vector<std::string> out;
    const toml::node* node = t.get(key);
    if (!node) return out;
    check(node->is_array(), "{}: '{}' must be a list of strings", place_of(*node, where_), key);
    for (const toml::node& item : *node->as_array()) {
      check(item.is_string(), "{}: '{}' must be a list of strings", place_of(item, where_), key);
      out.push_back(*item.value<std::string>());
    }
    return out;
  }

  std::vector<toml::table*> tables(toml::table& file, const char* key) const {
    std::vector<toml::table*> out;
    toml::node* node = file.get(key);
    if (!node) return out;
    check(node->is_array(), "{}: write [[{}]]", place_of(*node, where_), key);
    for (toml::node& item : *node->as_array()) {
      check(item.is_table(), "{}: write [[{}]]", place_of(item, where_), key);
      out.push_back(item.as_table());
    }
    return out;
  }

  const Stage* find_stage(std::string_view name) const {
    for (const Stage& s : stages()) {
      if (s.name == name) return &s;
    }
    return nullptr;
  }

  std::string stage_names() const {
    std::string out;
    for (const Stage& s : stages()) out += (out.empty() ? "" : ", ") + s.name;
    return out.empty() ? "none" : out;
  }

  // ${stage} in any string of the stage's settings.
  void expand(toml::node& node) const {
    if (auto* t = node.as_table()) {
      for (auto&& [key, value] : *t) expand(value);
    } else if (auto* a = node.as_array()) {
      for (toml::node& value : *a) expand(value);
    } else if (auto* s = node.as_string()) {
      std::string& value = s->get();
      for (size_t at = value.find("${"); at != std::string::npos; at = value.find("${", at)) {
        const size_t end = value.find('}', at);
        check(end != std::string::npos, "{}: '${{' without '}}' in '{}'", place_of(node, where_), value);
        const std::string name = value.substr(at + 2, end - at - 2);
        const Stage* stage = find_stage(name);
        check(stage != nullptr, "{}: '${{{}}}' is no earlier stage (there are {})", place_of(node, where_), name,
              stage_names());
        value.replace(at, end + 1 - at, stage->folder);
        at += stage->folder.size();
      }
    }
  }

  void read_stage(toml::table& table) {
    const std::string name = text(table, "name", nullptr), kind = text(table, "kind", nullptr);
    check(!name.empty() && name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
                               std::string::npos,
          "{}: a stage's name is made of letters, digits, - and _, got '{}'", place_of(table, where_), name);
    const std::vector<std::string> models = texts(table, "models");
    if (table.contains("models")) {
      check(kind == "eval", "{}: only eval stages have 'models'", place_of(*table.get("models"), where_));
      check(!table.contains("model"), "{}: a stage has 'model' or 'models'", place_of(table, where_));
      check(!models.empty(), "{}: 'models' is empty", place_of(*table.get("models"), where_));
    }
    expand(table);
    if (name == seeds_from_) shared_ = false;
    if (models.empty()) {
      add_stage(table, name, name, kind, "");
      return;
    }
    for (const std::string& model : models) {
      check(find_stage(model) != nullptr, "{}: '{}' is no earlier stage (there are {})",
            place_of(*table.get("models"), where_), model, stage_names());
      add_stage(table, name + "-" + model, name, kind, model);
    }
  }

  void add_stage(toml::table& table, const std::string& name, const std::string& group, const std::string& kind,
                 const std::string& model) {
    check(!find_stage(name), "{}: two stages are called '{}'", place_of(table, where_), name);
    Stage stage;
    stage.name = name;
    stage.group = group;
    stage.model = model;
    stage.shared = shared_;
    stage.folder = (shared_ ? recipe_.output_dir : folder_) + "/" + name;
    try {
      stage.job = make_job(kind);
    } catch (const Error& e) {
      fail("{}: {}", place_of(table, where_), e.what());
    }
    if (toml::node* defaults = defaults_ ? defaults_->get(kind) : nullptr) {
      expand(*defaults);
      apply_toml(*stage.job, *defaults->as_table(), where_);
    }
    apply_toml(*stage.job, table, where_, {"name", "kind", "models"});
    for (const auto& [setting, value] : options_.overrides) {
      const size_t dot = setting.find('.');
      const std::string of = setting.substr(0, dot);
      if (dot == std::string::npos || (of != name && of != group)) continue;
      stage.job->settings().set(setting.substr(dot + 1), value, "--" + setting);
      used_.insert(setting);
    }
    if (!model.empty()) stage.job->settings().set("model", find_stage(model)->folder + "/model", where_);
    stage.job->set_output_dir(stage.folder);
    if (!shared_) shift_seed(stage.job->settings(), recipe_.runs.back().seed);
    try {
      stage.job->settings().validate();
    } catch (const Error& e) {
      fail("{}: stage '{}': {}", where_, name, e.what());
    }
    stages().push_back(std::move(stage));
  }

  // Seed 1 is the recipe as it is written. Stages of a recipe have seeds of their own, small numbers mostly, which a
  // step of a thousand keeps apart.
  static void shift_seed(Settings& settings, int64_t seed) {
    for (const SettingField& field : settings.fields()) {
      if (field.name != "seed") continue;
      auto* const* value = std::get_if<uint64_t*>(&field.target);
      check(value != nullptr, "{} is no seed: it is {}", field.full_name(), field.type());
      **value += 1000 * static_cast<uint64_t>(seed - 1);
    }
  }

  void read_labels(const toml::table& file) {
    const toml::node* labels = file.get("labels");
    if (!labels) return;
    check(labels->is_table(), "{}: [labels] is a table", place_of(*labels, where_));
    for (const auto& [key, node] : *labels->as_table()) {
      check(node.is_string(), "{}: a label must be a string", place_of(node, where_));
      check(find_stage(key.str()) != nullptr, "{}: '{}' is no stage", place_of(node, where_), key.str());
      recipe_.labels.emplace_back(std::string(key.str()), *node.value<std::string>());
    }
  }

  void read_table(const toml::table& t) {
    known(t, {"title", "eval", "columns"});
    RecipeTable table{text(t, "title", ""), text(t, "eval", nullptr), texts(t, "columns")};
    check(is_group(table.eval), "{}: '{}' is no stage (there are {})", place_of(t, where_), table.eval, stage_names());
    check(!table.columns.empty(), "{}: the table has no columns", place_of(t, where_));
    recipe_.tables.push_back(std::move(table));
  }

  void read_finding(const toml::table& t) {
    known(t, {"text", "higher", "lower"});
    RecipeFinding f{text(t, "text", nullptr), text(t, "higher", nullptr), text(t, "lower", nullptr),
                    place_of(t, where_)};
    for (const std::string& reference : {f.higher, f.lower}) {
      const size_t colon = reference.find(':');
      check(colon != std::string::npos, "{}: '{}' must be stage:figure", f.place, reference);
      check(find_stage(reference.substr(0, colon)) != nullptr, "{}: '{}' is no stage (there are {})", f.place,
            reference.substr(0, colon), stage_names());
    }
    recipe_.findings.push_back(std::move(f));
  }

  void read_plot(const toml::table& t) {
    known(t, {"title", "metric", "unit", "note", "x", "stages", "eval"});
    RecipePlot p{.title = text(t, "title", nullptr),
                 .metric = text(t, "metric", ""),
                 .unit = text(t, "unit", ""),
                 .note = text(t, "note", ""),
                 .x = text(t, "x", "step"),
                 .stages = texts(t, "stages"),
                 .eval = text(t, "eval", "")};
    check(p.metric.empty() != p.eval.empty(), "{}: a plot is of a metric or of evaluations (eval = \"stage:figure\")",
          place_of(t, where_));
    check(p.eval.empty() || p.x != "step", "{}: a plot of evaluations needs an x, such as \"num_tokens\"",
          place_of(t, where_));
    check(p.eval.empty() || is_group(p.eval.substr(0, p.eval.find(':'))), "{}: '{}' must be stage:figure",
          place_of(t, where_), p.eval);
    check(p.eval.empty() || !p.stages.empty(), "{}: a plot of evaluations names its stages", place_of(t, where_));
    need_stages(t, p.stages);
    recipe_.plots.push_back(std::move(p));
  }

  void read_samples(const toml::table& file) {
    const toml::node* node = file.get("samples");
    if (!node) return;
    check(node->is_table(), "{}: [samples] is a table", place_of(*node, where_));
    const toml::table& t = *node->as_table();
    known(t, {"eval", "models", "questions"});
    RecipeSamples s{.eval = text(t, "eval", nullptr), .models = texts(t, "models")};
    check(is_group(s.eval), "{}: '{}' is no stage (there are {})", place_of(t, where_), s.eval, stage_names());
    need_stages(t, s.models);
    if (const toml::node* questions = t.get("questions")) {
      check(questions->is_integer() && *questions->value<int64_t>() > 0, "{}: 'questions' is a positive number",
            place_of(*questions, where_));
      s.questions = *questions->value<int64_t>();
    }
    recipe_.samples = std::move(s);
  }

  bool is_group(const std::string& name) const {
    return std::any_of(stages().begin(), stages().end(), [&](const Stage& s) { return s.group == name; });
  }

  void need_stages(const toml::table& t, const std::vector<std::string>& names) const {
    for (const std::string& name : names)
      check(find_stage(name) != nullptr, "{}: '{}' is no stage (there are {})", place_of(t, where_), name,
            stage_names());
  }

  void known(const toml::table& t, const std::vector<std::string>& names) const {
    for (const auto& [key, node] : t) {
      check(std::find(names.begin(), names.end(), key.str()) != names.end(), "{}: unknown key '{}'",
            place_of(node, where_), key.str());
    }
  }

  const RecipeOptions& options_;
  const std::string& where_;
  Recipe& recipe_;
  std::string seeds_from_, folder_;  // of the run under way
  bool shared_ = false;
  toml::table* defaults_ = nullptr;
  std::set<std::string> used_;  // overrides that found their stage
};

}  // namespace

std::vector<int64_t> first_seeds(int64_t count) {
  check(count >= 1 && count <= kMostSeeds, "seeds: a number from 1 to {} is needed, got {}", kMostSeeds, count);
  std::vector<int64_t> out(static_cast<size_t>(count));
  std::iota(out.begin(), out.end(), int64_t{1});
  return out;
}

const std::string& Recipe::label(const std::string& model) const {
  for (const auto& [name, text] : labels) {
    if (name == model) return text;
  }
  return model;
}

Recipe read_recipe(const RecipeOptions& options) {
  Recipe recipe;
  Reader(options, recipe).read();
  return recipe;
}

}  // namespace tenon::rl
