#include "table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "../runtime/error.h"
#include "../runtime/files.h"
#include "../runtime/json.h"
#include "bench.h"

namespace tenon::bench {
namespace {

using Line = nlohmann::ordered_json;

std::string text_of(const Line& line, const char* key) { return line.value(key, std::string()); }

std::vector<Line> parse_lines(std::string_view text, const std::string& where) {
  std::vector<Line> lines;
  for (size_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view one = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (one.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Line line = Line::parse(one, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object()) throw Error(fmt::format("{}: line {} is not a JSON object", where, number));
    lines.push_back(std::move(line));
  }
  return lines;
}

// Four digits, which is more than measurements repeat to.
std::string digits(double x) { return x >= 1000 ? fmt::format("{:.0f}", x) : fmt::format("{:.4g}", x); }

std::string rate_of(const Line& line) {
  std::string out;
  const auto add = [&](const std::string& rate) { out += (out.empty() ? "" : ", ") + rate; };
  if (line.contains("tokens_s")) add(digits(line["tokens_s"].get<double>()) + " tokens/s");
  const bool products = text_of(line, "limit") == "products";
  if (line.contains("gflops") && (products || !line.contains("gbs"))) {
    const double gflops = line["gflops"].get<double>();
    add(gflops >= 1000 ? digits(gflops * 1e-3) + " TFLOP/s" : digits(gflops) + " GFLOP/s");
  } else if (line.contains("gbs")) {
    add(digits(line["gbs"].get<double>()) + " GB/s");
  }
  return out;
}

std::string share_of(const Line& line) {
  std::string out;
  if (line.contains("share")) out = fmt::format("{:.0f} %", 100 * line["share"].get<double>());
  if (line.contains("mfu")) out += fmt::format(", {:.1f} % MFU", 100 * line["mfu"].get<double>());
  return out;
}

std::string cell(std::string text) {
  for (char& c : text)
    if (c == '|' || c == '\n') c = ' ';
  return text;
}

std::string row(const std::vector<std::string>& cells) {
  std::string out = "|";
  for (const std::string& c : cells) out += " " + cell(c) + " |";
  return out + "\n";
}

std::string header(const std::vector<std::string>& names) {
  std::string rule = "|";
  for (size_t i = 0; i < names.size(); ++i) rule += "---|";
  return row(names) + rule + "\n";
}

std::string limits_text(const Line& line) {
  std::string out = fmt::format("Device: {}.", line.value("device", std::string("cpu")));
  out += " Memory:";
  if (line.value("read_gbs", 0.0) > 0) out += fmt::format(" read {} GB/s,", digits(line["read_gbs"]));
  out += fmt::format(" update {} GB/s, copy {} GB/s. Products: f32 {} GFLOP/s, bf16 {} GFLOP/s",
                     digits(line["update_gbs"]), digits(line["copy_gbs"]), digits(line["f32_gflops"]),
                     digits(line["bf16_gflops"]));
  if (line.contains("peak_gflops")) out += fmt::format(" of the vendor's {}", digits(line["peak_gflops"]));
  return out + ".\n";
}

// A part of the page, with its heading where it has anything.
struct Section {
  std::string heading, head, rows;

  std::string text() const {
    if (rows.empty()) return {};
    return (heading.empty() ? "\n" : "\n## " + heading + "\n\n") + head + rows;
  }
};

}  // namespace

std::string markdown_of(std::string_view json_lines, const std::string& where) {
  std::string limits;
  Section measured{"", header({"op", "dtype", "shape", "ms", "rate", "limit", "share", "aim", "met"}), ""};
  Section parts{"Parts", header({"work", "shape", "milliseconds"}), ""};
  Section peers{"Peers on the same machine", header({"work", "peer", "dtype", "shape", "ms", "rate"}), ""};
  Section stages{"Stages", header({"stage", "result", "seconds"}), ""};
  Section missing{"Not measured", header({"work", "why"}), ""};
  std::vector<std::pair<std::string, std::string>> reasons;  // with all that has it
  int aims = 0, met = 0;
  for (const Line& line : parse_lines(json_lines, where)) {
    const std::string what = text_of(line, "what");
    if (what == "limits") {
      limits += limits_text(line);
    } else if (what == "stage") {
      stages.rows += row({text_of(line, "name"), text_of(line, "result"), digits(line.value("seconds", 0.0))});
    } else if (line.contains("error")) {
      const std::string why = text_of(line, "error");
      const auto known = std::ranges::find(reasons, why, &std::pair<std::string, std::string>::first);
      if (known == reasons.end())
        reasons.emplace_back(why, what);
      else
        known->second += ", " + what;
    } else if (line.contains("median_ms")) {
      const std::string ms = digits(line["median_ms"].get<double>()), shape = text_of(line, "shape");
      if (line.value("peer", std::string("tenon")) != "tenon") {
        peers.rows += row({what, text_of(line, "peer"), text_of(line, "dtype"), shape, ms, rate_of(line)});
        continue;
      }
      const bool has_aim = line.contains("aim"), is_met = line.value("met", false);
      aims += has_aim;
      met += is_met;
      measured.rows += row({what, text_of(line, "dtype"), shape, ms, rate_of(line), text_of(line, "limit"),
                            share_of(line), text_of(line, "aim"),
                            !has_aim ? ""
                            : is_met ? "yes"
                                     : "no"});
      if (line.contains("parts_ms")) {
        std::string list;
        for (const auto& [part, part_ms] : line["parts_ms"].items())
          list += fmt::format("{}{} {}", list.empty() ? "" : ", ", part, digits(part_ms.get<double>()));
        parts.rows += row({what, shape, list});
      }
    }
  }
  for (const auto& [why, what] : reasons) missing.rows += row({what, why});
  if (aims > 0) limits += fmt::format("\n{} of {} aims are met.\n", met, aims);
  return limits + measured.text() + parts.text() + peers.text() + stages.text() + missing.text();
}

void print_table(const Settings& settings) {
  if (settings.files.empty()) throw Error("table: which files of JSON lines?");
  std::string lines, names;
  for (const std::string& file : settings.files) {
    lines += read_file(file);
    if (!lines.empty() && lines.back() != '\n') lines += '\n';
    names += (names.empty() ? "" : ", ") + file;
  }
  fmt::print("{}", markdown_of(lines, names));
}

}  // namespace tenon::bench
