#include "recompute.h"

#include "../runtime/check.h"
#include "graph.h"

namespace tenon {
namespace {

thread_local bool second_run = false;

// Recording on, for the second run inside a backward (which records nothing itself).
struct SecondRun {
  SecondRun() : before(second_run) { second_run = true; }
  ~SecondRun() { second_run = before; }
  bool before;
};

}  // namespace

bool recomputing() { return second_run; }

std::vector<Var> recompute(std::function<std::vector<Var>(const std::vector<Var>&)> segment, std::vector<Var> inputs) {
  if (!grad_enabled()) return segment(inputs);

  std::vector<Tensor> values;
  {
    NoGrad no_grad;
    for (const Var& v : segment(inputs)) values.push_back(v.value());
  }
  std::vector<SavedTensor> saved;
  std::vector<bool> wanted;
  for (const Var& v : inputs) {
    saved.push_back(v.saved());
    wanted.push_back(v.requires_grad());
  }
  const int outputs = static_cast<int>(values.size());
  return graph::record_always(
      "recompute", inputs, std::move(values),
      [segment = std::move(segment), saved = std::move(saved), wanted = std::move(wanted), outputs](GradContext& g) {
        const uint64_t oldest = graph::next_order();
        std::vector<Var> results;
        {
          graph::EnableGrad enable;
          SecondRun second;
          std::vector<Var> again;
          for (size_t i = 0; i < saved.size(); ++i) {
            const int input = static_cast<int>(i);
            // The inner graph's entrance hands its gradient straight to the outer one.
            again.push_back(wanted[i]
                                ? graph::record_always("recompute input", {}, {saved[i].get()},
                                                       [&g, input](GradContext& inner) { g.add(input, inner.dy()); })
                                      .front()
                                : Var(saved[i].get()));
          }
          results = segment(again);
        }
        check(static_cast<int>(results.size()) == outputs, "recompute: {} results at first, now {}", outputs,
              results.size());
        std::vector<Tensor> gradients(outputs);
        for (int i = 0; i < outputs; ++i)
          if (g.has_dy(i)) gradients[i] = g.dy(i);
        graph::run_backward(results, gradients, oldest);
      });
}

}  // namespace tenon
