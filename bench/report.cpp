#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "../runtime/check.h"
#include "../runtime/cuda.h"
#include "../runtime/threads.h"
#include "aims.h"
#include "bench.h"

namespace tenon::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Line = nlohmann::ordered_json;

double since_ms(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double rounded(double x) { return std::stod(fmt::format("{:.4g}", x)); }

// Memory-bound ops are aimed at where caches do not hold their operands.
constexpr double kBeyondCaches = 64e6;
constexpr double kHopperPeak = 989e3;

void keep(const Settings& settings, const Line& line) {
  if (settings.json) fmt::print("{}\n", line.dump());
  if (!settings.output.empty()) {
    std::ofstream file(settings.output, std::ios::app);
    file << line.dump() << '\n';
    check(file.flush().good(), "cannot write to {}", settings.output);
  }
}

struct Rates {
  double gbs, gflops;
  double memory, products;  // shares of the limits
  double share() const { return std::max(memory, products); }
  bool memory_binds() const { return memory >= products; }
};

// The limit that would take longest if it alone bound: memory, or products in the dtype (f32 where there are no bf16
// ones).
Rates rates_of(const Measurement& m, double median, const Limits& machine) {
  Rates r{.gbs = m.bytes / median * 1e-6, .gflops = m.flops / median * 1e-6, .memory = 0, .products = 0};
  const double peak = m.dtype == "bf16" && machine.bf16_gflops > 0 ? machine.bf16_gflops : machine.f32_gflops;
  r.memory = r.gbs / machine.memory_gbs();
  r.products = r.gflops / peak;
  return r;
}

void add_aim(Line& line, const Measurement& m, const Rates& rates, const Limits& machine) {
  const auto aim = m.dtype == "bf16" ? aim_of(m.what, m.shape) : std::nullopt;
  if (!aim) return;
  double reached = 0;
  switch (aim->kind) {
    case AimKind::memory:
      if (m.bytes < kBeyondCaches) return;
      reached = rates.memory;
      break;
    case AimKind::products:
      reached = rates.products;
      break;
    case AimKind::gflops:
      if (machine.peak_gflops != kHopperPeak) return;
      reached = rates.gflops;
      break;
    case AimKind::mfu:
      if (machine.peak_gflops == 0) return;
      reached = rates.gflops / machine.peak_gflops;
      break;
  }
  line["aim"] = text(*aim);
  line["met"] = reached >= aim->value;
}

}  // namespace

double median_of(std::vector<double> samples) {
  std::ranges::sort(samples);
  const size_t n = samples.size();
  return n % 2 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2;
}

void wait_for(Device device) {
  if (!device.is_cpu()) cuda::synchronize(device);
}

std::vector<double> time_ms(Device device, const std::function<void()>& call, int runs, double sample_ms) {
  const auto sample = [&](int calls) {
    wait_for(device);
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < calls; ++i) call();
    wait_for(device);
    return since_ms(start) / calls;
  };
  call();
  double once = sample(1);
  // A single short call to a GPU is mostly the wait for it.
  if (!device.is_cpu() && once < 1) once = sample(10);
  const int calls = std::max(1, static_cast<int>(sample_ms / std::max(once, 1e-4)));
  std::vector<double> samples;
  for (int run = 0; run < runs; ++run) samples.push_back(sample(calls));
  return samples;
}

void report(const Settings& settings, const Measurement& m) {
  const double median = median_of(m.samples_ms);
  const auto [least, most] = std::ranges::minmax(m.samples_ms);
  const Limits& machine = limits(settings.device);
  const Rates rates = rates_of(m, median, machine);
  const double mfu = m.training && machine.peak_gflops > 0 ? rates.gflops / machine.peak_gflops : 0;

  Line line = {{"what", m.what},
               {"peer", "tenon"},
               {"dtype", m.dtype},
               {"threads", num_threads()},
               {"shape", m.shape},
               {"runs", m.samples_ms.size()},
               {"median_ms", rounded(median)},
               {"min_ms", rounded(least)},
               {"max_ms", rounded(most)}};
  if (m.flops > 0) line["gflops"] = rounded(rates.gflops);
  if (m.bytes > 0) line["gbs"] = rounded(rates.gbs);
  if (m.tokens > 0) line["tokens_s"] = rounded(m.tokens / median * 1e3);
  if (rates.share() > 0) {
    line["share"] = rounded(rates.share());
    line["limit"] = rates.memory_binds() ? "memory" : "products";
  }
  if (mfu > 0) line["mfu"] = rounded(mfu);
  for (const auto& [part, ms] : m.parts) line["parts_ms"][part] = rounded(ms);
  if (!settings.device.is_cpu()) {
    line["device"] = settings.device.name();
    add_aim(line, m, rates, machine);
  }
  keep(settings, line);

  if (!settings.json) {
    std::string text;
    if (m.tokens > 0) text += fmt::format(" {:9.0f} tokens/s", m.tokens / median * 1e3);
    if (m.bytes > 0) text += fmt::format(" {:8.2f} GB/s", rates.gbs);
    if (m.flops > 0) text += fmt::format(" {:9.2f} GFLOP/s", rates.gflops);
    if (rates.share() > 0)
      text += fmt::format(" {:4.0f} % of {}", 100 * rates.share(), rates.memory_binds() ? "memory" : "products");
    if (mfu > 0) text += fmt::format(" {:4.1f} % MFU", 100 * mfu);
    if (line.contains("aim"))
      text += fmt::format(", aim {} {}", line["aim"].get<std::string>(), line["met"].get<bool>() ? "met" : "NOT met");
    fmt::print("{:<28} {:<5} {:<22} {:9.4f} ms ({:.4f} to {:.4f}){}\n", m.what, m.dtype, m.shape, median, least, most,
               text);
    if (!m.parts.empty()) {
      std::string parts;
      for (const auto& [part, ms] : m.parts) parts += fmt::format("{} {} {:.1f}", parts.empty() ? "" : ",", part, ms);
      fmt::print("    medians:{} ms\n", parts);
    }
  }
  std::fflush(stdout);
}

void report_limits(const Settings& settings) {
  const Limits& machine = limits(settings.device);
  const bool gpu = !settings.device.is_cpu();
  const std::string device = gpu ? cuda::device_description(settings.device) : "cpu";
  Line line = {{"what", "limits"},
               {"peer", "tenon"},
               {"threads", num_threads()},
               {"read_gbs", rounded(machine.read_gbs)},
               {"update_gbs", rounded(machine.update_gbs)},
               {"copy_gbs", rounded(machine.copy_gbs)},
               {"f32_gflops", rounded(machine.f32_gflops)},
               {"bf16_gflops", rounded(machine.bf16_gflops)},
               {"device", device}};
  if (machine.peak_gflops > 0) line["peak_gflops"] = machine.peak_gflops;
  keep(settings, line);
  if (!settings.json && gpu)
    fmt::print("{}; memory: copy {:.1f}, y += x {:.1f} GB/s; products (cuBLASLt): f32 {:.0f}, bf16 {:.0f} GFLOP/s{}\n",
               device, machine.copy_gbs, machine.update_gbs, machine.f32_gflops, machine.bf16_gflops,
               machine.peak_gflops > 0 ? fmt::format(", of the vendor's {:.0f}", machine.peak_gflops) : "");
  else if (!settings.json)
    fmt::print(
        "{} threads; memory: read {:.1f}, update {:.1f}, copy {:.1f} GB/s; products: f32 {:.0f} GFLOP/s, bf16 {}\n",
        num_threads(), machine.read_gbs, machine.update_gbs, machine.copy_gbs, machine.f32_gflops,
        machine.bf16_gflops > 0 ? fmt::format("{:.0f} GFLOP/s", machine.bf16_gflops) : "none");
  std::fflush(stdout);
}

void report_failure(const Settings& settings, const std::string& what, const std::string& why) {
  keep(settings, {{"what", what}, {"peer", "tenon"}, {"error", why}});
  if (!settings.json) fmt::print("{:<28} {}\n", what, why);
  std::fflush(stdout);
}

}  // namespace tenon::bench
