#include "harness.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace tenon::testing {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Differences of the reference: the error of a central difference is about step^2 and 1e-16 / step, both far below f32.
constexpr double kStep = 1e-4;
constexpr int64_t kAllElements = 64;   // inputs up to this size are differenced element by element,
constexpr int64_t kSomeElements = 24;  // larger ones at so many drawn elements, and along one direction

const Tolerance& tolerance_of(const OpCase& op, DType dtype) {
  for (const Tolerance& t : op.tolerance)
    if (t.dtype == dtype) return t;
  throw Error(fmt::format("{} has no tolerance for {}", op.name, name(dtype)));
}

std::string where(const OpCase& op, const Problem& problem, DType dtype, const std::string& tensor) {
  return fmt::format("{} {} {}: {}", op.name, problem, name(dtype), tensor);
}

std::vector<std::string> differentiable(const OpCase& op, const Arrays& reference) {
  if (!op.differentiable.empty()) return op.differentiable;
  return {reference.begin()->first};
}

// sum over the differentiable outputs of reference(in) * dout
double scalar_of(const OpCase& op, const Arrays& in, const Arrays& dout) {
  const Arrays out = op.reference(in);
  double sum = 0;
  for (const auto& [name, d] : dout)
    for (int64_t i = 0; i < d.numel(); ++i) sum += out[name][i] * d[i];
  return sum;
}

double root_mean_square(const Array& a) {
  double sum = 0;
  for (double v : a.values) sum += v * v;
  return a.values.empty() ? 0 : std::sqrt(sum / static_cast<double>(a.numel()));
}

std::vector<int64_t> chosen_elements(Draw& draw, int64_t n) {
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < std::min(n, n <= kAllElements ? n : kSomeElements); ++i)
    chosen.push_back(n <= kAllElements ? i : static_cast<int64_t>(draw.rng().below(static_cast<uint64_t>(n))));
  return chosen;
}

}  // namespace

OpRun::OpRun(const OpCase& op, const Problem& problem, DType dtype, uint64_t seed, Device device)
    : op_(op), dtype_(dtype), device_(device), draw_(seed) {
  Arrays drawn = op.inputs(draw_, problem);
  for (auto& [name, array] : drawn) {
    tensors_.set(name, to_tensor(array, dtype).to(device));
    inputs_.set(name, rounded(std::move(array), dtype));
  }
  inputs_.problem = tensors_.problem = problem;
}

void OpRun::run() { outputs_ = op_.run(tensors_); }

void OpRun::draw_incoming() {
  std::vector<std::string> names = op_.differentiable;
  if (names.empty()) names.push_back(outputs_.begin()->first);
  for (const std::string& name : names) {
    const Tensor& out = outputs_[name];
    Array d = draw_.normal(out.shape());
    if (out.dtype() == DType::f32) d = as_f32(std::move(d));
    incoming_.set(name, to_tensor(d, dtype_).to(device_));
  }
}

void OpRun::backward() {
  if (incoming_.empty()) draw_incoming();
  Gradients g(tensors_, outputs_, incoming_, gradients_, sinks_);
  op_.backward(g);
}

double largest_error(const Array& value, const Array& reference, double small) {
  if (!(value.shape == reference.shape)) return kInfinity;
  const double typical = std::max(root_mean_square(reference), small);
  double worst = 0;
  for (int64_t i = 0; i < value.numel(); ++i) {
    const double v = value[i], r = reference[i];
    if (v == r || (std::isnan(v) && std::isnan(r))) continue;  // also equal infinities
    const double error = std::abs(v - r) / (std::abs(r) + typical);
    if (!(error <= worst)) worst = std::isnan(error) ? kInfinity : error;
  }
  return worst;
}

std::vector<std::string> check_values(const OpCase& op, const Problem& problem, DType dtype, Device device) {
  OpRun run(op, problem, dtype, /*seed=*/17, device);
  run.run();
  Arrays in = run.inputs();
  const Arrays reference = op.reference(in);
  std::vector<std::string> failures;
  for (const auto& [name, wanted] : reference) {
    const Array got = to_array(run.outputs()[name]);
    const double error = largest_error(got, wanted, op.small), allowed = tolerance_of(op, dtype).value;
    if (!(got.shape == wanted.shape)) {
      failures.push_back(
          fmt::format("{} has shape {}, not {}", where(op, problem, dtype, name), got.shape.str(), wanted.shape.str()));
    } else if (!(error <= allowed)) {
      failures.push_back(
          fmt::format("{} differs by {:.3g}, allowed {:.3g}", where(op, problem, dtype, name), error, allowed));
    }
  }
  return failures;
}

std::vector<std::string> check_gradients(const OpCase& op, const Problem& problem, DType dtype, Device device) {
  OpRun run(op, problem, dtype, /*seed=*/18, device);
  run.run();
  run.backward();

  Arrays dout;
  const Arrays reference = op.reference(run.inputs());
  for (const std::string& name : differentiable(op, reference)) dout.set(name, to_array(run.incoming()[name]));

  Arrays gradients;
  for (const auto& [name, t] : run.gradients()) gradients.set(name, to_array(t));
  for (const auto& [name, t] : run.sinks()) {
    Array sum = to_array(t);
    for (double& v : sum.values) v -= Gradients::kSinkStart;
    gradients.set(name, std::move(sum));
  }

  std::vector<std::string> failures;
  Draw draw(19);
  const double allowed = tolerance_of(op, dtype).gradient;
  Arrays in = run.inputs();
  for (const auto& [name, gradient] : gradients) {
    Array& x = in[name];
    if (!(gradient.shape == x.shape)) {
      failures.push_back(fmt::format("{}: the gradient has shape {}, not {}", where(op, problem, dtype, name),
                                     gradient.shape.str(), x.shape.str()));
      continue;
    }
    const double typical = std::max(root_mean_square(gradient), op.small);
    double worst = 0;
    for (int64_t i : chosen_elements(draw, x.numel())) {
      const double at = x[i];
      x[i] = at + kStep;
      const double above = scalar_of(op, in, dout);
      x[i] = at - kStep;
      const double below = scalar_of(op, in, dout);
      x[i] = at;
      const double wanted = (above - below) / (2 * kStep);
      const double error = std::abs(gradient[i] - wanted) / (std::abs(wanted) + typical);
      worst = error <= worst ? worst : std::isnan(error) ? kInfinity : error;
    }
    if (x.numel() > kAllElements) {
      // Errors of single elements add like a random walk along a direction of signs.
      const Array start = x;
      Array direction(x.shape);
      double along = 0;
      for (int64_t i = 0; i < x.numel(); ++i) {
        direction[i] = draw.rng().below(2) ? 1 : -1;
        along += direction[i] * gradient[i];
      }
      const double step = kStep / std::sqrt(static_cast<double>(x.numel()));
      for (int64_t i = 0; i < x.numel(); ++i) x[i] = start[i] + step * direction[i];
      const double above = scalar_of(op, in, dout);
      for (int64_t i = 0; i < x.numel(); ++i) x[i] = start[i] - step * direction[i];
      const double below = scalar_of(op, in, dout);
      x = start;
      const double wanted = (above - below) / (2 * step);
      const double error =
          std::abs(along - wanted) / (std::abs(wanted) + typical * std::sqrt(static_cast<double>(x.numel())));
      worst = error <= worst ? worst : std::isnan(error) ? kInfinity : error;
    }
    if (!(worst <= allowed))
      failures.push_back(fmt::format("{}: the gradient differs by {:.3g}, allowed {:.3g}",
                                     where(op, problem, dtype, name), worst, allowed));
  }
  if (gradients.empty()) failures.push_back(fmt::format("{}: backward gave no gradient", op.name));
  return failures;
}

std::vector<std::string> check_parity(const OpCase& op, const Problem& problem, DType dtype, Device device,
                                      double slack) {
  OpRun here(op, problem, dtype, /*seed=*/18), there(op, problem, dtype, /*seed=*/18, device);
  here.run();
  there.run();
  if (op.backward) {
    here.backward();
    there.backward();
  }
  std::vector<std::string> failures;
  const auto compare = [&](const Tensors& wanted, const Tensors& got, const char* what, double allowed) {
    for (const auto& [name, tensor] : wanted) {
      if (std::ranges::count(op.own_layout, name) > 0) continue;
      const double error = largest_error(to_array(got[name]), to_array(tensor), op.small);
      if (!(error <= allowed))
        failures.push_back(fmt::format("{}{} on {} differs from the CPU's by {:.3g}, allowed {:.3g}",
                                       where(op, problem, dtype, name), what, device.name(), error, allowed));
    }
  };
  const Tolerance& allowed = tolerance_of(op, dtype);
  compare(here.outputs(), there.outputs(), "", 2 * slack * allowed.value);
  compare(here.gradients(), there.gradients(), " gradient", 2 * slack * allowed.gradient);
  compare(here.sinks(), there.sinks(), " sink", 2 * slack * allowed.gradient);
  return failures;
}

}  // namespace tenon::testing
