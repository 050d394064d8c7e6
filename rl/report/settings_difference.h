// Internal: the settings in which runs differ, from their settings.toml.
#pragma once

#include <string>
#include <vector>

namespace tenon::rl {

struct SettingDifference {
  std::string name;                 // section.name
  std::vector<std::string> values;  // as TOML, one a text; empty where it has none such
};

/// Of texts as Settings::to_toml writes them: a setting a line, its comment after it. In order of their appearance, and
/// only those that two or more of the texts have: runs of different kinds have most of their settings to themselves.
std::vector<SettingDifference> differing_settings(const std::vector<std::string>& texts);

}  // namespace tenon::rl
