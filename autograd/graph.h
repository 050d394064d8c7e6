// The graph behind Var. Internal to autograd/: ops use `record`, and `Pass` runs one backward.
#pragma once

#include <vector>

#include "var.h"

namespace tenon::graph {

/// Where the gradient of a leaf is summed.
struct Leaf {
  Parameter* parameter = nullptr;  // its gradient, or else
  Tensor grad;
};

/// From an op to one of its inputs. Neither node nor leaf: no gradient is wanted.
struct Edge {
  std::shared_ptr<Node> node = {};
  int output = 0;
  std::shared_ptr<Leaf> leaf = {};
  Shape shape;
  DType dtype = DType::f32;
  Device device;
  bool wanted() const { return node || leaf; }
};

struct VarState {
  Tensor value;
  std::shared_ptr<Node> node;
  int output = 0;
  std::shared_ptr<Leaf> leaf;
  Parameter* parameter = nullptr;  // whose value this is, frozen or not
};

/// The gradient of one output while a backward is under way.
struct Slot {
  Tensor grad;
  bool exclusive = false;  // nobody else sees this memory, so it may be added to in place
};

struct Node {
  const char* name = "";
  uint64_t order = 0;  // creation count: larger than that of every node it depends on
  bool queued = false;
  bool released = false;
  std::vector<Edge> inputs;
  std::vector<Slot> slots;    // one an output
  std::vector<Edge> outputs;  // shapes and dtypes only
  Backward backward;
  ~Node();
};

/// One run of backward: a heap of nodes, latest first, which is a topological order.
struct Pass {
  uint64_t oldest = 0;  // nodes made before this are not part of the pass
  std::vector<std::shared_ptr<Node>> heap;

  void seed(const Var& output, const Tensor& gradient);
  void run();
  void enqueue(const std::shared_ptr<Node>& node);
  static Var make(std::shared_ptr<VarState> state);
  static const std::shared_ptr<VarState>& state(const Var& v) { return v.state_; }
};

void accumulate(Slot& slot, Tensor grad, bool fresh);
Tensor& leaf_grad(Leaf& leaf, const Shape& shape, Device device);

/// Records even when no input requires a gradient, for segments whose parameters are not among their inputs.
std::vector<Var> record_always(const char* name, const std::vector<Var>& inputs, std::vector<Tensor> values,
                               Backward backward);
/// Turns recording on within a backward.
class EnableGrad {
 public:
  EnableGrad();
  ~EnableGrad();

 private:
  bool before_;
};
/// The creation count of the next node.
uint64_t next_order();
void run_backward(const std::vector<Var>& outputs, const std::vector<Tensor>& gradients, uint64_t oldest);

}  // namespace tenon::graph
