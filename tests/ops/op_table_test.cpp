// Every entry of the op table, with each of its dtypes and problems.
#include "../op_table/op_table.h"

#include <gtest/gtest.h>

#include "../op_table/harness.h"

namespace tenon::testing {
namespace {

class OpTable : public ::testing::TestWithParam<const OpCase*> {};

TEST_P(OpTable, ValuesAgreeWithTheReference) {
  const OpCase& op = *GetParam();
  ASSERT_FALSE(op.shapes.empty());
  ASSERT_FALSE(op.tolerance.empty());
  for (const Tolerance& t : op.tolerance)
    for (const Problem& problem : op.shapes)
      for (const std::string& failure : check_values(op, problem, t.dtype)) ADD_FAILURE() << failure;
}

class OpTableGradients : public ::testing::TestWithParam<const OpCase*> {};

TEST_P(OpTableGradients, AgreeWithTheDifferencedReference) {
  const OpCase& op = *GetParam();
  for (const Tolerance& t : op.tolerance)
    for (const Problem& problem : op.shapes)
      for (const std::string& failure : check_gradients(op, problem, t.dtype)) ADD_FAILURE() << failure;
}

std::vector<const OpCase*> entries(bool differentiable) {
  std::vector<const OpCase*> all;
  for (const OpCase& op : op_table())
    if (op.backward || !differentiable) all.push_back(&op);
  return all;
}

std::string name_of(const ::testing::TestParamInfo<const OpCase*>& info) { return info.param->name; }

INSTANTIATE_TEST_SUITE_P(Ops, OpTable, ::testing::ValuesIn(entries(/*differentiable=*/false)), name_of);
INSTANTIATE_TEST_SUITE_P(Ops, OpTableGradients, ::testing::ValuesIn(entries(/*differentiable=*/true)), name_of);

TEST(OpTableHarness, SeesAWrongValueAndAWrongGradient) {
  OpCase wrong = *find_op("rms_norm");
  const auto run = wrong.run;
  wrong.run = [run](const Tensors& in) {
    Tensors out = run(in);
    out["y"].row<float>(2)[5] *= 1.001f;
    return out;
  };
  EXPECT_EQ(check_values(wrong, {3, 31}, DType::f32).size(), 1u);

  OpCase missing_term = *find_op("rms_norm");
  const auto backward = missing_term.backward;
  missing_term.backward = [backward](Gradients& g) {
    backward(g);
    g.sink("weight").data<float>()[0] += 0.01f;
  };
  EXPECT_EQ(check_gradients(missing_term, {3, 31}, DType::f32).size(), 1u);
}

}  // namespace
}  // namespace tenon::testing
