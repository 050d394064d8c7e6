// One block a row; what filters keep is never collected but described by bounds: a logit (top-k), a weight and the id
// up to which tokens of just that weight stay (top-p), a weight (min-p). Bounds are selected by radix, so the row is
// read some five times (from the second cache: 600 KB for 152k tokens) and nothing is sorted.
#include "sampling.h"

#include <cstring>
#include <string>
#include <vector>

#include "../../runtime/error.h"
#include "../../runtime/workspace.h"
#include "logit_row.h"
#include "radix_select.h"
#include "report.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kThreads = kLogitThreads, kWarps = kThreads / 32;
constexpr int64_t kNone = INT64_MAX;

struct RowSettings {
  double u;
  double top_p;
  float inverse_temperature, min_p, penalty;
  int32_t top_k;  // 0: off
  bool greedy;
  int32_t penalised;               // the row of scratch for penalised logits, or -1
  int64_t first_history, history;  // in the list of all
};

struct Lower {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};

// Which tokens of a row can be drawn, and their weights relative to the largest.
struct Filter {
  float maximum, inverse_temperature;
  float least_logit = -INFINITY;  // below it nothing counts
  float cut = -1;                 // weights above it stay,
  int64_t last_tie = -1;          // and those that equal it up to this id
  float least_weight = 0;

  __device__ float weight(float x) const { return expf(__fmul_rn(x - maximum, inverse_temperature)); }
  /// 0 for a token that cannot be drawn.
  __device__ float kept(float x, int64_t id) const {
    if (!(x >= least_logit)) return 0;
    const float w = weight(x);
    return (w > cut || (w == cut && id <= last_tie)) && w >= least_weight ? w : 0;
  }
};

// x[c .. c + 3] of columns below n; others are -inf.
template <int kWidth>
__device__ void load_logits(const float* x, int64_t c, int64_t n, float (&v)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) v[i] = -INFINITY;
  if (c >= n) return;
  if constexpr (kWidth == 4) {
    const auto pack = load<4>(x + c);
#pragma unroll
    for (int i = 0; i < 4; ++i) v[i] = pack[i];
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (c + i < n) v[i] = x[c + i];
  }
}

// The first column in [begin, end), begin a multiple of 4, at which the sum of value(x, column) from `before` on passes
// `at`; where rounding leaves the sum below it, the last with a value above 0. For all threads.
template <int kWidth, class V, class Value>
__device__ int64_t find_passing(const float* x, int64_t n, int64_t begin, int64_t end, V before, V at, Value value) {
  int64_t last = -1;
  for (int64_t c0 = begin; c0 < end; c0 += kThreads * 4) {
    const int64_t c = c0 + threadIdx.x * 4;
    float in[4];
    load_logits<kWidth>(x, c, min(n, end), in);
    V values[4], sum = 0, all;
#pragma unroll
    for (int i = 0; i < 4; ++i) sum += values[i] = c + i < min(n, end) ? value(in[i], c + i) : V{0};
    V running = before + block_exclusive_sum<kThreads>(sum, all);
    int64_t found = kNone;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      running += values[i];
      if (!(values[i] > 0)) continue;  // rounding may let the sum pass between two columns
      last = c + i;
      if (running > at && found == kNone) found = c + i;
    }
    found = block_reduce<kThreads>(found, Lower{});
    if (found != kNone) return found;
    before += all;
  }
  return -block_reduce<kThreads>(-last, Lower{});
}

// Weights with some upper bits in common, the exponent among them: the sum of their 24-bit significands, in two parts
// of 12 bits so that 2^20 of each fit. Integers: the order of additions does not matter.
struct WeightSum {
  uint32_t high, low;

  __device__ static uint32_t significand(uint32_t bits) { return (bits & 0x7FFFFFu) | (bits >> 23 ? 0x800000u : 0u); }
  __device__ void add(uint32_t bits) {
    atomicAdd(&high, significand(bits) >> 12);
    atomicAdd(&low, significand(bits) & 0xFFFu);
  }
  __device__ uint64_t significands() const { return (uint64_t{high} << 12) + low; }
  __device__ double value(uint32_t bits) const {
    return ldexp(static_cast<double>(significands()), static_cast<int>(max(bits >> 23, 1u)) - 150);
  }
};
constexpr int64_t kMostWeights = int64_t{1} << 20;

// The fewest largest weights whose sum reaches top_p of `total`, or where that is negative of all that least_logit
// leaves. As nucleus_cut() of ops/cpu: three rounds of ten bits of the weight; positive floats compare like their bits.
template <int kWidth>
__device__ void keep_nucleus(const float* x, int64_t n, double top_p, double total, Filter& filter) {
  constexpr int kBuckets = 1024, kOwn = kBuckets / kThreads;
  TENON_SHARED(sums, WeightSum[kBuckets]);
  TENON_SHARED(chosen, double);  // the sum of the weights that are surely larger than those of the bucket
  double mass = top_p * total, above = 0;
  uint32_t prefix = 0;
  for (int shift = 20; shift >= 0; shift -= 10) {
    const uint32_t known = shift == 20 ? 0 : ~0u << (shift + 10);
    for (int i = threadIdx.x; i < kBuckets; i += kThreads) sums[i] = {0, 0};
    __syncthreads();
    for_logits<kWidth>(x, n, [&](int64_t c, const float(&v)[4]) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (c + i >= n || !(v[i] >= filter.least_logit)) continue;
        const uint32_t bits = __float_as_uint(filter.weight(v[i]));
        if ((bits & known) == prefix) sums[bits >> shift & (kBuckets - 1)].add(bits);
      }
    });
    __syncthreads();
    // This thread's buckets, from the largest weights down.
    const int first = kBuckets - 1 - static_cast<int>(threadIdx.x) * kOwn;
    double own[kOwn], sum = 0, all;
#pragma unroll
    for (int i = 0; i < kOwn; ++i)
      sum += own[i] = sums[first - i].value(prefix | static_cast<uint32_t>(first - i) << shift);
    double larger = above + block_exclusive_sum<kThreads>(sum, all);
    if (shift == 20) {
      if (total < 0) mass = top_p * all;
      if (all < mass) {  // by rounding: all of them stay
        filter.cut = 0;
        return;
      }
    }
    int found = -1;
    double larger_than_found = 0;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      if (found < 0 && (larger + own[i] >= mass || first - i == 0)) found = first - i, larger_than_found = larger;
      larger += own[i];
    }
    const int bucket = block_reduce<kThreads>(found, [](int a, int b) { return a > b ? a : b; });
    if (found == bucket) chosen = larger_than_found;
    __syncthreads();
    above = chosen;
    prefix |= static_cast<uint32_t>(bucket) << shift;
  }

  filter.cut = __uint_as_float(prefix);
  if (filter.cut == 0) return;  // what is left has no mass
  const auto ties = max(static_cast<int64_t>(ceil((mass - above) / filter.cut)), int64_t{1});
  const auto all_ties =
      static_cast<int64_t>(sums[prefix & (kBuckets - 1)].significands() / WeightSum::significand(prefix));
  filter.last_tie = n;
  if (ties < all_ties)
    filter.last_tie = find_passing<kWidth>(x, n, 0, n, int64_t{0}, ties - 1, [&](float v, int64_t) {
      return int64_t{v >= filter.least_logit && filter.weight(v) == filter.cut};
    });
}

template <int kWidth>
__device__ int64_t draw(const float* x, int64_t n, const Filter& filter, double u) {
  TENON_SHARED(masses, double[kWarps]);
  // Each warp sums a stretch of its own; then the stretch in which the sum passes u of all is walked.
  const int64_t stretch = (n + kWarps * 128 - 1) / (kWarps * 128) * 128, lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  double mass = 0;
#pragma unroll 4
  for (int64_t c = warp * stretch + lane * 4; c < min(n, (warp + 1) * stretch); c += 128) {
    float in[4];
    load_logits<kWidth>(x, c, n, in);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (c + i < n) mass += filter.kept(in[i], c + i);
  }
  mass = warp_reduce(mass, Plus{});
  __syncthreads();  // masses of an earlier row have been read
  if (lane == 0) masses[warp] = mass;
  __syncthreads();
  double total = 0;
  for (int w = 0; w < kWarps; ++w) total += masses[w];
  const double at = u * total;
  double before = 0, start = 0;
  int64_t chosen = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (masses[w] > 0) chosen = w, start = before;
    before += masses[w];
    if (before > at) break;
  }
  return find_passing<kWidth>(x, n, chosen * stretch, min(n, (chosen + 1) * stretch), start, at,
                              [&](float v, int64_t c) { return static_cast<double>(filter.kept(v, c)); });
}

// Logits of tokens in the history, each from the logit as it was: an id that stands twice is penalised once.
__device__ void penalise(const float* logits, int64_t n, const RowSettings& row, const int32_t* histories, float* x) {
  for (int64_t c = threadIdx.x; c < n; c += kThreads) x[c] = logits[c];
  __syncthreads();
  for (int64_t i = threadIdx.x; i < row.history; i += kThreads) {
    const int32_t id = histories[row.first_history + i];
    const float was = logits[id];
    atomicExch(x + id, was > 0 ? was / row.penalty : was * row.penalty);
  }
  __syncthreads();
}

template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    sample_kernel(const float* logits, int64_t n, const RowSettings* settings, const int32_t* histories,
                  float* penalised, tenon::cuda::FaultSlot faults, int32_t* tokens, float* logprobs) {
  const int64_t r = blockIdx.x;
  const RowSettings row = settings[r];
  logits += r * n;
  const float* x = logits;
  const LogitRow raw = sum_logits<kWidth, false>(logits, n, row.inverse_temperature);
  LogitRow sums = raw;
  if (row.penalised >= 0 && raw.is_distribution()) {
    float* own = penalised + row.penalised * n;
    penalise(logits, n, row, histories, own);
    x = own;
    sums = sum_logits<kWidth, false>(x, n, row.inverse_temperature);
  }
  if (!sums.is_distribution()) {
    if (threadIdx.x == 0) {
      report(faults, r, r);
      tokens[r] = 0;
      logprobs[r] = NAN;
    }
    return;
  }

  int64_t token = kNone;
  if (row.greedy) {
    for_logits<kWidth>(x, n, [&](int64_t c, const float(&v)[4]) {
#pragma unroll
      for (int i = 3; i >= 0; --i)
        if (v[i] == sums.maximum && c + i < token) token = c + i;
    });
    token = block_reduce<kThreads>(token, Lower{});
  } else {
    Filter filter{.maximum = sums.maximum, .inverse_temperature = row.inverse_temperature};
    // Weights that cannot count are left out by their logits alone. The slack of 1e-3 covers the rounding of the
    // logarithm and of the sums.
    const auto leave_out_below = [&](double weight) {
      filter.least_logit = static_cast<float>(sums.maximum + (log(weight) - 1e-3) / row.inverse_temperature);
      filter.least_logit -= fabsf(filter.least_logit) * 1e-6f;
    };
    if (row.top_k > 0) {
      const KthLargest kth = kth_largest<kThreads>(row.top_k, 3, [&](auto f) {
        for_logits<kWidth>(x, n, [&](int64_t c, const float(&v)[4]) {
#pragma unroll
          for (int i = 0; i < 4; ++i)
            if (c + i < n) f(sort_key(v[i]));
        });
      });
      filter.least_logit = from_sort_key(kth.key);
    } else if (row.top_p < 1) {
      // All weights up to w together have at most n w: below (1 - p) total / n none is needed to reach p.
      leave_out_below((1 - row.top_p) * sums.sum / static_cast<double>(n));
    } else if (row.min_p > 0) {
      leave_out_below(row.min_p);
    }
    if (row.top_p < 1) keep_nucleus<kWidth>(x, n, row.top_p, row.top_k > 0 ? -1 : sums.sum, filter);
    filter.least_weight = row.min_p;
    token = draw<kWidth>(x, n, filter, row.u);
  }
  if (threadIdx.x == 0) {
    tokens[r] = static_cast<int32_t>(token);
    logprobs[r] = raw.logprob(logits[token]);
  }
}

}  // namespace

void sample(const Tensor& logits, std::span<const SampleRow> rows, Tensor& tokens, Tensor& logprobs) {
  const int64_t count = logits.dim(0), n = logits.dim(1);
  if (count == 0) return;
  if (n > kMostWeights) throw Error("sample: a vocabulary of " + std::to_string(n) + "; the CUDA kernel takes 2^20");
  std::vector<RowSettings> settings;
  std::vector<int32_t> histories;
  int32_t penalised = 0;
  for (const SampleRow& row : rows) {
    const SamplingOptions& o = row.options;
    const bool greedy = o.temperature == 0, penalises = o.repetition_penalty != 1 && !row.history.empty();
    settings.push_back({.u = random_uniform_double(row.key, row.element),
                        .top_p = o.top_p,
                        .inverse_temperature = greedy ? 1.0f : 1.0f / o.temperature,
                        .min_p = o.min_p,
                        .penalty = o.repetition_penalty,
                        .top_k = o.top_k < n ? o.top_k : 0,
                        .greedy = greedy,
                        .penalised = penalises ? penalised++ : -1,
                        .first_history = static_cast<int64_t>(histories.size()),
                        .history = penalises ? static_cast<int64_t>(row.history.size()) : 0});
    if (penalises) histories.insert(histories.end(), row.history.begin(), row.history.end());
  }

  const size_t settings_bytes = settings.size() * sizeof(RowSettings),
               history_bytes = histories.size() * sizeof(int32_t);
  std::vector<std::byte> upload(settings_bytes + history_bytes);
  std::memcpy(upload.data(), settings.data(), settings_bytes);
  if (history_bytes > 0) std::memcpy(upload.data() + settings_bytes, histories.data(), history_bytes);
  Workspace& workspace = Workspace::of(logits.device());
  auto uploaded = workspace.get<std::byte>(static_cast<int64_t>(upload.size()));
  auto scratch = workspace.get<float>(penalised * n);
  tenon::cuda::copy(uploaded.data(), logits.device(), upload.data(), Device::cpu(), upload.size());

  const auto* device_settings = reinterpret_cast<const RowSettings*>(uploaded.data());
  const auto* device_histories = reinterpret_cast<const int32_t*>(uploaded.data() + settings_bytes);
  for_logit_width(logits.data<float>(), n, [&]<int kWidth>() {
    launch(
        sample_kernel<kWidth>, {.grid = dim3(static_cast<unsigned>(count)), .block = dim3(kThreads)},
        logits.data<float>(), n, device_settings, device_histories, scratch.data(),
        tenon::cuda::fault_slot("logits with NaN or +inf, or that forbid every token, in row", tenon::cuda::kNoBound),
        tokens.data<int32_t>(), logprobs.data<float>());
  });
}

}  // namespace tenon::ops::cuda
