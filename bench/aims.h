// What Tenon aims at on a GPU, by the name of a measurement. The figures are for an H200; shares hold for any GPU.
#pragma once

#include <optional>
#include <string>

namespace tenon::bench {

enum class AimKind {
  memory,    // share of the measured bandwidth
  products,  // share of the measured peak of bf16 products (cuBLASLt's)
  gflops,    // GFLOP/s, on Hopper's largest alone
  mfu        // share of the vendor's peak
};

struct Aim {
  AimKind kind;
  double value;
};

/// Of a measurement in bf16 (`what` as reported); none where nothing is aimed at.
std::optional<Aim> aim_of(const std::string& what, const std::string& shape);

std::string text(const Aim& aim);  // "350 TFLOP/s", "85 % of memory"

}  // namespace tenon::bench
