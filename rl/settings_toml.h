// Internal: TOML tables into Settings. Includes toml++, so only .cpp files include this.
#pragma once

#define TOML_ENABLE_WINDOWS_COMPAT 0
#include <toml++/toml.h>

#include <string>

#include "settings.h"

namespace tenon::rl {

/// Parses a TOML document; Error with file:line:column and the parser's description.
toml::table parse_toml(std::string_view text, const std::string& where);

/// Sets what `table` holds. `skip`: keys at its top that are not for these settings.
void apply_toml(Settings& settings, const toml::table& table, const std::string& where,
                const std::vector<std::string>& skip = {});

/// file:line of a node.
std::string place_of(const toml::node& node, const std::string& where);

}  // namespace tenon::rl
