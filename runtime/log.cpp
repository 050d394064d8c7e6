#include "log.h"

#include <memory>
#include <mutex>
#include <utility>

namespace tenon {
namespace {

std::mutex sink_mutex;
LogSink& current_sink() {
  static LogSink sink;
  return sink;
}

}  // namespace

void set_log_sink(LogSink sink) {
  std::lock_guard lock(sink_mutex);
  current_sink() = std::move(sink);
}

void log(LogLevel level, std::string_view text) {
  std::lock_guard lock(sink_mutex);
  if (const LogSink& sink = current_sink()) sink(level, text);
}

}  // namespace tenon
