// The gradients of the GPU's kernels against the differenced double reference, as the CPU's are tested.
#include <gtest/gtest.h>

#include "../op_table/harness.h"

namespace tenon::testing {
namespace {

class GradientsOnCuda : public ::testing::TestWithParam<const OpCase*> {
 protected:
  void SetUp() override {
    if (Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
  }
};

TEST_P(GradientsOnCuda, AgreeWithTheDifferencedReference) {
  const OpCase& op = *GetParam();
  for (const Tolerance& t : op.tolerance)
    for (const Problem& problem : op.shapes)
      for (const std::string& failure : check_gradients(op, problem, t.dtype, Device::cuda())) ADD_FAILURE() << failure;
}

std::vector<const OpCase*> entries() {
  std::vector<const OpCase*> all;
  for (const OpCase& op : op_table())
    if (op.backward) all.push_back(&op);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Ops, GradientsOnCuda, ::testing::ValuesIn(entries()),
                         [](const ::testing::TestParamInfo<const OpCase*>& info) { return info.param->name; });

}  // namespace
}  // namespace tenon::testing
