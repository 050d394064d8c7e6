// Single ops: every entry of the op table is a benchmark.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "../runtime/check.h"
#include "../tests/op_table/harness.h"
#include "bench.h"

namespace tenon::bench {
namespace {

void run_one(const Settings& settings, const testing::OpCase& op, DType dtype) {
  const bool gpu = !settings.device.is_cpu() && !op.gpu_shape.empty();
  const testing::Problem problem = !settings.shape.empty() ? settings.shape : gpu ? op.gpu_shape : op.bench_shape;
  check(problem.size() == op.bench_shape.size(), "{}: --shape has {} numbers, not {} as in {}", op.name, problem.size(),
        op.bench_shape.size(), fmt::join(op.bench_shape, "x"));
  testing::OpRun run(op, problem, dtype, /*seed=*/1, settings.device);
  const std::string shape = fmt::format("{}", fmt::join(problem, "x"));
  const auto item = static_cast<double>(size_of(dtype));
  const std::string type(name(dtype));

  run.run();  // the backward needs what the forward kept
  if (settings.forward)
    report(settings, {.what = op.name + " fwd",
                      .dtype = type,
                      .shape = shape,
                      .samples_ms = time_ms(
                          settings.device, [&] { run.run(); }, settings.runs),
                      .bytes = op.bytes ? op.bytes(problem, item) : 0,
                      .flops = op.flops ? op.flops(problem) : 0});
  if (settings.backward && op.backward)
    report(settings, {.what = op.name + " bwd",
                      .dtype = type,
                      .shape = shape,
                      .samples_ms = time_ms(
                          settings.device, [&] { run.backward(); }, settings.runs),
                      .bytes = op.backward_bytes ? op.backward_bytes(problem, item) : 0,
                      .flops = op.backward_flops ? op.backward_flops(problem) : 0});
}

}  // namespace

void run_op(const Settings& settings, DType dtype) {
  const testing::OpCase* op = testing::find_op(settings.name);
  check(op, "no op named '{}'", settings.name);
  run_one(settings, *op, dtype);
}

void run_ops(const Settings& settings) {
  const testing::OpCase* chosen = settings.name.empty() ? nullptr : testing::find_op(settings.name);
  check(chosen || settings.name.empty(), "no benchmark named '{}'; 'list' shows all", settings.name);
  check(chosen || settings.shape.empty(), "--shape needs the name of an op");
  report_limits(settings);
  for (const testing::OpCase& op : testing::op_table()) {
    if (chosen && &op != chosen) continue;
    bool any = false;
    for (const testing::Tolerance& t : op.tolerance) {
      if (!settings.dtypes.empty() && settings.dtypes[0] != t.dtype) continue;
      any = true;
      run_one(settings, op, t.dtype);
    }
    check(any || !chosen, "{} has no {}", op.name, settings.dtypes.empty() ? DType::f32 : settings.dtypes[0]);
  }
}

}  // namespace tenon::bench
