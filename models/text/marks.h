// Places of a text on their way through the steps of encoding. Internal.
#pragma once

#include <cstddef>
#include <vector>

#include "regex.h"

namespace tenon::text {

/// A place that is looked for: its offset in the text as the step at hand sees it.
struct Mark {
  size_t at;
  size_t index;  // among the places asked for
};

/// Ascending by `at`.
using Marks = std::vector<Mark>;

/// The marks from number `next` on that lie before span.end, as offsets from span.begin; `next` moves behind them.
inline Marks take_marks(const Marks& marks, size_t& next, const TextSpan& span) {
  Marks out;
  for (; next < marks.size() && marks[next].at < span.end; ++next)
    out.push_back({marks[next].at - span.begin, marks[next].index});
  return out;
}

}  // namespace tenon::text
