// The library prints nothing: what it has to say goes to a sink that the program sets. Without one it is dropped.
#pragma once

#include <functional>
#include <string_view>

namespace tenon {

enum class LogLevel { debug, info, warning };
using LogSink = std::function<void(LogLevel, std::string_view)>;

/// Replaces the sink; an empty one drops everything. The sink may be called from any thread, one call at a time.
void set_log_sink(LogSink sink);
void log(LogLevel level, std::string_view text);

}  // namespace tenon
