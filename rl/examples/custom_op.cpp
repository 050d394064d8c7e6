// A differentiable op of one's own, checked and used, without a change in Tenon.
#include <tenon/autograd/autograd.h>
#include <tenon/ops/elementwise.h>
#include <tenon/runtime/runtime.h>

#include <cstdio>

using namespace tenon;

namespace {

Var square(const Var& x) {
  return record("square", {x}, ops::mul(x.value(), x.value()),
                [x = x.saved()](GradContext& g) { g.add(0, ops::scale(ops::mul(g.dy(), x), 2.0f)); });
}

}  // namespace

int main() try {
  const Tensor x = Tensor::from({1.0f, -2.0f, 3.0f}, {3});
  const GradientCheck check = gradient_check([](const std::vector<Var>& in) { return square(in[0]); }, {x});
  if (check.max_error > 1e-3) throw Error("the gradient of square is wrong: " + check.worst);

  Var leaf(x, /*requires_grad=*/true);
  backward(sum(square(leaf)));
  for (int i = 0; i < 3; ++i)
    if (leaf.grad().data<float>()[i] != 2 * x.data<float>()[i]) throw Error("d(x^2)/dx is not 2x");

  std::puts("custom op: ok");
  return 0;
} catch (const Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
