// Where larger test data are: the folder of the environment variable TENON_TEST_DATA, else ../shared/data beside the
// project.
//
//   const auto path = data_path("gsm8k/test.jsonl");
//   if (!path) GTEST_SKIP() << "no test data";
#pragma once

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "paths.h"

namespace tenon::testing {

/// The path of a file or folder of the test data; nothing when it is not there.
inline std::optional<std::string> data_path(const std::string& relative) {
  const char* set = std::getenv("TENON_TEST_DATA");
  const std::filesystem::path root =
      set && *set ? std::filesystem::path(set) : std::filesystem::path(source_dir()) / "../shared/data";
  std::error_code error;
  const std::filesystem::path path = root / relative;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  return path.lexically_normal().string();
}

/// A small file that is part of the tree: tests/data/NAME.
inline std::string tree_data_path(const std::string& name) {
  return (std::filesystem::path(source_dir()) / "tests/data" / name).string();
}

}  // namespace tenon::testing
