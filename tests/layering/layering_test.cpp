// The layering of the tree, read from its sources: a floor includes only floors below it, public headers need nothing
// but the standard library, and library code neither prints nor ends the process.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "../paths.h"

namespace fs = std::filesystem;

namespace tenon {
namespace {

const std::array<std::string, 5> kFloors = {"runtime", "ops", "autograd", "models", "rl"};

struct Include {
  int line;
  bool angled;
  std::string target;
};

struct Source {
  std::string path;  // from the root of the tree
  std::vector<std::string> lines;
  std::vector<Include> includes;
  bool internal = false;  // a header that says so at its top; installed headers may not need it

  bool is_header() const { return path.ends_with(".h"); }
  std::string at(int line) const { return path + ":" + std::to_string(line); }
};

// Number of the floor that `path` belongs to; -1 for none.
int floor_of(const std::string& path) {
  for (size_t i = 0; i < kFloors.size(); ++i)
    if (path.starts_with(kFloors[i] + "/")) return static_cast<int>(i);
  return -1;
}

bool is_example(const std::string& path) { return path.starts_with("rl/examples/"); }
bool is_program(const std::string& path) { return path.starts_with("rl/cli/") || is_example(path); }

Source read_source(const fs::path& root, const fs::path& file) {
  static const std::regex include(R"re(^\s*#\s*include\s*([<"])([^>"]+)[>"])re");
  Source source{.path = file.lexically_relative(root).generic_string()};
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    source.lines.push_back(line);
    const int number = static_cast<int>(source.lines.size());
    if (std::smatch match; std::regex_search(line, match, include))
      source.includes.push_back({number, match[1] == "<", match[2]});
    source.internal |= number <= 12 && line.starts_with("//") && line.find("Internal") != std::string::npos;
  }
  source.internal |= source.path.starts_with("ops/cpu/") || source.path.starts_with("ops/cuda/");
  return source;
}

// Every source of the floors by its path.
const std::map<std::string, Source>& sources() {
  static const auto* all = [] {
    auto* out = new std::map<std::string, Source>;
    const fs::path root = fs::path(testing::source_dir()).lexically_normal();
    for (const std::string& floor : kFloors) {
      if (!fs::exists(root / floor)) continue;
      for (const auto& item : fs::recursive_directory_iterator(root / floor)) {
        const std::string extension = item.path().extension();
        if (extension != ".h" && extension != ".cpp" && extension != ".cu" && extension != ".cuh") continue;
        Source source = read_source(root, item.path());
        out->emplace(source.path, std::move(source));
      }
    }
    return out;
  }();
  return *all;
}

// The included file's path from the root.
std::string resolve(const Source& from, const std::string& target) {
  return (fs::path(from.path).parent_path() / target).lexically_normal().generic_string();
}

// Without comments at the end and texts in quotes.
std::string code_of(const std::string& line) {
  std::string out;
  char quote = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (quote) {
      if (line[i] == '\\')
        ++i;
      else if (line[i] == quote)
        quote = 0;
      continue;
    }
    if (line[i] == '/' && i + 1 < line.size() && line[i + 1] == '/') break;
    const bool separator = line[i] == '\'' && i > 0 && std::isalnum(static_cast<unsigned char>(line[i - 1]));  // 1'000
    if (line[i] == '"' || (line[i] == '\'' && !separator)) quote = line[i];
    out += line[i];
  }
  return out;
}

TEST(Layering, TheTreeIsRead) {
  EXPECT_TRUE(sources().contains("runtime/tensor.h"));
  EXPECT_TRUE(sources().at("runtime/check.h").internal);
  EXPECT_FALSE(sources().at("runtime/tensor.h").internal);
  EXPECT_EQ(code_of("a = \"exit(\"; // exit("), "a = \"; ");
  EXPECT_EQ(code_of("n = 1'000 + f('\\'') // x"), "n = 1'000 + f(') ");
}

TEST(Layering, AFloorIncludesOnlyFloorsBelow) {
  for (const auto& [path, source] : sources()) {
    const int floor = floor_of(path);
    for (const Include& include : source.includes) {
      if (is_example(path)) {
        EXPECT_TRUE(include.angled) << source.at(include.line) << ": examples include as a user's program does";
        continue;
      }
      if (include.angled) {
        EXPECT_FALSE(include.target.starts_with("tenon/"))
            << source.at(include.line) << ": own headers are included by relative path";
        continue;
      }
      const std::string target = resolve(source, include.target);
      ASSERT_TRUE(sources().contains(target)) << source.at(include.line) << ": " << target << " is not in the tree";
      EXPECT_LE(floor_of(target), floor) << source.at(include.line) << " includes a floor above its own: " << target;
      EXPECT_TRUE(is_program(path) || !is_program(target))
          << source.at(include.line) << ": the library includes a program's header";
    }
  }
}

TEST(Layering, PublicHeadersNeedTheSystemAlone) {
  for (const auto& [path, source] : sources()) {
    if (!source.is_header() || source.internal || is_program(path)) continue;
    for (const Include& include : source.includes) {
      if (include.angled) {
        // Headers of the standard library have neither folder nor suffix; the system's own are in sys/.
        EXPECT_TRUE(include.target.find_first_of("./") == std::string::npos || include.target.starts_with("sys/"))
            << source.at(include.line) << " includes <" << include.target << ">";
      } else {
        EXPECT_FALSE(sources().at(resolve(source, include.target)).internal)
            << source.at(include.line) << ": a public header includes an internal one";
      }
    }
    EXPECT_TRUE(std::any_of(source.lines.begin(), source.lines.end(), [](const std::string& l) {
      return l == "#pragma once";
    })) << path;
  }
}

TEST(Layering, TheLibraryNeitherPrintsNorExits) {
  // _exit in a child between fork and exec is the one way out there; it is not matched, having no word boundary before
  // "exit".
  static const std::regex forbidden(
      R"re((^|[^\w:.>])(std::)?(cout|cerr|clog|printf|fprintf|vprintf|puts|putchar|perror|exit|quick_exit|abort|terminate)\s*(\(|<<)|fmt::print|std::print)re");
  for (const auto& [path, source] : sources()) {
    if (is_program(path)) continue;
    for (size_t i = 0; i < source.lines.size(); ++i) {
      const std::string code = code_of(source.lines[i]);
      EXPECT_FALSE(std::regex_search(code, forbidden)) << source.at(static_cast<int>(i) + 1) << ": " << code;
      EXPECT_EQ(code.find("using namespace std"), std::string::npos) << source.at(static_cast<int>(i) + 1);
    }
  }
}

}  // namespace
}  // namespace tenon
