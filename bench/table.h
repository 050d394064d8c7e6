// From the JSON lines of a run (report in bench.h; stages of ./dev gpu; peers' lines) to a page in Markdown.
#pragma once

#include <string>
#include <string_view>

namespace tenon::bench {

/// Limits, a table of Tenon's measurements (op, dtype, shape, ms, rate, limit, share, aim, met), of the parts that
/// some consist of, of peers on the same machine, of stages, and what was not measured; those that there are. Lines of
/// any other kind and empty ones are passed over. Throws Error that names `where` and the line for one that is not
/// JSON.
std::string markdown_of(std::string_view json_lines, const std::string& where);

}  // namespace tenon::bench
