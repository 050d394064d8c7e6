#include "aims.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace tenon::bench {
namespace {

struct Entry {
  std::string_view what, shape;  // the beginning of each
  Aim aim;
};

constexpr std::array kAims = {
    Entry{"rms_norm", "", {AimKind::memory, 0.85}},
    Entry{"rope", "", {AimKind::memory, 0.85}},
    Entry{"swiglu", "", {AimKind::memory, 0.85}},
    Entry{"adamw", "", {AimKind::memory, 0.85}},
    Entry{"experts: permute", "", {AimKind::memory, 0.85}},
    Entry{"experts: unpermute", "", {AimKind::memory, 0.85}},
    Entry{"experts: grouped", "", {AimKind::products, 0.60}},
    Entry{"attention fwd", "", {AimKind::gflops, 350e3}},
    Entry{"attention bwd", "", {AimKind::gflops, 250e3}},
    Entry{"token_loss_one_pass fwd", "", {AimKind::products, 0.70}},
    Entry{"train step", "dense-", {AimKind::mfu, 0.45}},
    Entry{"train step", "moe-", {AimKind::mfu, 0.20}},
    Entry{"decode", "dense-0.5b, batch 1,", {AimKind::memory, 0.70}},
};

}  // namespace

std::optional<Aim> aim_of(const std::string& what, const std::string& shape) {
  for (const Entry& entry : kAims)
    if (what.starts_with(entry.what) && shape.starts_with(entry.shape)) return entry.aim;
  return std::nullopt;
}

std::string text(const Aim& aim) {
  switch (aim.kind) {
    case AimKind::memory:
      return fmt::format("{:.0f} % of memory", 100 * aim.value);
    case AimKind::products:
      return fmt::format("{:.0f} % of products", 100 * aim.value);
    case AimKind::gflops:
      return fmt::format("{:.0f} TFLOP/s", aim.value * 1e-3);
    case AimKind::mfu:
      return fmt::format("{:.0f} % MFU", 100 * aim.value);
  }
  return {};
}

}  // namespace tenon::bench
