// Progress of a run: a bar with the time left where the sink is a terminal, a line now and then where it is a pipe.
//
// The library prints nothing: text goes to the sink that the program gives (the binary `tenon` gives its standard
// error).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "metrics.h"

namespace tenon::rl {

using TextSink = std::function<void(std::string_view)>;

class Progress {
 public:
  Progress() = default;  // says nothing
  /// `terminal`: the sink understands carriage return. A line gets as many metrics as fit into `width` columns.
  Progress(TextSink sink, bool terminal, int width = 140);

  /// A phase of `total` steps of which `done` are finished already (a resumed run).
  void begin(std::string title, int64_t total, int64_t done = 0);
  /// `step` steps are finished. Of `metrics` the key ones are shown (reward, length, kl, loss, tokens/s, ...), of
  /// others the first few. In a pipe a line is written every `seconds_between_lines`.
  void update(int64_t step, const Metrics& metrics = {});
  void message(std::string_view line);  // a whole line, above the bar
  void end();

  double seconds_between_lines = 10;

 private:
  std::string line(int64_t step, const Metrics& metrics) const;

  TextSink sink_;
  bool terminal_ = false;
  int width_ = 140;
  std::string title_;
  int64_t total_ = 0, first_ = 0, last_ = 0;
  size_t shown_ = 0;  // columns of the bar on the screen
  bool active_ = false;
  std::chrono::steady_clock::time_point begun_, last_line_;
};

/// "1:02:03", "4:05", "12 s".
std::string duration_text(double seconds);

}  // namespace tenon::rl
