// Learning rates over the steps of a run, with the formulas of transformers' get_scheduler.
#pragma once

#include <cstdint>
#include <string_view>

namespace tenon {

enum class ScheduleKind { constant, linear, cosine };
/// "constant", "linear", "cosine"; Error naming them otherwise.
ScheduleKind schedule_kind_from_name(std::string_view name);

/// Rises linearly over `warmup_steps`, then falls to `min_ratio * learning_rate` at `total_steps`: in a line, along
/// half a cosine, or not at all.
struct Schedule {
  ScheduleKind kind = ScheduleKind::constant;
  double learning_rate = 0;
  int64_t total_steps = 0;
  int64_t warmup_steps = 0;
  double min_ratio = 0;

  /// The rate used by optimizer step `step`, counted from 0. Defined past the end too, as in transformers.
  double at(int64_t step) const;
};

}  // namespace tenon
