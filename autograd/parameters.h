// Parameters and the store that owns them.
//
// A parameter has a value in the dtype that the model computes in, an f32 master that the optimizer updates (bf16 loses
// updates of 1e-6 on weights of 0.02; when the value is f32 both are one), an f32 gradient made on first use, and
// copies packed for products, made when asked for and again after each change. A frozen parameter has neither master
// nor gradient. Names are those of Hugging Face checkpoints.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "../ops/packed_weight.h"
#include "var.h"

namespace tenon {

/// Which ranks share a parameter, and so over which its gradient is reduced.
enum class ParamGroup { dense, expert };

class Parameter;

/// What LoRA (Hu et al. 2021, arXiv 2106.09685) adds to a weight `[out, in]`: linear() computes x W^T + scale (x A^T)
/// B^T.
struct LowRank {
  Parameter* a = nullptr;  // [r, in]
  Parameter* b = nullptr;  // [out, r]
  float scale = 1;
};

class Parameter {
 public:
  /// `zero` false: there is no value until one is assigned or adopted.
  Parameter(std::string name, const Shape& shape, DType dtype, Device device, ParamGroup group, bool trainable,
            bool zero = true);
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  const std::string& name() const { return name_; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }  // of the value
  Device device() const { return device_; }
  const Tensor& value() const { return value_; }
  /// f32; the value itself when that is f32. A frozen bf16 parameter gets one on first use.
  Tensor& master();
  /// f32, zeros when made.
  Tensor& grad();
  bool has_grad() const { return grad_.defined(); }
  /// Frees the gradient's memory.
  void drop_grad() { grad_ = Tensor(); }

  bool trainable() const { return trainable_; }
  /// Freezing frees the master and the gradient: what the value's dtype rounds away is lost with them.
  void set_trainable(bool trainable);
  ParamGroup group() const { return group_; }
  /// Whether weight decay applies: to matrices, not to norms and biases.
  bool decays() const { return shape_.rank() >= 2; }

  /// The value as a leaf of the graph; it requires a gradient while the parameter is trainable.
  const Var& var();
  /// Counts changes.
  uint64_t version() const { return version_; }
  /// To be called after writing into `value()` or `master()` directly.
  void changed();
  /// Sets the value, and where the parameter is trainable what a narrower value loses of an f32 tensor in the master;
  /// any float dtype, the parameter's shape.
  void assign(const Tensor& tensor);
  /// The same for element `i` of the first dimension: an expert of a stack.
  void assign_element(int64_t i, const Tensor& tensor);
  /// The same, taking the tensor's own memory for value or master where its dtype and device are theirs: nothing is
  /// copied, and the tensor must not be used otherwise.
  void adopt(Tensor tensor);
  /// The packed copy for a use, made when there is none of this version. For matrices `[out, in]` and stacks `[experts,
  /// out, in]`.
  const ops::PackedWeight* packed(ops::PackFor use);
  size_t packed_bytes() const;
  bool has_own_master() const { return master_.defined(); }

  /// Null where there is none or it is switched off.
  const LowRank* low_rank() const { return low_rank_on_ && low_rank_.a ? &low_rank_ : nullptr; }
  /// For a matrix; A and B must fit it (Error otherwise) and outlive this parameter. A default LowRank takes it away.
  void set_low_rank(LowRank low_rank);
  void switch_low_rank(bool on) { low_rank_on_ = on; }
  /// f32 W + scale B A, or the value in f32 without a low rank: what linear() multiplies with, in one matrix.
  Tensor effective_value() const;

 private:
  struct Packed {
    std::shared_ptr<const ops::PackedWeight> copy;
    uint64_t version = 0;
  };

  void check_shape(const Shape& given) const;
  void allocate();

  std::string name_;
  Shape shape_;
  DType dtype_;
  Device device_;
  Tensor value_, master_, grad_;  // master_ undefined while value_ is the master or nobody needs one
  ParamGroup group_;
  bool trainable_;
  uint64_t version_ = 1;
  Var var_;
  Packed packed_[2];
  LowRank low_rank_;
  bool low_rank_on_ = true;
};

class ParamStore {
 public:
  /// `zero` false: new parameters have no value, for who gives all of them one as load() does. Else they are zeros.
  explicit ParamStore(bool zero = true) : zero_(zero) {}
  ParamStore(ParamStore&&) = default;
  ParamStore& operator=(ParamStore&&) = default;

  /// Throws Error when the name is taken.
  Parameter& create(std::string name, const Shape& shape, DType dtype, Device device = Device::cpu(),
                    ParamGroup group = ParamGroup::dense, bool trainable = true);
  /// Throws Error naming the nearest name when there is none.
  Parameter& at(std::string_view name) const;
  Parameter* find(std::string_view name) const;
  /// In order of creation.
  const std::vector<std::unique_ptr<Parameter>>& all() const { return parameters_; }
  /// Error when there is none; nothing may refer to it any more.
  void remove(std::string_view name);

  /// State that is saved but has no gradient, such as a router's selection bias: f32 zeros.
  Tensor& create_buffer(std::string name, const Shape& shape, Device device = Device::cpu());
  Tensor& buffer(std::string_view name);
  Tensor* find_buffer(std::string_view name);
  const std::vector<std::pair<std::string, std::unique_ptr<Tensor>>>& buffers() const { return buffers_; }

  int64_t numel() const;
  void zero_grad();
  void set_trainable(bool trainable);
  /// Bytes held for values, masters, gradients and packed copies, in all and a parameter, and what training with AdamW
  /// comes to.
  std::string memory_report() const;

 private:
  bool zero_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::unordered_map<std::string_view, Parameter*> by_name_;  // keys are the parameters' own names
  std::vector<std::pair<std::string, std::unique_ptr<Tensor>>> buffers_;
};

}  // namespace tenon
