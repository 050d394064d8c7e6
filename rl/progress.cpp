#include "progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace tenon::rl {
namespace {

double since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

constexpr double kSecondsBetweenDraws = 0.05;  // of the bar: more than eyes follow only slows the work down

// What a reader watches, most telling first, and what it is called in a line.
constexpr std::pair<std::string_view, std::string_view> kWatched[] = {
    {"reward", "reward"},
    {"completions/mean_length", "length"},
    {"kl", "kl"},
    {"entropy", "entropy"},
    {"completions/clipped_ratio", "cut off"},
    {"loss", "loss"},
    {"rewards/accuracies", "accuracy"},  // of pairs, in DPO
    {"rewards/margins", "margin"},
    {"accuracy", "accuracy"},
    {"eval_loss", "eval_loss"},
    {"tokens_per_second", "tokens/s"},
    {"grad_norm", "grad_norm"},
    {"learning_rate", "learning_rate"},
};

std::string shown_number(double v) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, std::abs(v) >= 1000 ? "%.0f" : "%.3g", v);
  return buffer;
}

// Those that are watched; of metrics without any all.
Metrics watched(const Metrics& metrics) {
  Metrics out;
  for (const auto& [name, label] : kWatched)
    for (const auto& [n, value] : metrics)
      if (n == name) out.emplace_back(label, value);
  return out.empty() ? metrics : out;
}

}  // namespace

std::string duration_text(double seconds) {
  const int64_t s = std::max<int64_t>(0, std::llround(seconds));
  char buffer[64];
  if (s >= 3600) {
    std::snprintf(buffer, sizeof buffer, "%lld:%02lld:%02lld", static_cast<long long>(s / 3600),
                  static_cast<long long>(s / 60 % 60), static_cast<long long>(s % 60));
  } else if (s >= 60) {
    std::snprintf(buffer, sizeof buffer, "%lld:%02lld", static_cast<long long>(s / 60), static_cast<long long>(s % 60));
  } else {
    std::snprintf(buffer, sizeof buffer, "%lld s", static_cast<long long>(s));
  }
  return buffer;
}

Progress::Progress(TextSink sink, bool terminal, int width)
    : sink_(std::move(sink)), terminal_(terminal), width_(width) {}

void Progress::begin(std::string title, int64_t total, int64_t done) {
  if (active_) end();
  title_ = std::move(title);
  total_ = total;
  first_ = last_ = done;
  begun_ = std::chrono::steady_clock::now();
  last_line_ = terminal_ ? std::chrono::steady_clock::time_point{} : begun_;  // a bar is drawn at once
  shown_ = 0;
  active_ = true;
  if (sink_ && !terminal_) {
    sink_(title_ + ": " + std::to_string(total) + " steps" +
          (done > 0 ? ", going on after " + std::to_string(done) : "") + "\n");
  }
}

std::string Progress::line(int64_t step, const Metrics& metrics) const {
  std::string out = title_ + " ";
  if (terminal_) {
    constexpr int kCells = 24;
    const int full = total_ > 0 ? static_cast<int>(std::clamp<int64_t>(step * kCells / total_, 0, kCells)) : 0;
    out +=
        "[" + std::string(static_cast<size_t>(full), '#') + std::string(static_cast<size_t>(kCells - full), '.') + "] ";
  }
  out += std::to_string(step) + "/" + std::to_string(total_);
  const double elapsed = since(begun_);
  const int64_t made = step - first_;
  if (made > 0 && step < total_) {
    out += "  " + duration_text(elapsed / static_cast<double>(made) * static_cast<double>(total_ - step)) + " left";
  } else {
    out += "  " + duration_text(elapsed);
  }
  for (const auto& [name, value] : watched(metrics)) {
    std::string part = "  " + name + " " + shown_number(value);
    if (out.size() + part.size() >= static_cast<size_t>(width_)) break;
    out += part;
  }
  if (terminal_ && out.size() >= static_cast<size_t>(width_)) out.resize(static_cast<size_t>(std::max(1, width_ - 1)));
  return out;
}

void Progress::update(int64_t step, const Metrics& metrics) {
  if (!sink_ || !active_) return;
  last_ = step;
  if (terminal_) {
    if (step < total_ && since(last_line_) < kSecondsBetweenDraws) return;
    last_line_ = std::chrono::steady_clock::now();
    std::string text = line(step, metrics);
    const size_t columns = text.size();
    if (columns < shown_) text.append(shown_ - columns, ' ');
    shown_ = columns;
    sink_("\r" + text);
  } else if (step >= total_ || since(last_line_) >= seconds_between_lines) {
    last_line_ = std::chrono::steady_clock::now();
    sink_(line(step, metrics) + "\n");
  }
}

void Progress::message(std::string_view text) {
  if (!sink_) return;
  if (terminal_ && shown_ > 0) {
    sink_("\r" + std::string(shown_, ' ') + "\r");
    shown_ = 0;
  }
  sink_(std::string(text) + "\n");
}

void Progress::end() {
  if (!active_) return;
  active_ = false;
  if (sink_ && terminal_ && shown_ > 0) sink_("\n");
  shown_ = 0;
}

}  // namespace tenon::rl
