#include "../../ops/expert_plan.h"

#include "../../ops/indexing.h"
#include "op_table.h"

namespace tenon::testing {
namespace {

ops::ExpertPlan plan_of(const Tensor& experts, const Problem& p) { return ops::plan_experts(experts, p[1], p[4]); }

/// A plan of one expert a slot: what it permutes and permutes back stands by slot instead of by row.
ops::ExpertPlan plan_of_slots(const Tensor& experts, const Problem& p) {
  return plan_of(experts.view({p[0] * p[2], 1}), p);
}

double slot_elements(const Problem& p) { return static_cast<double>(p[0] * p[2] * p[3]); }
double token_elements(const Problem& p) { return static_cast<double>(p[0] * p[3]); }

// Problem {tokens, experts, k, dim, block}. How many rows there are depends on the device, so the rows are compared by
// slot.
OpCase permute_case() {
  return {
      .name = "permute",
      .shapes = {{1, 1, 1, 1, 0},
                 {9, 4, 2, 17, 0},
                 {9, 4, 2, 17, 16},
                 {70, 8, 3, 33, 64},
                 {33, 40, 6, 136, 2},
                 {31, 5, 1, 1096, 0},
                 {0, 4, 2, 8, 0}},
      .bench_shape = {4096, 8, 2, 512, 0},
      .gpu_shape = {16384, 64, 8, 1024, 64},
      .inputs =
          [](Draw& draw, const Problem& p) {
            return Arrays{{"x", draw.normal({p[0], p[3]})}, {"experts", draw.distinct({p[0], p[2]}, p[1])}};
          },
      .run =
          [](const Tensors& in) {
            const ops::ExpertPlan plan = plan_of(in["experts"], in.problem);
            return Tensors{{"y", ops::gather_rows(ops::permute(in["x"], plan), plan.slot_row)}};
          },
      .backward =
          [](Gradients& g) {
            const Tensor dxp = ops::permute(g.d("y"), plan_of_slots(g.in("experts"), g.problem()));
            g.give("x", ops::permute_backward(dxp, plan_of(g.in("experts"), g.problem())));
          },
      .reference =
          [](const Arrays& in) {
            const Problem& p = in.problem;
            Array y({p[0] * p[2], p[3]});
            for (int64_t s = 0; s < p[0] * p[2]; ++s)
              for (int64_t c = 0; c < p[3]; ++c) y.row(s)[c] = in["x"].row(s / p[2])[c];
            return Arrays{{"y", y}};
          },
      // The forward copies. The gradient adds k numbers in f32 and rounds them once.
      .tolerance = {{DType::f32, 0, 1e-6}, {DType::bf16, 0, 3e-3}},
      .bytes = [](const Problem& p, double item) { return (token_elements(p) + 3 * slot_elements(p)) * item; },
      .backward_bytes = [](const Problem& p, double item) { return (token_elements(p) + 3 * slot_elements(p)) * item; },
  };
}

// y stands by slot here, and is put into the order of rows first.
OpCase unpermute_case() {
  OpCase op = permute_case();
  op.name = "unpermute";
  op.inputs = [](Draw& draw, const Problem& p) {
    return Arrays{{"y", draw.normal({p[0] * p[2], p[3]})},
                  {"weights", as_f32(draw.uniform({p[0], p[2]}, 0.1, 1))},
                  {"experts", draw.distinct({p[0], p[2]}, p[1])}};
  };
  op.run = [](const Tensors& in) {
    Tensor sorted = ops::permute(in["y"], plan_of_slots(in["experts"], in.problem));
    return Tensors{{"out", ops::unpermute(sorted, in["weights"], plan_of(in["experts"], in.problem))},
                   {"sorted", sorted}};
  };
  op.backward = [](Gradients& g) {
    auto [dy, dweights] =
        ops::unpermute_backward(g.d("out"), g.out("sorted"), g.in("weights"), plan_of(g.in("experts"), g.problem()));
    g.give("y", ops::permute_backward(dy, plan_of_slots(g.in("experts"), g.problem())));
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
  op.own_layout = {"sorted"};
  // Sums of k or dim products in f32; bf16 rounds once.
  op.tolerance = {{DType::f32, 1e-6, 2e-6}, {DType::bf16, 3e-3, 3e-3}};
  op.flops = [](const Problem& p) { return 2 * slot_elements(p); };
  op.backward_bytes = [](const Problem& p, double item) { return (token_elements(p) + 4 * slot_elements(p)) * item; };
  op.backward_flops = [](const Problem& p) { return 3 * slot_elements(p); };
  return op;
}

}  // namespace

std::vector<OpCase> expert_plan_cases() { return {permute_case(), unpermute_case()}; }

}  // namespace tenon::testing
