#include <charconv>
#include <cstdlib>
#include <string_view>

#include "../runtime/check.h"
#include "bench.h"

namespace tenon::bench {
namespace {

int64_t number(std::string_view text, std::string_view option) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  check(error == std::errc() && end == text.data() + text.size() && value >= 0, "{}: '{}' is not a whole number",
        option, text);
  return value;
}

}  // namespace

Settings parse_settings(int argc, char** argv) {
  Settings s;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto value = [&]() -> std::string_view {
      check(i + 1 < argc, "{} needs a value", argument);
      return argv[++i];
    };
    if (argument == "--shape") {
      std::string_view rest = value();
      for (bool more = true; more;) {
        const size_t cross = rest.find('x');
        s.shape.push_back(number(rest.substr(0, cross), "--shape"));
        more = cross != std::string_view::npos;
        rest = more ? rest.substr(cross + 1) : std::string_view();
      }
    } else if (argument == "--dtype") {
      s.dtypes = {dtype_from_name(value())};
    } else if (argument == "--threads") {
      s.threads = static_cast<int>(number(value(), argument));
    } else if (argument == "--runs") {
      s.runs = static_cast<int>(number(value(), argument));
      check(s.runs > 0, "--runs must be at least 1");
    } else if (argument == "--device") {
      s.device = Device::from_name(std::string(value()));
    } else if (argument == "--output") {
      s.output = value();
    } else if (argument == "--budget") {
      s.budget = static_cast<double>(number(value(), argument));
    } else if (argument == "--model") {
      s.model = value();
    } else if (argument == "--batch") {
      s.batch = number(value(), argument);
    } else if (argument == "--beta") {
      const std::string text(value());
      char* end = nullptr;
      s.beta = std::strtod(text.c_str(), &end);
      check(!text.empty() && *end == 0 && s.beta >= 0, "--beta: '{}' is not a number of 0 or more", text);
    } else if (argument == "--forward") {
      s.backward = false;
    } else if (argument == "--backward") {
      s.forward = false;
    } else if (argument == "--json") {
      s.json = true;
    } else if (argument == "--help" || argument == "-h") {
      s.name = "help";
    } else {
      check(!argument.starts_with("-"), "unknown option {}; --help lists them", argument);
      if (s.name == "table") {
        s.files.emplace_back(argument);
        continue;
      }
      check(s.name.empty(), "one name at a time, got {} and {}", s.name, argument);
      s.name = argument;
    }
  }
  return s;
}

}  // namespace tenon::bench
