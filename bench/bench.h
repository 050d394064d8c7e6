// What benchmarks share: settings from the command line, timing, the machine's limits and one way to report.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../runtime/dtype.h"

namespace tenon::bench {

struct Settings {
  std::string name;            // an op, another benchmark, "list", or nothing for all ops
  std::vector<int64_t> shape;  // empty: the benchmark's own
  std::vector<DType> dtypes;   // empty: all that the benchmark has
  int threads = 0;             // 0: as the environment says
  bool forward = true, backward = true;
  bool json = false;  // JSON lines instead of a table
  int runs = 7;
  // Of whole workloads (workloads.h):
  std::string model;  // empty: all
  int64_t batch = 0;  // 0: the workload's own
  double beta = 0;
};

/// Throws Error that says what is wrong with which argument.
Settings parse_settings(int argc, char** argv);

/// Milliseconds per call, `runs` of them after warming up; calls shorter than `sample_ms` are repeated inside one
/// sample.
std::vector<double> time_ms(const std::function<void()>& call, int runs, double sample_ms = 20);

/// What this machine can do with this number of threads, measured once a process (in two seconds).
struct Limits {
  // Main memory: reading, updating in place (read and write counted) and copying as the C library does (both counted).
  double read_gbs, update_gbs, copy_gbs;
  double memory_gbs() const { return std::max({read_gbs, update_gbs, copy_gbs}); }
  double f32_gflops, bf16_gflops;  // matrix products of 2048; bf16 is 0 where the processor has none
};
const Limits& limits();

/// One measurement; zero fields are left out of the report.
struct Measurement {
  std::string what, dtype, shape;
  std::vector<double> samples_ms;
  double bytes = 0, flops = 0;  // of one call
  double tokens = 0;
};

/// A line of the table, or with settings.json a JSON line with the fields of the peers' (what, peer, dtype, threads,
/// shape, runs, median_ms, min_ms, max_ms, gflops, gbs, tokens_s) and `share` of `limit`, the limit that binds.
void report(const Settings& settings, const Measurement& m);
void report_limits(const Settings& settings);

/// Benchmarks that are not single ops.
struct Benchmark {
  const char* name;
  const char* about;
  void (*run)(const Settings&);
};
const std::vector<Benchmark>& benchmarks();

/// Times the entries of the op table that settings name.
void run_ops(const Settings& settings);

}  // namespace tenon::bench
