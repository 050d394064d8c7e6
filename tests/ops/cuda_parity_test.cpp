// Every op of the table on a GPU against its reference and against the CPU: on the GPU of this machine, or on the
// emulated one of tests/cuda_emulation, which compiles this file too.
#include <gtest/gtest.h>

#include "../op_table/harness.h"

namespace tenon::testing {
namespace {

class OnCuda : public ::testing::TestWithParam<const OpCase*> {
 protected:
  void SetUp() override {
    if (Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
  }
};

TEST_P(OnCuda, AgreesWithReferenceAndCpu) {
  const OpCase& op = *GetParam();
  for (const Tolerance& t : op.tolerance)
    for (const Problem& problem : op.shapes) {
      for (const std::string& failure : check_values(op, problem, t.dtype, Device::cuda())) ADD_FAILURE() << failure;
      for (const std::string& failure : check_parity(op, problem, t.dtype, Device::cuda())) ADD_FAILURE() << failure;
    }
}

std::vector<const OpCase*> entries() {
  std::vector<const OpCase*> all;
  for (const OpCase& op : op_table()) all.push_back(&op);
  return all;
}

INSTANTIATE_TEST_SUITE_P(Ops, OnCuda, ::testing::ValuesIn(entries()),
                         [](const ::testing::TestParamInfo<const OpCase*>& info) { return info.param->name; });

}  // namespace
}  // namespace tenon::testing
