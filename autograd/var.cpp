#include "var.h"

#include <algorithm>
#include <atomic>

#include "../ops/cast.h"
#include "../ops/elementwise.h"
#include "../runtime/check.h"
#include "../runtime/cuda.h"
#include "../runtime/memory.h"
#include "graph.h"
#include "parameters.h"

namespace tenon {

namespace graph {
namespace {

thread_local bool recording = true;
std::atomic<uint64_t> nodes_made{1};

bool older(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) { return a->order < b->order; }

Edge edge_to(const Var& v, bool wanted) {
  check(v.defined(), "record: an input is an undefined Var");
  const VarState& state = *Pass::state(v);
  Edge edge{.shape = state.value.shape(), .dtype = state.value.dtype(), .device = state.value.device()};
  if (wanted) {
    edge.node = state.node;
    edge.output = state.output;
    edge.leaf = state.leaf;
  }
  return edge;
}

}  // namespace

// A long chain of nodes would otherwise be destroyed by as deep a recursion.
Node::~Node() {
  std::vector<std::shared_ptr<Node>> doomed;
  auto take_inputs = [&](Node& node) {
    for (Edge& e : node.inputs)
      if (e.node && e.node.use_count() == 1) doomed.push_back(std::move(e.node));
  };
  take_inputs(*this);
  while (!doomed.empty()) {
    std::shared_ptr<Node> node = std::move(doomed.back());
    doomed.pop_back();
    node->backward = nullptr;
    take_inputs(*node);
  }
}

Var Pass::make(std::shared_ptr<VarState> state) {
  Var v;
  v.state_ = std::move(state);
  return v;
}

Tensor& leaf_grad(Leaf& leaf, const Shape& shape, Device device) {
  if (leaf.parameter) return leaf.parameter->grad();
  if (!leaf.grad.defined()) {
    MemoryTag tag("gradients");
    leaf.grad = Tensor::zeros(shape, DType::f32, device);
  }
  return leaf.grad;
}

// `fresh`: nobody else holds the memory of `grad`.
void accumulate(Slot& slot, Tensor grad, bool fresh) {
  if (!slot.grad.defined()) {
    slot.grad = std::move(grad);
    slot.exclusive = fresh;
  } else if (slot.exclusive) {
    ops::add_into(slot.grad, grad);
  } else {
    slot.grad = ops::add(slot.grad, grad);
    slot.exclusive = true;
  }
}

void Pass::enqueue(const std::shared_ptr<Node>& node) {
  if (node->queued && !node->released) return;
  check(!node->released, "backward: the graph of '{}' was freed by an earlier backward", node->name);
  check(node->order >= oldest, "recompute: the segment uses the result of '{}', which is not among its inputs",
        node->name);
  node->queued = true;
  heap.push_back(node);
  std::push_heap(heap.begin(), heap.end(), older);
}

void Pass::seed(const Var& output, const Tensor& gradient) {
  const VarState& state = *Pass::state(output);
  check(gradient.shape() == state.value.shape(), "backward: a gradient {} for a value {}", gradient.shape(),
        state.value.shape());
  if (state.leaf) {
    ops::add_into(leaf_grad(*state.leaf, state.value.shape(), state.value.device()), gradient);
  } else if (state.node) {
    enqueue(state.node);
    Tensor g = gradient.dtype() == state.value.dtype() ? gradient : ops::cast(gradient, state.value.dtype());
    accumulate(state.node->slots[state.output], g.contiguous(), /*fresh=*/false);
  }
}

void Pass::run() {
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), older);
    std::shared_ptr<Node> node = std::move(heap.back());
    heap.pop_back();
    GradContext context(*node, *this);
    try {
      node->backward(context);
      context.flush();
    } catch (const Error& e) {
      throw Error(std::string("backward of ") + node->name + ": " + e.what());
    }
    node->released = true;
    node->backward = nullptr;
    node->slots.clear();
    node->inputs.clear();
  }
}

EnableGrad::EnableGrad() : before_(recording) { recording = true; }
EnableGrad::~EnableGrad() { recording = before_; }

uint64_t next_order() { return nodes_made.load(std::memory_order_relaxed); }

std::vector<Var> record_always(const char* name, const std::vector<Var>& inputs, std::vector<Tensor> values,
                               Backward backward) {
  auto node = std::make_shared<Node>();
  node->name = name;
  node->order = nodes_made.fetch_add(1, std::memory_order_relaxed);
  node->inputs.reserve(inputs.size());
  for (const Var& v : inputs) node->inputs.push_back(edge_to(v, true));
  node->backward = std::move(backward);
  node->slots.resize(values.size());
  std::vector<Var> out;
  out.reserve(values.size());
  node->outputs.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    node->outputs.push_back({.shape = values[i].shape(), .dtype = values[i].dtype(), .device = values[i].device()});
    auto state = std::make_shared<VarState>();
    state->value = std::move(values[i]);
    state->node = node;
    state->output = static_cast<int>(i);
    out.push_back(Pass::make(std::move(state)));
  }
  return out;
}

void run_backward(const std::vector<Var>& outputs, const std::vector<Tensor>& gradients, uint64_t oldest) {
  check(outputs.size() == gradients.size(), "backward: {} outputs with {} gradients", outputs.size(), gradients.size());
  NoGrad no_grad;
  MemoryTag tag("activations");
  Pass pass;
  pass.oldest = oldest;
  for (size_t i = 0; i < outputs.size(); ++i)
    if (gradients[i].defined()) pass.seed(outputs[i], gradients[i]);
  pass.run();
}

}  // namespace graph

const Tensor& SavedTensor::get() const {
  check(!tensor_.defined() || tensor_.version() == version_,
        "a tensor {} {} kept for the backward was changed in place since (version {}, now {})", name(tensor_.dtype()),
        tensor_.shape(), version_, tensor_.version());
  return tensor_;
}

Var::Var(Tensor value, bool requires_grad) : state_(std::make_shared<graph::VarState>()) {
  check(value.defined(), "Var: the tensor is undefined");
  check(!requires_grad || is_floating(value.dtype()), "Var: a gradient of {} is undefined", name(value.dtype()));
  state_->value = std::move(value);
  if (requires_grad) state_->leaf = std::make_shared<graph::Leaf>();
}

const Tensor& Var::value() const {
  check(state_ != nullptr, "Var: used while undefined");
  return state_->value;
}

bool Var::requires_grad() const { return state_ && (state_->node || state_->leaf); }

Tensor Var::grad() const {
  if (!state_ || !state_->leaf) return {};
  return state_->leaf->parameter ? state_->leaf->parameter->grad() : state_->leaf->grad;
}

void Var::zero_grad() {
  if (state_ && state_->leaf) {
    Tensor grad = this->grad();
    if (grad.defined()) ops::fill(grad, 0);
  }
}

Parameter* Var::parameter() const { return state_ ? state_->parameter : nullptr; }

const Tensor& GradContext::dy(int output) const {
  graph::Slot& slot = node_.slots.at(output);
  if (!slot.grad.defined()) {
    const graph::Edge& meta = node_.outputs[output];
    slot.grad = Tensor::zeros(meta.shape, meta.dtype, meta.device);
  }
  return slot.grad;
}

bool GradContext::has_dy(int output) const { return node_.slots.at(output).grad.defined(); }

bool GradContext::needs(int input) const { return node_.inputs.at(input).wanted(); }

void GradContext::add(int input, Tensor grad) {
  const graph::Edge& edge = node_.inputs.at(input);
  if (!edge.wanted()) return;
  check(grad.defined() && grad.shape() == edge.shape, "the gradient of input {} is {}, its value {}", input,
        grad.defined() ? grad.shape().str() : "undefined", edge.shape);
  if (edge.leaf) {
    ops::add_into(graph::leaf_grad(*edge.leaf, edge.shape, edge.device), grad.contiguous());
    return;
  }
  pass_.enqueue(edge.node);
  const bool converts = grad.dtype() != edge.dtype;
  graph::accumulate(edge.node->slots[edge.output], converts ? ops::cast(grad, edge.dtype) : grad.contiguous(),
                    converts);
}

Tensor& GradContext::scratch(int input, const Shape& shape, DType dtype, Device device, bool zero) {
  pending_.push_front({input, zero ? Tensor::zeros(shape, dtype, device) : Tensor::empty(shape, dtype, device)});
  return pending_.front().tensor;
}

Tensor& GradContext::sink(int input) {
  const graph::Edge& edge = node_.inputs.at(input);
  if (edge.leaf) return graph::leaf_grad(*edge.leaf, edge.shape, edge.device);
  return scratch(input, edge.shape, DType::f32, edge.device, /*zero=*/true);
}

GradContext::Target GradContext::target(int input) {
  const graph::Edge& edge = node_.inputs.at(input);
  if (!edge.wanted()) return {scratch(input, edge.shape, edge.dtype, edge.device, false), 0};
  if (edge.leaf) {
    if (edge.dtype == DType::f32) return {graph::leaf_grad(*edge.leaf, edge.shape, edge.device), 1};
    return {scratch(input, edge.shape, edge.dtype, edge.device, false), 0};
  }
  pass_.enqueue(edge.node);
  graph::Slot& slot = edge.node->slots[edge.output];
  if (!slot.grad.defined()) {
    slot.grad = Tensor::empty(edge.shape, edge.dtype, edge.device);
    slot.exclusive = true;
    return {slot.grad, 0};
  }
  if (!slot.exclusive) {
    slot.grad = slot.grad.clone();
    slot.exclusive = true;
  }
  return {slot.grad, 1};
}

void GradContext::flush() {
  for (Pending& p : pending_) add(p.input, std::move(p.tensor));
  pending_.clear();
}

std::vector<Var> record_many(const char* name, std::vector<Var> inputs, std::vector<Tensor> values, Backward backward) {
  bool wanted = false;
  if (graph::recording)
    for (const Var& v : inputs) wanted |= v.requires_grad();
  if (wanted) return graph::record_always(name, inputs, std::move(values), std::move(backward));
  std::vector<Var> out;
  out.reserve(values.size());
  for (Tensor& value : values) out.emplace_back(std::move(value));
  return out;
}

Var record(const char* name, std::vector<Var> inputs, Tensor value, Backward backward) {
  std::vector<Tensor> values;
  values.push_back(std::move(value));
  return std::move(record_many(name, std::move(inputs), std::move(values), std::move(backward)).front());
}

void backward(const Var& loss, float seed) {
  const cuda::Stage stage("backward");
  check(loss.defined() && loss.numel() == 1, "backward: the loss must be one number, got {}",
        loss.defined() ? loss.shape().str() : "an undefined Var");
  check(loss.requires_grad(), "backward: nothing that the loss depends on requires a gradient");
  graph::run_backward({loss}, {Tensor::full(loss.shape(), seed, loss.dtype(), loss.device())}, 0);
}

void backward(const std::vector<Var>& outputs, const std::vector<Tensor>& gradients) {
  const cuda::Stage stage("backward");
  graph::run_backward(outputs, gradients, 0);
}

NoGrad::NoGrad() : before_(graph::recording) { graph::recording = false; }
NoGrad::~NoGrad() { graph::recording = before_; }
bool grad_enabled() { return graph::recording; }

}  // namespace tenon
