// The op table on a GPU at the sizes that work has, against the CPU: many blocks, whole tiles, long rows. The reference
// in double would take too long here; cuda_parity_test.cpp has it at small sizes.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "../op_table/harness.h"

namespace tenon::testing {
namespace {

class RealShapesOnCuda : public ::testing::TestWithParam<const OpCase*> {
 protected:
  void SetUp() override {
    if (Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
  }
};

// Their results are choices between numbers that are computed: at this size some lie within rounding of each other, and
// either choice is right.
constexpr std::array kChoices = {"route", "sample", "top_logprobs"};

// Rounding errors of f32 sums grow with the root of their length: weights' gradients have thousands of terms here, some
// hundred in the shapes that tolerances are made for. In bf16 the rounding of the result is all that shows.
double slack_of(DType dtype) { return dtype == DType::f32 ? 4 : 1; }

// What the CPU takes about a second for, where the benchmark's own size takes longer.
Problem real_shape(const OpCase& op) {
  if (op.name == "adamw" || op.name == "global_norm") return {12, 1024 * 1024};
  if (op.name == "attention") return {2, 1024, 8, 2, 128, 128, 1, 0};
  if (op.name == "token_logprobs" || op.name == "token_loss_one_pass") return {512, 576, 16384, 1};
  return op.bench_shape;
}

TEST_P(RealShapesOnCuda, AgreesWithCpu) {
  const OpCase& op = *GetParam();
  for (const Tolerance& t : op.tolerance)
    for (const std::string& failure : check_parity(op, real_shape(op), t.dtype, Device::cuda(), slack_of(t.dtype)))
      ADD_FAILURE() << failure;
}

std::vector<const OpCase*> entries() {
  std::vector<const OpCase*> all;
  for (const OpCase& op : op_table())
    if (std::ranges::count(kChoices, std::string_view(op.name)) == 0) all.push_back(&op);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Ops, RealShapesOnCuda, ::testing::ValuesIn(entries()),
                         [](const ::testing::TestParamInfo<const OpCase*>& info) { return info.param->name; });

}  // namespace
}  // namespace tenon::testing
