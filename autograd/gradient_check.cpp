#include "gradient_check.h"

#include <algorithm>
#include <cmath>

#include "../ops/cast.h"
#include "../runtime/check.h"
#include "../runtime/random.h"

namespace tenon {
namespace {

// Weights of the result's elements: between 1 and 1.5 in size, either sign, so that no two errors cancel by chance.
std::vector<float> result_weights(int64_t n) {
  std::vector<float> w(n);
  for (int64_t i = 0; i < n; ++i) {
    const float u = random_uniform(RandomKey{.seed = 20, .stream = 7}, static_cast<uint64_t>(i));
    w[i] = u < 0.5f ? u - 1.5f : u + 0.5f;
  }
  return w;
}

}  // namespace

GradientCheck gradient_check(const std::function<Var(const std::vector<Var>&)>& function, std::vector<Tensor> inputs,
                             double step) {
  std::vector<Var> leaves;
  for (Tensor& x : inputs) {
    check(x.dtype() == DType::f32, "gradient_check: inputs must be f32, got {}", name(x.dtype()));
    x = x.clone();
    leaves.emplace_back(x, /*requires_grad=*/true);
  }
  const Var result = function(leaves);
  const std::vector<float> weights = result_weights(result.numel());
  Tensor seed = Tensor::from_vector(weights).view(result.shape()).to(result.device());
  backward({result}, {seed});

  auto values = [&] {
    NoGrad no_grad;
    std::vector<Var> now;
    for (const Tensor& x : inputs) now.emplace_back(x);
    return ops::cast(function(now).value(), DType::f32).to(Device::cpu()).to_vector<float>();
  };
  auto weighted_difference = [&](const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) sum += (static_cast<double>(a[i]) - b[i]) * weights[i];
    return sum;
  };

  GradientCheck worst;
  for (size_t k = 0; k < inputs.size(); ++k) {
    const int64_t n = inputs[k].numel();
    std::vector<double> differenced(n);
    for (int64_t i = 0; i < n; ++i) {
      float* x = inputs[k].data<float>() + i;
      const float at = *x;
      const float h = static_cast<float>(step * std::max(1.0, std::abs(static_cast<double>(at))));
      auto with = [&](float offset) {
        *x = at + offset;
        inputs[k].bump_version();
        auto v = values();
        *x = at;
        return v;
      };
      const double near = weighted_difference(with(h), with(-h)), far = weighted_difference(with(2 * h), with(-2 * h));
      differenced[i] = (8 * near - far) / (12 * static_cast<double>(h));
    }
    const Tensor grad = leaves[k].grad();
    double largest = 1e-6;
    for (double d : differenced) largest = std::max(largest, std::abs(d));
    for (int64_t i = 0; i < n; ++i) {
      const double analytic = grad.defined() ? grad.data<float>()[i] : 0.0;
      const double error = std::abs(analytic - differenced[i]) / largest;
      if (!(error <= worst.max_error)) {
        worst.max_error = std::isnan(error) ? INFINITY : error;
        worst.worst = fmt::format("input {} {}, element {}: gradient {:.6g}, differenced {:.6g}", k, inputs[k].shape(),
                                  i, analytic, differenced[i]);
      }
    }
  }
  return worst;
}

}  // namespace tenon
