// One warp a token. A row of logits is a few hundred numbers, so that the time goes into the warp's own chain of
// reductions, not into memory: many warps a processor hide it, and the choice costs two reductions an expert.
#include "routing.h"

#include <algorithm>

#include "block.h"
#include "report.h"

namespace tenon::ops::cuda {
namespace {

constexpr int kMaxWarps = 8;
constexpr float kTiny = 1e-20f;  // as on the CPU
constexpr unsigned kAll = 0xFFFFFFFFu;

// Selection works on unsigned keys in the order of the floats: larger is better, 0 is no candidate, a NaN comes before
// that only. Zeros of both signs are equal.
constexpr uint32_t kNoCandidate = 0, kNan = 1;

__device__ uint32_t key_of(float x) {
  if (x != x) return kNan;
  const uint32_t bits = __float_as_uint(x + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ float value_of(uint32_t key) { return __uint_as_float(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key); }

// take(j, i) for j = 0, 1, ... count - 1 with the index of the j-th best of n keys, the lower index of equals, which is
// then no candidate any more. Lane l alone touches keys l, l + 32, ...; only the lane whose key was taken looks again.
template <class F>
__device__ void choose(uint32_t* keys, int n, int count, F&& take) {
  const int lane = threadIdx.x % 32;
  uint32_t best = kNoCandidate;
  int at = lane;
  const auto look = [&] {
    best = kNoCandidate;
    for (int i = lane; i < n; i += 32)
      if (keys[i] > best) best = keys[i], at = i;
  };
  look();
  for (int j = 0; j < count; ++j) {
    const uint32_t top = __reduce_max_sync(kAll, best);
    const int winner = static_cast<int>(__reduce_min_sync(kAll, best == top ? static_cast<unsigned>(at) : kAll));
    take(j, winner);
    if (at == winner) {
      keys[winner] = kNoCandidate;
      look();
    }
  }
}

// A group's mark: its best key, or the sum of its two best values.
__device__ uint32_t mark_of(const uint32_t* keys, int size, bool two) {
  const int lane = threadIdx.x % 32;
  uint32_t first = kNoCandidate, second = kNoCandidate;
  for (int i = lane; i < size; i += 32) {
    second = max(second, min(first, keys[i]));
    first = max(first, keys[i]);
  }
  const uint32_t best = __reduce_max_sync(kAll, first);
  if (!two || size == 1) return best;
  const unsigned holders = __ballot_sync(kAll, first == best);
  const uint32_t next = __reduce_max_sync(kAll, lane == __ffs(static_cast<int>(holders)) - 1 ? second : first);
  return key_of(value_of(best) + value_of(next));
}

// The row's scores, also as keys of score + bias where `keys` is given.
__device__ void score_row(const float* logits, const float* bias, int n, RouterScore score, float* scores,
                          uint32_t* keys) {
  const int lane = threadIdx.x % 32;
  float largest = -INFINITY, scale = 1;
  if (score == RouterScore::softmax) {
    for (int e = lane; e < n; e += 32) largest = fmaxf(largest, logits[e]);
    largest = warp_reduce(largest, Max{});
    float sum = 0;
    for (int e = lane; e < n; e += 32) {
      const float exponential = expf(logits[e] - largest);
      keys[e] = __float_as_uint(exponential);
      sum += exponential;
    }
    scale = 1 / warp_reduce(sum, Plus{});
  }
  for (int e = lane; e < n; e += 32) {
    const float s = score == RouterScore::softmax ? __uint_as_float(keys[e]) * scale : 1 / (1 + expf(-logits[e]));
    scores[e] = s;
    keys[e] = key_of(bias ? s + bias[e] : s);
  }
}

struct Forced {
  const int32_t* experts;  // or null
  tenon::cuda::FaultSlot outside, twice;
};

__global__ void __launch_bounds__(kMaxWarps * 32)
    route_kernel(const float* logits, const float* bias, int64_t tokens, int n, RoutingOptions o, Forced forced,
                 float* weights, int32_t* experts, float* scores) {
  const int lane = threadIdx.x % 32, warps = static_cast<int>(blockDim.x) / 32;
  const int64_t t = int64_t{blockIdx.x} * warps + threadIdx.x / 32;
  if (t >= tokens) return;
  uint32_t* keys = dynamic_shared<uint32_t>() + threadIdx.x / 32 * (n + o.n_group);
  uint32_t* marks = keys + n;
  const int k = o.top_k;
  weights += t * k;
  experts += t * k;
  scores += t * n;

  score_row(logits + t * n, bias, n, o.score, scores, keys);
  if (forced.experts) {
    const int32_t* given = forced.experts + t * k;
    for (int j = lane; j < k; j += 32) {
      const int32_t e = given[j];
      if (e < 0 || e >= n) report(forced.outside, e, t * k + j);
      for (int i = 0; i < j; ++i)
        if (given[i] == e) report(forced.twice, e, t * k + j);
      experts[j] = min(max(e, 0), n - 1);
    }
  } else {
    if (o.topk_group < o.n_group) {
      __syncwarp();
      const int size = n / o.n_group;
      for (int g = 0; g < o.n_group; ++g) {
        const uint32_t mark = mark_of(keys + g * size, size, o.score == RouterScore::sigmoid);
        if (lane == g % 32) marks[g] = mark;
      }
      choose(marks, o.n_group, o.topk_group, [](int, int) {});
      __syncwarp();
      for (int e = lane; e < n; e += 32)
        if (marks[e / size] != kNoCandidate) keys[e] = kNoCandidate;
    }
    choose(keys, n, k, [&](int j, int e) {
      if (lane == j % 32) experts[j] = e;
    });
  }

  __syncwarp();  // every lane's scores are there
  float sum = 0;
  for (int j = lane; j < k; j += 32) sum += scores[experts[j]];
  sum = warp_reduce(sum, Plus{}) + kTiny;
  const float factor = o.normalize ? o.scale / sum : o.scale;
  for (int j = lane; j < k; j += 32) weights[j] = scores[experts[j]] * factor;
}

// As on the CPU: ds of the chosen, then the derivative of the score.
__global__ void __launch_bounds__(kMaxWarps * 32)
    route_backward_kernel(const float* dweights, const int32_t* experts, const float* scores, int64_t tokens, int n,
                          RoutingOptions o, float* dlogits) {
  const int lane = threadIdx.x % 32, k = o.top_k;
  const int64_t t = int64_t{blockIdx.x} * kMaxWarps + threadIdx.x / 32;
  if (t >= tokens) return;
  dweights += t * k;
  experts += t * k;
  scores += t * n;
  dlogits += t * n;

  float sum = 0, dot = 0;
  for (int j = lane; j < k; j += 32) {
    const float s = scores[experts[j]];
    sum += s;
    dot += dweights[j] * s;
  }
  sum = warp_reduce(sum, Plus{}) + kTiny;
  dot = warp_reduce(dot, Plus{});
  const float shift = o.normalize ? dot / sum : 0, factor = o.normalize ? o.scale / sum : o.scale;

  float inner = 0;
  if (o.score == RouterScore::softmax) {
    for (int j = lane; j < k; j += 32) inner += factor * (dweights[j] - shift) * scores[experts[j]];
    inner = warp_reduce(inner, Plus{});
  }
  for (int e = lane; e < n; e += 32) dlogits[e] = o.score == RouterScore::softmax ? -scores[e] * inner : 0.0f;
  __syncwarp();  // the chosen ones are written again
  for (int j = lane; j < k; j += 32) {
    const int e = experts[j];
    const float s = scores[e], ds = factor * (dweights[j] - shift);
    dlogits[e] = o.score == RouterScore::softmax ? s * (ds - inner) : ds * s * (1 - s);
  }
}

}  // namespace

void route(Routing& routing, const Tensor& logits, const Tensor* selection_bias, const RoutingOptions& options,
           const Tensor* forced_experts) {
  const int64_t tokens = logits.dim(0), n = logits.dim(1);
  if (tokens == 0) return;
  // Fewer tokens a block where their keys would not fit: thousands of experts.
  const int64_t token_bytes = (n + options.n_group) * static_cast<int64_t>(sizeof(uint32_t));
  const int64_t warps = std::clamp<int64_t>((48 << 10) / token_bytes, 1, kMaxWarps);
  launch(route_kernel,
         {.grid = dim3(static_cast<unsigned>((tokens + warps - 1) / warps)),
          .block = dim3(static_cast<unsigned>(warps) * 32),
          .shared_bytes = static_cast<size_t>(warps * token_bytes)},
         logits.data<float>(), selection_bias ? selection_bias->data<float>() : nullptr, tokens, static_cast<int>(n),
         options,
         {forced_experts ? forced_experts->data<int32_t>() : nullptr, tenon::cuda::fault_slot("forced expert", n),
          tenon::cuda::fault_slot("one token is forced twice to expert", tenon::cuda::kNoBound)},
         routing.weights.data<float>(), routing.experts.data<int32_t>(), routing.scores.data<float>());
}

void route_backward(Tensor& dlogits, const Tensor& dweights, const Routing& routing, const RoutingOptions& options) {
  const int64_t tokens = dlogits.dim(0), n = dlogits.dim(1);
  if (tokens == 0) return;
  RoutingOptions o = options;
  o.top_k = static_cast<int>(routing.experts.dim(1));
  launch(route_backward_kernel,
         {.grid = dim3(static_cast<unsigned>((tokens + kMaxWarps - 1) / kMaxWarps)), .block = dim3(kMaxWarps * 32)},
         dweights.data<float>(), routing.experts.data<int32_t>(), routing.scores.data<float>(), tokens,
         static_cast<int>(n), o, dlogits.data<float>());
}

}  // namespace tenon::ops::cuda
