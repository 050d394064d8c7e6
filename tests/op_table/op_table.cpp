#include "op_table.h"

#include <limits>

namespace tenon::testing {

// The list: every file of entries is declared and called here. Two lines an op.
std::vector<OpCase> elementwise_cases();
std::vector<OpCase> activations_cases();
std::vector<OpCase> reduce_cases();
std::vector<OpCase> cast_cases();
std::vector<OpCase> indexing_cases();
std::vector<OpCase> rms_norm_cases();
std::vector<OpCase> rope_cases();
std::vector<OpCase> swiglu_cases();
std::vector<OpCase> softmax_cases();
std::vector<OpCase> adamw_cases();
// products and experts
std::vector<OpCase> matmul_cases();
std::vector<OpCase> linear_cases();
std::vector<OpCase> grouped_linear_cases();
std::vector<OpCase> expert_plan_cases();
std::vector<OpCase> routing_cases();
std::vector<OpCase> router_losses_cases();
// attention, loss head and sampling
std::vector<OpCase> attention_cases();
std::vector<OpCase> loss_head_cases();
std::vector<OpCase> sampling_cases();
std::vector<OpCase> distill_head_cases();

const std::vector<OpCase>& op_table() {
  static const std::vector<OpCase> table = [] {
    std::vector<OpCase> all;
    const auto add = [&all](std::vector<OpCase> cases) {
      for (OpCase& c : cases) all.push_back(std::move(c));
    };
    add(elementwise_cases());
    add(activations_cases());
    add(reduce_cases());
    add(cast_cases());
    add(indexing_cases());
    add(rms_norm_cases());
    add(rope_cases());
    add(swiglu_cases());
    add(softmax_cases());
    add(adamw_cases());
    // products and experts
    add(matmul_cases());
    add(linear_cases());
    add(grouped_linear_cases());
    add(expert_plan_cases());
    add(routing_cases());
    add(router_losses_cases());
    // attention, loss head and sampling
    add(attention_cases());
    add(loss_head_cases());
    add(sampling_cases());
    add(distill_head_cases());
    return all;
  }();
  return table;
}

const OpCase* find_op(const std::string& name) {
  for (const OpCase& op : op_table())
    if (op.name == name) return &op;
  return nullptr;
}

Tensor& Gradients::buffer(const std::string& name) {
  if (!grads_.contains(name)) {
    const Tensor& x = in_[name];
    grads_.set(name, Tensor::full(x.shape(), std::numeric_limits<float>::quiet_NaN(), x.dtype(), x.device()));
  }
  return grads_[name];
}

Tensor& Gradients::sink(const std::string& name) {
  const Tensor& x = in_[name];
  if (!sinks_.contains(name)) sinks_.set(name, Tensor::full(x.shape(), kSinkStart, DType::f32, x.device()));
  return sinks_[name];
}

}  // namespace tenon::testing
