// Metrics of a run: a line of JSON a step in metrics.jsonl and scalars in a TensorBoard event file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "run_folder.h"

namespace tenon {
class JsonLinesWriter;
}

namespace tenon::rl {

/// Values of one step under TRL's names, in the order they are written. A non-finite value is written as null.
using Metrics = std::vector<std::pair<std::string, double>>;

/// Tables of one step, for metrics.jsonl alone: name and rows, such as the load of each expert of each layer.
using MetricTables = std::vector<std::pair<std::string, std::vector<std::vector<int64_t>>>>;

struct LoggedCompletion {
  std::string prompt, completion;
  std::vector<std::pair<std::string, double>> values;  // rewards by name, advantage, ...
};

class EventWriter;

class MetricsWriter {
 public:
  /// Opens the metrics of a run that goes on after `resume_step` (-1: a new run): later lines and a torn last one are
  /// dropped, and TensorBoard is told to forget later events. `tensorboard`: also write an event file.
  MetricsWriter(const RunFolder& folder, int64_t resume_step = -1, bool tensorboard = true);
  ~MetricsWriter();
  MetricsWriter(MetricsWriter&&) noexcept;
  MetricsWriter& operator=(MetricsWriter&&) noexcept;

  /// Empty tables are left out.
  void log(int64_t step, const Metrics& metrics, const MetricTables& tables = {});
  /// Writes completions/step_N.jsonl whole.
  void log_completions(int64_t step, const std::vector<LoggedCompletion>& completions);
  void flush();

 private:
  RunFolder folder_;
  std::unique_ptr<JsonLinesWriter> lines_;
  std::unique_ptr<EventWriter> events_;
};

/// One line of metrics.jsonl.
struct MetricsLine {
  int64_t step = 0;
  Metrics values;
};
/// Reads metrics.jsonl, without its tables; a torn last line is left out, any other malformed line is an Error with
/// file and line.
std::vector<MetricsLine> read_metrics(const std::string& path);

/// JSON text of a metrics line: {"step": 12, "loss": 0.5}.
std::string metrics_json(int64_t step, const Metrics& metrics, const MetricTables& tables = {});

}  // namespace tenon::rl
