#include "schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "../runtime/check.h"

namespace tenon {

ScheduleKind schedule_kind_from_name(std::string_view name) {
  if (name == "constant" || name == "constant_with_warmup") return ScheduleKind::constant;
  if (name == "linear") return ScheduleKind::linear;
  if (name == "cosine" || name == "cosine_with_min_lr") return ScheduleKind::cosine;
  fail("unknown schedule '{}': constant, linear or cosine", name);
}

double Schedule::at(int64_t step) const {
  if (step < warmup_steps)
    return learning_rate * static_cast<double>(step) / static_cast<double>(std::max<int64_t>(1, warmup_steps));
  const double progress =
      static_cast<double>(step - warmup_steps) / static_cast<double>(std::max<int64_t>(1, total_steps - warmup_steps));
  double left = 1;  // of the way from learning_rate down to the floor
  if (kind == ScheduleKind::linear) left = std::max(0.0, 1 - progress);
  if (kind == ScheduleKind::cosine) left = std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * progress)));
  return learning_rate * (left * (1 - min_ratio) + min_ratio);
}

}  // namespace tenon
