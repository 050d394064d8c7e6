#include "profile_report.h"

#include <algorithm>
#include <map>
#include <optional>
#include <vector>

#include "../runtime/check.h"
#include "../runtime/profile.h"
#include "limits.h"

namespace tenon::ops {
namespace {

// Of one device; 0 where none of its ops needs it, or memory is too short to measure it.
struct Limits {
  double bytes = 0, f32_flops = 0, bf16_flops = 0;
};

template <class F>
double measured(bool wanted, F&& measure) try {
  return wanted ? measure() : 0;
} catch (const Error&) {
  return 0;
}

Limits limits_of(Device device, const std::vector<profile::OpTotal>& ops) {
  const auto any = [&](double profile::Cost::*what) {
    return std::ranges::any_of(ops, [&](const auto& op) { return op.cost.*what > 0; });
  };
  return {measured(any(&profile::Cost::bytes), [&] { return copy_bandwidth(device); }),
          measured(any(&profile::Cost::f32_flops), [&] { return product_rate(device, DType::f32); }),
          measured(any(&profile::Cost::bf16_flops), [&] { return product_rate(device, DType::bf16); })};
}

std::string number(double x, int decimals) { return x > 0 ? fmt::format("{:.{}f}", x, decimals) : ""; }
std::string percent(double share) { return share > 0 ? fmt::format("{:.0f} %", 100 * share) : ""; }

std::string line(const std::string& op, const std::string& calls, double seconds, double run,
                 const std::string& us_a_call, const std::string& gbs, const std::string& gflops,
                 const std::string& share) {
  std::string text = fmt::format("{:<30}{:>9}{:>12.1f}{:>8.1f} %{:>12}{:>9}{:>10}{:>10}", op, calls, 1e3 * seconds,
                                 100 * seconds / run, us_a_call, gbs, gflops, share);
  return text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
}

std::string table(Device device, const std::vector<profile::OpTotal>& ops, double run) {
  const Limits limit = limits_of(device, ops);
  const auto needed = [](double cost, double rate) { return rate > 0 ? cost / rate : 0; };
  std::string text = fmt::format("{:<30}{:>9}{:>12}{:>10}{:>12}{:>9}{:>10}{:>10}\n", "op on " + device.name(), "calls",
                                 "ms", "of run", "us/call", "GB/s", "GFLOP/s", "of limit");
  double all = 0;
  for (const profile::OpTotal& op : ops) {
    all += op.seconds;
    const double flops = op.cost.f32_flops + op.cost.bf16_flops, seconds = std::max(op.seconds, 1e-9);
    const double least = std::max(needed(op.cost.bytes, limit.bytes), needed(op.cost.f32_flops, limit.f32_flops) +
                                                                          needed(op.cost.bf16_flops, limit.bf16_flops));
    text +=
        line(op.op, std::to_string(op.calls), op.seconds, run, number(1e6 * seconds / static_cast<double>(op.calls), 1),
             number(1e-9 * op.cost.bytes / seconds, 1), number(1e-9 * flops / seconds, 1), percent(least / seconds));
  }
  text += line("all ops", "", all, run, "", "", "", "");
  std::string rates;
  const auto add = [&](const char* what, double rate, const char* unit) {
    if (rate > 0) rates += fmt::format("{}{} {:.0f} {}", rates.empty() ? "limits: " : ", ", what, 1e-9 * rate, unit);
  };
  add("copies", limit.bytes, "GB/s");
  add("products in f32", limit.f32_flops, "GFLOP/s");
  add("in bf16", limit.bf16_flops, "GFLOP/s");
  return rates.empty() ? text : text + rates + "\n";
}

}  // namespace

std::string profile_report() {
  profile::stop();
  const double run = profile::seconds();
  std::map<int, std::vector<profile::OpTotal>> by_device;
  for (profile::OpTotal& op : profile::totals()) by_device[op.device.is_cpu() ? -1 : op.device.index].push_back(op);
  std::string text;
  for (const auto& [index, ops] : by_device) text += table(ops[0].device, ops, run);
  return text.empty() ? text : fmt::format("profile of {:.3f} s\n", run) + text;
}

}  // namespace tenon::ops
