// EXPECT_ERROR(statement, "part of the text"...): the statement throws tenon::Error whose text holds every part.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>
#include <string>

#include "../runtime/error.h"

namespace tenon::testing {

inline ::testing::AssertionResult throws_error(const std::function<void()>& statement,
                                               std::initializer_list<std::string> parts) {
  try {
    statement();
  } catch (const Error& e) {
    const std::string text = e.what();
    for (const std::string& part : parts)
      if (text.find(part) == std::string::npos)
        return ::testing::AssertionFailure() << "the error \"" << text << "\" does not say \"" << part << '"';
    if (text.find('\n') != std::string::npos)
      return ::testing::AssertionFailure() << "the error has several lines: " << text;
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "no error was thrown";
}

}  // namespace tenon::testing

#define EXPECT_ERROR(statement, ...) \
  EXPECT_TRUE(::tenon::testing::throws_error([&] { (void)(statement); }, {__VA_ARGS__}))
