#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "../runtime/threads.h"
#include "bench.h"

namespace tenon::bench {
namespace {

using Clock = std::chrono::steady_clock;

double since_ms(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median_of(std::vector<double> samples) {
  std::ranges::sort(samples);
  const size_t n = samples.size();
  return n % 2 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2;
}

double rounded(double x) { return std::stod(fmt::format("{:.4g}", x)); }

}  // namespace

std::vector<double> time_ms(const std::function<void()>& call, int runs, double sample_ms) {
  call();
  Clock::time_point start = Clock::now();
  call();
  const int inner = std::max(1, static_cast<int>(sample_ms / std::max(since_ms(start), 1e-4)));
  std::vector<double> samples;
  for (int run = 0; run < runs; ++run) {
    start = Clock::now();
    for (int i = 0; i < inner; ++i) call();
    samples.push_back(since_ms(start) / inner);
  }
  return samples;
}

void report(const Settings& settings, const Measurement& m) {
  const double median = median_of(m.samples_ms);
  const auto [least, most] = std::ranges::minmax(m.samples_ms);
  const double gbs = m.bytes / median * 1e-6, gflops = m.flops / median * 1e-6;

  // The limit that would take longest if it alone bound: memory, or products in the dtype (f32 where there are no bf16
  // ones).
  const Limits& machine = limits();
  const double peak = m.dtype == "bf16" && machine.bf16_gflops > 0 ? machine.bf16_gflops : machine.f32_gflops;
  const double memory = gbs / machine.memory_gbs(), arithmetic = gflops / peak;
  const bool memory_binds = memory >= arithmetic;
  const double share = std::max(memory, arithmetic);

  if (settings.json) {
    nlohmann::ordered_json line = {{"what", m.what},
                                   {"peer", "tenon"},
                                   {"dtype", m.dtype},
                                   {"threads", num_threads()},
                                   {"shape", m.shape},
                                   {"runs", m.samples_ms.size()},
                                   {"median_ms", rounded(median)},
                                   {"min_ms", rounded(least)},
                                   {"max_ms", rounded(most)}};
    if (m.flops > 0) line["gflops"] = rounded(gflops);
    if (m.bytes > 0) line["gbs"] = rounded(gbs);
    if (m.tokens > 0) line["tokens_s"] = rounded(m.tokens / median * 1e3);
    if (share > 0) {
      line["share"] = rounded(share);
      line["limit"] = memory_binds ? "memory" : "products";
    }
    fmt::print("{}\n", line.dump());
  } else {
    std::string rates;
    if (m.tokens > 0) rates += fmt::format(" {:9.0f} tokens/s", m.tokens / median * 1e3);
    if (m.bytes > 0) rates += fmt::format(" {:8.2f} GB/s", gbs);
    if (m.flops > 0) rates += fmt::format(" {:9.2f} GFLOP/s", gflops);
    if (share > 0) rates += fmt::format(" {:4.0f} % of {}", 100 * share, memory_binds ? "memory" : "products");
    fmt::print("{:<28} {:<5} {:<22} {:9.4f} ms ({:.4f} to {:.4f}){}\n", m.what, m.dtype, m.shape, median, least, most,
               rates);
  }
  std::fflush(stdout);
}

void report_limits(const Settings& settings) {
  const Limits& machine = limits();
  if (settings.json) {
    const nlohmann::ordered_json line = {{"what", "limits"},
                                         {"peer", "tenon"},
                                         {"threads", num_threads()},
                                         {"read_gbs", rounded(machine.read_gbs)},
                                         {"update_gbs", rounded(machine.update_gbs)},
                                         {"copy_gbs", rounded(machine.copy_gbs)},
                                         {"f32_gflops", rounded(machine.f32_gflops)},
                                         {"bf16_gflops", rounded(machine.bf16_gflops)}};
    fmt::print("{}\n", line.dump());
  } else {
    fmt::print(
        "{} threads; memory: read {:.1f}, update {:.1f}, copy {:.1f} GB/s; products: f32 {:.0f} GFLOP/s, bf16 {}\n",
        num_threads(), machine.read_gbs, machine.update_gbs, machine.copy_gbs, machine.f32_gflops,
        machine.bf16_gflops > 0 ? fmt::format("{:.0f} GFLOP/s", machine.bf16_gflops) : "none");
  }
  std::fflush(stdout);
}

}  // namespace tenon::bench
