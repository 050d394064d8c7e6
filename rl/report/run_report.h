// report.html of a training run: one self-contained page with its figures, a plot of every metric, sample completions
// and the settings.
#pragma once

#include <string>

namespace tenon::rl {

/// Reads what stands in the run's folder and writes report.html there (whole or not at all). Parts that are missing are
/// left out. Nothing else in the folder is touched, so that a run under way may be looked at.
void write_report(const std::string& folder, const std::string& title);

}  // namespace tenon::rl
