// Mixtures of experts on a GPU, the real or the emulated one, where the op table does not look: the plan itself, ties
// of the choice, padding, what each tile gives, and values out of range.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "../../ops/cast.h"
#include "../../ops/moe.h"
#include "../../runtime/cuda.h"
#include "../../runtime/random.h"
#include "../expect_error.h"

namespace tenon {
namespace {

class CudaExperts : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Device::best().is_cpu()) GTEST_SKIP() << "no GPU";
  }
  const Device device = Device::cuda();
};

Tensor experts_of(int64_t slots, int64_t k, uint64_t experts, uint64_t seed) {
  Rng rng(seed);
  std::vector<int32_t> chosen(static_cast<size_t>(slots));
  for (int32_t& e : chosen) e = static_cast<int32_t>(rng.below(experts));
  return Tensor::from(chosen, {slots / k, k});
}

Tensor values(const Shape& shape, DType dtype, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(static_cast<size_t>(shape.numel()));
  for (float& v : x) v = rng.normal();
  return ops::cast(Tensor::from(x, shape), dtype);
}

std::vector<float> floats(const Tensor& x) { return ops::cast(x.to(Device::cpu()), DType::f32).to_vector<float>(); }

void expect_near(const Tensor& got, const Tensor& wanted, float tolerance, const char* what) {
  const auto a = floats(got), b = floats(wanted);
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance * (1 + std::abs(b[i]))) << what << " " << i;
}

TEST_F(CudaExperts, APlanIsTheCpusWithPaddingBehind) {
  // One chunk and several, one slot and none, more experts than a block's counters have room for.
  const struct {
    int64_t slots, k, experts, block;
  } cases[] = {{0, 2, 4, 8}, {1, 1, 3, 64}, {66, 2, 5, 1}, {4096, 4, 33, 16}, {9001, 1, 130, 64}, {4500, 3, 3000, 4}};
  for (const auto& c : cases) {
    SCOPED_TRACE(c.slots);
    const Tensor experts = experts_of(c.slots, c.k, static_cast<uint64_t>(c.experts), 3);
    const ops::ExpertPlan wanted = ops::plan_experts(experts, c.experts, c.block),
                          plan = ops::plan_experts(experts.to(device), c.experts, c.block);
    EXPECT_EQ(plan.rows, (c.slots + std::min(c.slots, c.experts) * (c.block - 1) + c.block - 1) / c.block * c.block);
    EXPECT_EQ(plan.offsets.to_vector<int32_t>(), wanted.offsets.to_vector<int32_t>());
    EXPECT_EQ(plan.counts.to_vector<int32_t>(), wanted.counts.to_vector<int32_t>());
    EXPECT_EQ(plan.slot_row.to_vector<int32_t>(), wanted.slot_row.to_vector<int32_t>());
    auto row_slot = wanted.row_slot.to_vector<int32_t>();
    row_slot.resize(static_cast<size_t>(plan.rows), -1);
    EXPECT_EQ(plan.row_slot.to_vector<int32_t>(), row_slot);
  }
  EXPECT_EQ(ops::plan_experts(experts_of(32, 2, 8, 1).to(device), 8).block, 16);
  EXPECT_EQ(ops::plan_experts(experts_of(34, 2, 8, 1).to(device), 8).block, 64);
}

TEST_F(CudaExperts, OfEqualScoresTheLowerIndexIsChosen) {
  Rng rng(5);
  const int64_t tokens = 20, experts = 72;
  std::vector<float> logits(static_cast<size_t>(tokens * experts)), bias(static_cast<size_t>(experts));
  for (float& x : logits) x = static_cast<float>(rng.below(3)) * (rng.below(2) ? 1.0f : -1.0f);
  for (size_t e = 0; e < bias.size(); ++e) bias[e] = e % 7 == 0 ? 1.0f : 0.0f;
  logits[5] = logits[6] = std::numeric_limits<float>::infinity();  // NaN scores of a softmax: the last to be taken
  const Tensor x = Tensor::from(logits, {tokens, experts}), b = Tensor::from(bias, {experts});
  const Tensor x_there = x.to(device), b_there = b.to(device);
  for (const auto score : {ops::RouterScore::softmax, ops::RouterScore::sigmoid})
    for (const int groups : {1, 8, 36}) {
      const ops::RoutingOptions options{.top_k = 6, .score = score, .n_group = groups, .topk_group = (groups + 1) / 2};
      const auto here = ops::route(x, &b, options), there = ops::route(x_there, &b_there, options);
      EXPECT_EQ(there.experts.to_vector<int32_t>(), here.experts.to_vector<int32_t>()) << groups;
    }
}

TEST_F(CudaExperts, ForcedExpertsAreTakenAsTheyAre) {
  const Tensor logits = values({20, 9}, DType::f32, 1), forced = ops::route(logits, nullptr, {.top_k = 4}).experts;
  const Tensor other = values({20, 9}, DType::f32, 2);
  const Tensor forced_there = forced.to(device);
  const auto here = ops::route(other, nullptr, {.top_k = 4}, &forced),
             there = ops::route(other.to(device), nullptr, {.top_k = 4}, &forced_there);
  EXPECT_EQ(there.experts.to_vector<int32_t>(), forced.to_vector<int32_t>());
  expect_near(there.weights, here.weights, 1e-6f, "weights");
}

// Few rows an expert, some and many take different tiles, of which long sums have the widest; a row's bits are the same
// in all.
TEST_F(CudaExperts, ARowsBitsDoNotDependOnTheOthers) {
  const struct { int64_t in, out; } cases[] = {{136, 40}, {520, 264}, {264, 520}};
  for (const auto& [in, out] : cases) {
    const int64_t experts = 2;
    const Tensor w = values({experts, out, in}, DType::bf16, 1).to(device);
    const Tensor x = values({400, in}, DType::bf16, 2).to(device), dy = values({400, out}, DType::bf16, 3).to(device);
    const Tensor chosen = experts_of(400, 1, 2, 4).to(device);
    const auto products = [&](int64_t rows, int64_t block) {
      const ops::ExpertPlan plan = ops::plan_experts(chosen.slice(0, 0, rows), experts, block);
      const Tensor ones = Tensor::full({rows, 1}, 1, DType::f32, device);
      const Tensor y = ops::grouped_linear(ops::permute(x.slice(0, 0, rows), plan), w, plan);
      Tensor dx = Tensor::full({plan.rows, in}, 1, DType::f32, device);
      ops::grouped_linear_backward_input(dx, 1, ops::permute(dy.slice(0, 0, rows), plan), w, plan);
      return std::pair(floats(ops::unpermute(y, ones, plan)), floats(ops::unpermute(dx, ones, plan)));
    };
    const auto all = products(400, 0);
    for (const int64_t rows : {3, 17, 100})
      for (const int64_t block : {0, 5}) {
        const auto some = products(rows, block);
        SCOPED_TRACE(::testing::Message() << out << " x " << in << ", rows " << rows << ", block " << block);
        EXPECT_EQ(std::memcmp(some.first.data(), all.first.data(), some.first.size() * sizeof(float)), 0);
        EXPECT_EQ(std::memcmp(some.second.data(), all.second.data(), some.second.size() * sizeof(float)), 0);
      }
  }
}

TEST_F(CudaExperts, AnExpertOfManyRowsHasTheCpusGradient) {
  const int64_t in = 264, out = 72, rows = 2056;
  const Tensor x = values({rows, in}, DType::bf16, 1), dy = values({rows, out}, DType::bf16, 2);
  const Tensor chosen = Tensor::full({rows, 1}, 0, DType::i32);
  Tensor dw = Tensor::full({1, out, in}, 0.25f, DType::f32), dw_there = dw.to(device);
  ops::grouped_linear_backward_weight(dw, dy, x, ops::plan_experts(chosen, 1, 1));
  ops::grouped_linear_backward_weight(dw_there, dy.to(device), x.to(device),
                                      ops::plan_experts(chosen.to(device), 1, 1));
  expect_near(dw_there, dw, 1e-4f, "dw");
}

// Every combination of types, results that are added to, and padding whose contents do not matter.
TEST_F(CudaExperts, ProductsOfEveryTypeClearTheirPadding) {
  using enum DType;
  for (const int64_t in : {40, 37}) {
    const int64_t out = 72, experts = 3, rows = 50;
    const Tensor chosen = experts_of(rows, 1, 2, 4);
    for (const int64_t block : {16, 3}) {
      const ops::ExpertPlan here = ops::plan_experts(chosen, experts, block),
                            there = ops::plan_experts(chosen.to(device), experts, block);
      // Rows of the CPU's plan, with NaN in the padding, and behind them.
      const auto spread = [&](Tensor x) {
        auto numbers = floats(x);
        const auto slots = there.row_slot.to_vector<int32_t>();
        const size_t dim = static_cast<size_t>(x.dim(1));
        numbers.resize(slots.size() * dim);
        for (size_t r = 0; r < slots.size(); ++r)
          if (slots[r] < 0) std::fill_n(numbers.begin() + static_cast<long>(r * dim), dim, std::nanf(""));
        return ops::cast(Tensor::from(numbers, {there.rows, x.dim(1)}), x.dtype()).to(device);
      };
      const auto compare = [&](const Tensor& got, const Tensor& wanted, float tolerance, const char* what) {
        expect_near(got.slice(0, 0, here.rows).contiguous(), wanted, tolerance, what);
        for (const float v : floats(got.slice(0, here.rows, there.rows).contiguous())) ASSERT_EQ(v, 0) << what;
      };
      for (const auto& [x_type, w_type] : {std::pair{f32, f32}, {f32, bf16}, {bf16, bf16}}) {
        SCOPED_TRACE(name(x_type));
        const float tolerance = x_type == bf16 ? 0.02f : 1e-4f;
        const Tensor x = ops::permute(values({rows, in}, x_type, 1), here);
        const Tensor dy = ops::permute(values({rows, out}, x_type, 2), here);
        const Tensor w = values({experts, out, in}, w_type, 3), w_there = w.to(device);
        compare(ops::grouped_linear(spread(x), w_there, there), ops::grouped_linear(x, w, here), tolerance, "y");
        for (const DType dx_type : {f32, x_type})
          for (const float beta : {0.0f, 1.0f}) {
            Tensor dx = beta == 0 ? Tensor::full({here.rows, in}, 3, dx_type)
                                  : ops::permute(values({rows, in}, dx_type, 4), here);
            Tensor dx_there = Tensor::full({there.rows, in}, beta == 0 ? std::nanf("") : 0, dx_type, device);
            if (beta != 0) {
              auto numbers = floats(dx);
              numbers.resize(static_cast<size_t>(there.rows * in));
              dx_there = ops::cast(Tensor::from(numbers, {there.rows, in}), dx_type).to(device);
            }
            ops::grouped_linear_backward_input(dx, beta, dy, w, here);
            ops::grouped_linear_backward_input(dx_there, beta, spread(dy), w_there, there);
            compare(dx_there, dx, tolerance, "dx");
          }
      }
      for (const auto& [dy_type, x_type] : {std::pair{f32, f32}, {f32, bf16}, {bf16, f32}, {bf16, bf16}}) {
        const Tensor x = ops::permute(values({rows, in}, x_type, 1), here);
        const Tensor dy = ops::permute(values({rows, out}, dy_type, 2), here);
        Tensor dw = Tensor::full({experts, out, in}, 0.25f, f32), dw_there = dw.to(device);
        ops::grouped_linear_backward_weight(dw, dy, x, here);
        ops::grouped_linear_backward_weight(dw_there, spread(dy), spread(x), there);
        expect_near(dw_there, dw, 1e-4f, "dw");
      }
    }
  }
}

TEST_F(CudaExperts, NothingWaitsForThePlan) {
  const Tensor logits = values({12, 6}, DType::f32, 1).to(device), x = values({12, 16}, DType::f32, 2).to(device);
  const Tensor w = values({6, 8, 16}, DType::f32, 3).to(device);
  const uint64_t before = cuda::synchronizations();
  const ops::Routing routing = ops::route(logits, nullptr, {.top_k = 2});
  const ops::ExpertPlan plan = ops::plan_experts(routing.experts, 6);
  const Tensor y = ops::unpermute(ops::grouped_linear(ops::permute(x, plan), w, plan), routing.weights, plan);
  const auto [loss, load] = ops::load_balancing_loss(logits, routing.experts, 6);
  EXPECT_EQ(cuda::synchronizations(), before);
  EXPECT_EQ(load.to_vector<int32_t>(), plan.counts.to_vector<int32_t>());
}

TEST_F(CudaExperts, ValuesOutOfRangeAreReportedAndDoNoHarm) {
  const Tensor experts = Tensor::from<int32_t>({0, 2, 5, 1, 1, 0}, {3, 2}).to(device);
  const ops::ExpertPlan plan = ops::plan_experts(experts, 3, 4);
  EXPECT_ERROR(plan.counts.to_vector<int32_t>(), "plan_experts: expert 5 at place 2 is outside [0, 3)");
  EXPECT_EQ(plan.counts.to_vector<int32_t>(), (std::vector<int32_t>{2, 2, 1}));
  EXPECT_EQ(plan.slot_row.to_vector<int32_t>(), (std::vector<int32_t>{0, 8, -1, 4, 5, 1}));
  const Tensor x = Tensor::from<float>({1, 2, 3}, {3, 1}).to(device);
  const Tensor ones = Tensor::full({3, 2}, 1, DType::f32, device), rows = ops::permute(x, plan);
  EXPECT_EQ(ops::unpermute(rows, ones, plan).to_vector<float>(), (std::vector<float>{2, 2, 6}));
  const auto [dy, dweights] = ops::unpermute_backward(x, rows, ones, plan);
  EXPECT_EQ(dweights.to_vector<float>(), (std::vector<float>{1, 1, 0, 4, 9, 9}));

  const Tensor logits = values({3, 6}, DType::f32, 1).to(device);
  const Tensor outside = Tensor::from<int32_t>({0, 1, 2, 3, 6, 1}, {3, 2}).to(device),
               twice = Tensor::from<int32_t>({0, 1, 2, 2, 4, 1}, {3, 2}).to(device);
  ops::route(logits, nullptr, {.top_k = 2}, &outside);
  EXPECT_ERROR(cuda::synchronize(device), "route: forced expert 6 at place 4 is outside [0, 6)");
  ops::route(logits, nullptr, {.top_k = 2}, &twice);
  EXPECT_ERROR(cuda::synchronize(device), "route: one token is forced twice to expert 2 at place 3");

  ops::load_balancing_loss(logits, outside, 6);
  EXPECT_ERROR(cuda::synchronize(device), "load_balancing_loss: expert 6 at place 4 is outside [0, 6)");
  const Tensor starts = Tensor::from<int32_t>({0, 2, 1}, {3}).to(device);
  ops::sequence_balance_loss(logits, twice, starts, ops::RouterScore::softmax);
  EXPECT_ERROR(cuda::synchronize(device), "sequence_balance_loss: cu_seqlens does not rise from 0", "1 at place 2");
}

}  // namespace
}  // namespace tenon
