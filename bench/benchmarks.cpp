#include "bench.h"

namespace tenon::bench {

const std::vector<Benchmark>& benchmarks() {
  static const std::vector<Benchmark> list = {
      {"limits", "memory bandwidth and matrix products of this machine", report_limits},
  };
  return list;
}

}  // namespace tenon::bench
