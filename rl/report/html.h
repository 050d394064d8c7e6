// Pieces of pages that are complete in one file: no script, no font, nothing from a network. Readable on a phone (one
// column, wide tables scroll in their box), in the dark and on paper.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tenon::rl {

/// Text with &, <, > and quotes made harmless in HTML; control characters, which HTML forbids, become U+FFFD.
std::string html_escape(std::string_view text);

/// The whole page around a body.
std::string html_page(std::string_view title, std::string_view body);

struct HtmlRow {
  std::vector<std::string> cells;  // HTML
  std::string style;               // a class of the page's style: "of_seed"; empty: none
};

/// A table in a box that scrolls sideways where it is too wide. Heads and cells are HTML; the first cell of a row heads
/// it.
std::string html_table(const std::vector<std::string>& head, const std::vector<HtmlRow>& rows);

/// A part that the reader unfolds. Summary and body are HTML.
std::string html_details(std::string_view summary, std::string_view body);

/// Four significant digits.
std::string number_text(double value);

/// For figures that may be large: "0.753", "88.1", "4.14 M".
std::string short_number(double value);

}  // namespace tenon::rl
