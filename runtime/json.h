// JSON values for the library's own files. Internal: public headers stay free of nlohmann-json.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace tenon {

using Json = nlohmann::json;

/// Throws Error "WHAT: not valid JSON at line L, column C: reason". Names given twice in one object are an Error too.
Json parse_json(std::string_view text, const std::string& what);

/// The file's content as JSON; errors name the path.
Json read_json(const std::string& path);

}  // namespace tenon
