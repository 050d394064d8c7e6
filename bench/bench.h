// What benchmarks share: settings from the command line, timing, the machine's limits and one way to report.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "../runtime/device.h"
#include "../runtime/dtype.h"

namespace tenon::bench {

struct Settings {
  std::string name;            // an op, another benchmark, "list", or nothing for all ops
  std::vector<int64_t> shape;  // empty: the benchmark's own
  std::vector<DType> dtypes;   // empty: all that the benchmark has
  Device device = Device::best();
  int threads = 0;  // 0: as the environment says
  bool forward = true, backward = true;
  bool json = false;   // JSON lines instead of a table
  std::string output;  // a file that gets the JSON lines too, behind what it holds
  int runs = 7;
  double budget = 300;  // seconds; a suite begins nothing more after them
  // Of whole workloads (workloads.h):
  std::string model;  // empty: all
  int64_t batch = 0;  // 0: the workload's own
  double beta = 0;
  std::vector<std::string> files;  // of `table`
};

/// Throws Error that says what is wrong with which argument.
Settings parse_settings(int argc, char** argv);

/// Waits for a GPU's queued work.
void wait_for(Device device);

/// Milliseconds per call, `runs` of them after warming up; calls shorter than `sample_ms` are repeated inside one
/// sample. On a GPU a sample ends when its work is done; calls inside it are queued without a wait.
std::vector<double> time_ms(Device device, const std::function<void()>& call, int runs, double sample_ms = 20);

/// What a device can do (the CPU with this number of threads), measured once a process (in two seconds).
struct Limits {
  // Main memory: reading, updating in place (read and write counted) and copying as the C library does (both counted).
  // On a GPU: y += x (three passes counted) and copying as the driver does; reading is not measured.
  double read_gbs, update_gbs, copy_gbs;
  double memory_gbs() const { return std::max({read_gbs, update_gbs, copy_gbs}); }
  // Matrix products of 2048, on a GPU of 8192; bf16 is 0 where the processor has none.
  double f32_gflops, bf16_gflops;
  double peak_gflops;  // the vendor's figure for dense bf16 products, which MFU is a share of; 0: not known
};
const Limits& limits(Device device);
/// On the GPU.
Limits measure_gpu(Device device);

/// One measurement; zero fields are left out of the report.
struct Measurement {
  std::string what, dtype, shape;
  std::vector<double> samples_ms;
  double bytes = 0, flops = 0;  // of one call
  double tokens = 0;
  bool training = false;                                   // its share of the vendor's peak is an MFU
  std::vector<std::pair<std::string, double>> parts = {};  // milliseconds of what it consists of
};

/// A line of the table, or with settings.json a JSON line with the fields of the peers' (what, peer, dtype, threads,
/// shape, runs, median_ms, min_ms, max_ms, gflops, gbs, tokens_s) and `share` of `limit`, the limit that binds. On a
/// GPU also `aim` and whether it is `met` (aims.h).
void report(const Settings& settings, const Measurement& m);
void report_limits(const Settings& settings);
/// That `what` could not be measured, or was left out.
void report_failure(const Settings& settings, const std::string& what, const std::string& why);

double median_of(std::vector<double> samples);

/// Benchmarks that are not single ops.
struct Benchmark {
  const char* name;
  const char* about;
  void (*run)(const Settings&);
};
const std::vector<Benchmark>& benchmarks();

/// Times the entries of the op table that settings name.
void run_ops(const Settings& settings);
/// Times the one that settings.name names, in one dtype.
void run_op(const Settings& settings, DType dtype);

/// The parts of a layer of experts one by one, with the plan made before.
void run_experts(const Settings& settings);

/// All of it in the order of importance, until settings.budget is spent.
void run_suite(const Settings& settings);

/// Prints the Markdown of settings.files (table.h).
void print_table(const Settings& settings);

}  // namespace tenon::bench
