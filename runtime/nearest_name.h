// The name that someone meant: for errors about a name that is not known.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tenon {

/// Levenshtein's distance.
size_t edit_distance(std::string_view a, std::string_view b);

/// The name among `known` closest to `name` by edit distance, empty when none is near.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace tenon
