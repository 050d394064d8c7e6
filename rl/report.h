// report.html of a run folder: one self-contained page with a plot of every metric, the settings and sample
// completions.
#pragma once

#include <string>

#include "run_folder.h"

namespace tenon::rl {

/// Reads what stands in the folder and writes report.html (whole or not at all). Parts that are missing are left out.
void write_report(const RunFolder& folder, const std::string& title);

/// Text with &, <, > and quotes made harmless in HTML.
std::string html_escape(std::string_view text);

}  // namespace tenon::rl
