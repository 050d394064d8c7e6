#include "metrics.h"

#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "../runtime/check.h"
#include "../runtime/files.h"
#include "../runtime/json_lines.h"
#include "event_file.h"

namespace tenon::rl {
namespace {

using Json = nlohmann::ordered_json;

void add_values(Json& object, const Metrics& values) {
  for (const auto& [name, value] : values) {
    if (std::isfinite(value)) {
      object[name] = value;
    } else {
      object[name] = nullptr;
    }
  }
}

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

// A line without its newline is torn: the process was killed inside the write.
std::string whole_lines(std::string text) {
  const size_t end = text.rfind('\n');
  text.resize(end == std::string::npos ? 0 : end + 1);
  return text;
}

MetricsLine parse_line(const std::string& line, const std::string& where) {
  MetricsLine out;
  try {
    const Json object = Json::parse(line);
    out.step = object.at("step").get<int64_t>();
    for (const auto& [name, value] : object.items()) {
      if (name == "step" || value.is_array()) continue;
      out.values.emplace_back(name, value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN());
    }
  } catch (const Json::exception& e) {
    fail("{}: not a line of metrics: {}", where, e.what());
  }
  return out;
}

template <class F>
void for_lines(const std::string& text, F&& f) {
  int64_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    f(text.substr(at, end - at), ++number);
    at = end + 1;
  }
}

}  // namespace

std::string metrics_json(int64_t step, const Metrics& metrics, const MetricTables& tables) {
  Json object;
  object["step"] = step;
  add_values(object, metrics);
  for (const auto& [name, rows] : tables)
    if (!rows.empty()) object[name] = rows;
  return dump(object);
}

MetricsWriter::MetricsWriter(const RunFolder& folder, int64_t resume_step, bool tensorboard) : folder_(folder) {
  const std::string path = folder.metrics_file();
  std::string kept;
  if (resume_step >= 0 && std::filesystem::exists(path)) {
    for_lines(whole_lines(read_file(path)), [&](const std::string& line, int64_t number) {
      if (parse_line(line, path + ":" + std::to_string(number)).step <= resume_step) kept += line + "\n";
    });
  }
  write_file_atomically(path, kept);
  lines_ = std::make_unique<JsonLinesWriter>(path, true);
  if (tensorboard) events_ = std::make_unique<EventWriter>(folder.path(), resume_step >= 0 ? resume_step + 1 : 0);
}

MetricsWriter::~MetricsWriter() = default;
MetricsWriter::MetricsWriter(MetricsWriter&&) noexcept = default;
MetricsWriter& MetricsWriter::operator=(MetricsWriter&&) noexcept = default;

void MetricsWriter::log(int64_t step, const Metrics& metrics, const MetricTables& tables) {
  lines_->write(metrics_json(step, metrics, tables));
  if (events_) {
    events_->scalars(step, metrics);
    events_->flush();  // a reader may be watching, and a run may be killed
  }
}

void MetricsWriter::log_completions(int64_t step, const std::vector<LoggedCompletion>& completions) {
  std::string out;
  for (const LoggedCompletion& c : completions) {
    Json object;
    object["step"] = step;
    object["prompt"] = c.prompt;
    object["completion"] = c.completion;
    add_values(object, c.values);
    out += dump(object) + "\n";
  }
  write_file_atomically(folder_.completions_file(step), out);
}

void MetricsWriter::flush() {
  lines_->flush();
  if (events_) events_->flush();
}

std::vector<MetricsLine> read_metrics(const std::string& path) {
  std::vector<MetricsLine> out;
  for_lines(whole_lines(read_file(path)), [&](const std::string& line, int64_t number) {
    if (!line.empty()) out.push_back(parse_line(line, path + ":" + std::to_string(number)));
  });
  return out;
}

}  // namespace tenon::rl
