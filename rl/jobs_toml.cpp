#include "jobs_toml.h"

#include <sstream>

#include "../runtime/check.h"
#include "../runtime/files.h"

namespace tenon::rl {

void apply_toml(Job& job, const toml::table& table, const std::string& where, const std::vector<std::string>& skip) {
  std::vector<std::string> not_settings = skip;
  if (const toml::node* config = table.get("model_config")) {
    check(config->is_table(), "{}: model_config must be a table with the keys of a config.json",
          place_of(*config, where));
    check(job.kind() == "pretrain", "{}: [model_config] makes a new model; only pretrain does that",
          place_of(*config, where));
    std::ostringstream json;
    json << toml::json_formatter{*config->as_table()};
    job.set_model_config(json.str());
    not_settings.push_back("model_config");
  }
  apply_toml(job.settings(), table, where, not_settings);
}

void Job::read_toml(const std::string& path) { apply_toml(*this, parse_toml(read_file(path), path), path); }

}  // namespace tenon::rl
