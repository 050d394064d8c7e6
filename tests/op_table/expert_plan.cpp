#include "../../ops/expert_plan.h"

#include "op_table.h"

namespace tenon::testing {
namespace {

ops::ExpertPlan plan_of(const Tensor& experts, const Problem& p) { return ops::plan_experts(experts, p[1], p[4]); }

/// Slots in the order of their rows, -1 for padding.
std::vector<int64_t> sorted_slots(const Array& experts, int64_t num_experts, int64_t block) {
  std::vector<int64_t> slots;
  for (int64_t e = 0; e < num_experts; ++e) {
    for (int64_t s = 0; s < experts.numel(); ++s)
      if (experts.integer(s) == e) slots.push_back(s);
    while (block > 0 && slots.size() % static_cast<size_t>(block) != 0) slots.push_back(-1);
  }
  return slots;
}

double slot_elements(const Problem& p) { return static_cast<double>(p[0] * p[2] * p[3]); }
double token_elements(const Problem& p) { return static_cast<double>(p[0] * p[3]); }

// Problem {tokens, experts, k, dim, block}.
OpCase permute_case() {
  return {
      .name = "permute",
      .shapes = {{1, 1, 1, 1, 0}, {9, 4, 2, 17, 0}, {9, 4, 2, 17, 16}, {70, 8, 3, 33, 64}, {0, 4, 2, 8, 0}},
      .bench_shape = {4096, 8, 2, 512, 0},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[3]})}, {"experts", draw.distinct({p[0], p[2]}, p[1])}};
          },
      .run =
          [](const Tensors& in) {
            return Tensors{{"y", ops::permute(in["x"], plan_of(in["experts"], in.problem))}};
          },
      .backward =
          [](Gradients& g) { g.give("x", ops::permute_backward(g.d("y"), plan_of(g.in("experts"), g.problem()))); },
      .reference =
          [](const Arrays& in) {
            const Problem& p = in.problem;
            const auto slots = sorted_slots(in["experts"], p[1], p[4]);
            Array y({static_cast<int64_t>(slots.size()), p[3]});
            for (size_t r = 0; r < slots.size(); ++r)
              for (int64_t c = 0; slots[r] >= 0 && c < p[3]; ++c)
                y.row(static_cast<int64_t>(r))[c] = in["x"].row(slots[r] / p[2])[c];
            return Arrays{{"y", y}};
          },
      // The forward copies. The gradient adds k numbers in f32 and rounds them once.
      .tolerance = {{DType::f32, 0, 1e-6}, {DType::bf16, 0, 3e-3}},
      .bytes = [](const Problem& p, double item) { return (token_elements(p) + slot_elements(p)) * item; },
      .backward_bytes = [](const Problem& p, double item) { return (token_elements(p) + slot_elements(p)) * item; },
  };
}

// y stands by slot here; a plan of one expert a slot puts it into the order of rows.
OpCase unpermute_case() {
  const auto by_slot = [](const Tensor& experts, const Problem& p) {
    return plan_of(experts.view({p[0] * p[2], 1}), p);
  };
  OpCase op = permute_case();
  op.name = "unpermute";
  op.inputs = [](Draw& draw, const Problem& p) {
    return Arrays{{"y", draw.normal({p[0] * p[2], p[3]})},
                  {"weights", as_f32(draw.uniform({p[0], p[2]}, 0.1, 1))},
                  {"experts", draw.distinct({p[0], p[2]}, p[1])}};
  };
  op.run = [by_slot](const Tensors& in) {
    Tensor sorted = ops::permute(in["y"], by_slot(in["experts"], in.problem));
    return Tensors{{"out", ops::unpermute(sorted, in["weights"], plan_of(in["experts"], in.problem))},
                   {"sorted", sorted}};
  };
  op.backward = [by_slot](Gradients& g) {
    auto [dy, dweights] =
        ops::unpermute_backward(g.d("out"), g.out("sorted"), g.in("weights"), plan_of(g.in("experts"), g.problem()));
    g.give("y", ops::permute_backward(dy, by_slot(g.in("experts"), g.problem())));
    g.give("weights", dweights);
  };
  op.reference = [](const Arrays& in) {
    const Problem& p = in.problem;
    Array out({p[0], p[3]});
    for (int64_t t = 0; t < p[0]; ++t)
      for (int64_t j = 0; j < p[2]; ++j)
        for (int64_t c = 0; c < p[3]; ++c) out.row(t)[c] += in["weights"][t * p[2] + j] * in["y"].row(t * p[2] + j)[c];
    return Arrays{{"out", out}};
  };
  // Sums of k or dim products in f32; bf16 rounds once.
  op.tolerance = {{DType::f32, 1e-6, 2e-6}, {DType::bf16, 3e-3, 3e-3}};
  op.flops = [](const Problem& p) { return 2 * slot_elements(p); };
  op.backward_bytes = [](const Problem& p, double item) { return (token_elements(p) + 2 * slot_elements(p)) * item; };
  op.backward_flops = [](const Problem& p) { return 3 * slot_elements(p); };
  return op;
}

}  // namespace

std::vector<OpCase> expert_plan_cases() { return {permute_case(), unpermute_case()}; }

}  // namespace tenon::testing
