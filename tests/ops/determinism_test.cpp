// Every op of the table gives the same bits for any number of threads.
#include <gtest/gtest.h>

#include <cstring>

#include "../../runtime/threads.h"
#include "../op_table/harness.h"

namespace tenon::testing {
namespace {

struct Threads {
  explicit Threads(int count) : before(num_threads()) { set_num_threads(count); }
  ~Threads() { set_num_threads(before); }
  int before;
};

void expect_same_bits(const Tensors& a, const Tensors& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, t] : a) {
    const Tensor x = t.contiguous(), y = b[name].contiguous();
    ASSERT_EQ(x.nbytes(), y.nbytes());
    EXPECT_TRUE(x.nbytes() == 0 || std::memcmp(x.raw(), y.raw(), x.nbytes()) == 0) << what << " " << name;
  }
}

TEST(Determinism, TheNumberOfThreadsChangesNoBit) {
  for (const OpCase& op : op_table())
    for (const Tolerance& t : op.tolerance) {
      const Problem& problem = op.shapes.back();
      OpRun alone(op, problem, t.dtype, /*seed=*/5), shared(op, problem, t.dtype, /*seed=*/5);
      {
        Threads one(1);
        alone.run();
        if (op.backward) alone.backward();
      }
      {
        Threads three(3);
        shared.run();
        if (op.backward) shared.backward();
      }
      const std::string what = op.name + " " + std::string(name(t.dtype));
      expect_same_bits(alone.outputs(), shared.outputs(), what);
      expect_same_bits(alone.gradients(), shared.gradients(), what + " gradient");
      expect_same_bits(alone.sinks(), shared.sinks(), what + " sink");
    }
}

}  // namespace
}  // namespace tenon::testing
