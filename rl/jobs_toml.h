// Internal: a TOML table as a job's settings. Includes toml++.
#pragma once

#include "jobs.h"
#include "settings_toml.h"

namespace tenon::rl {

/// `table` is the settings file of a job, or a stage of a recipe; keys in `skip` are not the job's.
void apply_toml(Job& job, const toml::table& table, const std::string& where,
                const std::vector<std::string>& skip = {});

}  // namespace tenon::rl
