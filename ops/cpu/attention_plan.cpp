#include "attention_plan.h"

#include <algorithm>
#include <numeric>

#include "../../runtime/threads.h"

namespace tenon::ops::cpu {

QueryPlan plan_queries(const std::vector<Sequence>& sequences, int64_t kv_heads, int64_t block,
                       const AttentionOptions& options, const std::function<int64_t(int64_t)>& shares_of_cost) {
  QueryPlan plan;
  std::vector<int64_t> cost;
  int64_t total = 0;
  for (size_t b = 0; b < sequences.size(); ++b) {
    const Sequence& s = sequences[b];
    for (int64_t g = 0; g < kv_heads; ++g) {
      for (int64_t first = 0; first < s.q_len; first += block) {
        const int64_t last = std::min(first + block, s.q_len);
        const BlockRange range = visible_blocks(s, first, last, options);
        plan.blocks.push_back({static_cast<int32_t>(b), static_cast<int32_t>(g), first, last});
        cost.push_back((range.end - range.begin) * (last - first + 4));  // a block is packed, whatever meets it
        total += cost.back();
      }
    }
  }
  const int64_t shares = shares_of_cost(total);
  plan.share.assign(1, 0);
  int64_t sum = 0;
  for (size_t i = 0; i < cost.size(); ++i) {
    sum += cost[i];
    while (static_cast<int64_t>(plan.share.size()) < shares &&
           sum * shares >= total * static_cast<int64_t>(plan.share.size()))
      plan.share.push_back(static_cast<int64_t>(i) + 1);
  }
  plan.share.resize(shares + 1, static_cast<int64_t>(cost.size()));
  plan.share.back() = static_cast<int64_t>(cost.size());
  return plan;
}

int64_t shares_of(int64_t multiply_adds) { return std::clamp<int64_t>(multiply_adds / 500'000, 1, num_threads()); }

std::vector<std::vector<int64_t>> spread_by_cost(const std::vector<int64_t>& cost, int64_t shares) {
  std::vector<int64_t> order(cost.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return cost[a] > cost[b]; });
  std::vector<std::vector<int64_t>> lists(shares);
  std::vector<int64_t> load(shares, 0);
  for (int64_t item : order) {
    const auto least = std::min_element(load.begin(), load.end()) - load.begin();
    lists[least].push_back(item);
    load[least] += cost[item];
  }
  return lists;
}

}  // namespace tenon::ops::cpu
