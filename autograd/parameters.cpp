#include "parameters.h"

#include <algorithm>

#include "../ops/cast.h"
#include "../ops/elementwise.h"
#include "../ops/matmul.h"
#include "../runtime/check.h"
#include "../runtime/memory.h"
#include "../runtime/nearest_name.h"
#include "graph.h"

namespace tenon {
namespace {

std::string mib(size_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20)); }

}  // namespace

Parameter::Parameter(std::string name, const Shape& shape, DType dtype, Device device, ParamGroup group, bool trainable,
                     bool zero)
    : name_(std::move(name)), shape_(shape), dtype_(dtype), device_(device), group_(group), trainable_(trainable) {
  check(dtype == DType::f32 || dtype == DType::bf16, "parameter '{}': dtype {} is not supported (f32, bf16)", name_,
        tenon::name(dtype));
  MemoryTag tag("parameters");
  if (zero) value_ = Tensor::zeros(shape, dtype, device);
}

Tensor& Parameter::master() {
  if (value_.dtype() == DType::f32) return value_;
  if (!master_.defined()) {
    MemoryTag tag("parameters");
    master_ = ops::cast(value_, DType::f32);
  }
  return master_;
}

Tensor& Parameter::grad() {
  if (!grad_.defined()) {
    MemoryTag tag("gradients");
    grad_ = Tensor::zeros(value_.shape(), DType::f32, value_.device());
  }
  return grad_;
}

void Parameter::set_trainable(bool trainable) {
  if (trainable_ != trainable) var_ = Var();
  trainable_ = trainable;
  if (!trainable_) master_ = grad_ = Tensor();
}

const Var& Parameter::var() {
  if (!var_.defined()) {
    check(value_.defined(), "parameter '{}' has no value yet", name_);
    var_ = Var(value_, trainable_);
    if (trainable_) var_.state_->leaf->parameter = this;
    var_.state_->parameter = this;
  }
  return var_;
}

void Parameter::changed() {
  ++version_;
  value_.bump_version();
}

void Parameter::check_shape(const Shape& given) const {
  check(given == shape_, "parameter '{}' is {}, the tensor given {}", name_, shape_, given);
}

void Parameter::allocate() {
  if (value_.defined()) return;
  MemoryTag tag("parameters");
  value_ = Tensor::empty(shape_, dtype_, device_);
}

void Parameter::assign(const Tensor& tensor) {
  check_shape(tensor.shape());
  allocate();
  ops::copy_into(value_, tensor);
  // A master keeps what the value's dtype would round away.
  if (master_.defined()) {
    ops::copy_into(master_, tensor);
  } else if (trainable_ && dtype_ != DType::f32 && tensor.dtype() == DType::f32) {
    MemoryTag tag("parameters");
    master_ = tensor.clone();
  }
  changed();
}

void Parameter::assign_element(int64_t i, const Tensor& tensor) {
  allocate();
  Tensor place = value_.select(0, i);
  check(tensor.shape() == place.shape(), "parameter '{}' is {}, the tensor given for its element {} is {}", name_,
        shape_, i, tensor.shape());
  ops::copy_into(place, tensor);
  if (master_.defined() || (trainable_ && dtype_ != DType::f32 && tensor.dtype() == DType::f32)) {
    Tensor kept = master().select(0, i);
    ops::copy_into(kept, tensor);
  }
  changed();
}

void Parameter::adopt(Tensor tensor) {
  check_shape(tensor.shape());
  if (tensor.device() != device_ || !tensor.is_contiguous()) return assign(tensor);
  if (tensor.dtype() == dtype_) {
    value_ = std::move(tensor);
    master_ = Tensor();
    var_ = Var();
    ++version_;
  } else if (trainable_ && tensor.dtype() == DType::f32) {
    allocate();
    ops::copy_into(value_, tensor);
    master_ = std::move(tensor);
    changed();
  } else {
    assign(tensor);
  }
}

void Parameter::set_low_rank(LowRank low_rank) {
  const Parameter *a = low_rank.a, *b = low_rank.b;
  check(!a == !b, "parameter '{}': a low rank needs both A and B", name_);
  if (a) {
    check(shape_.rank() == 2 && a->shape().rank() == 2 && b->shape().rank() == 2 && a->shape()[1] == shape()[1] &&
              b->shape()[0] == shape()[0] && a->shape()[0] == b->shape()[1],
          "parameter '{}' is {}: A {} and B {} do not fit it", name_, shape(), a->shape(), b->shape());
  }
  low_rank_ = low_rank;
}

Tensor Parameter::effective_value() const {
  Tensor out = ops::cast(value_, DType::f32);
  const LowRank* low = low_rank();
  if (!low) return out;
  const Tensor product = ops::matmul(ops::cast(low->b->value(), DType::f32), ops::cast(low->a->value(), DType::f32));
  if (out.shares_storage(value_)) out = out.clone();
  ops::add_into(out, product, low->scale);
  return out;
}

const ops::PackedWeight* Parameter::packed(ops::PackFor use) {
  Packed& packed = packed_[use == ops::PackFor::backward];
  if (!packed.copy || packed.version != version_) {
    MemoryTag tag("packed weights");
    packed.copy = ops::pack_weight(value_, use, std::move(packed.copy));
    packed.version = version_;
  }
  return packed.copy.get();
}

size_t Parameter::packed_bytes() const {
  size_t bytes = 0;
  for (const Packed& p : packed_)
    if (p.copy) bytes += p.copy->nbytes();
  return bytes;
}

Parameter& ParamStore::create(std::string name, const Shape& shape, DType dtype, Device device, ParamGroup group,
                              bool trainable) {
  check(!find(name), "parameter '{}' is there already", name);
  parameters_.push_back(std::make_unique<Parameter>(std::move(name), shape, dtype, device, group, trainable, zero_));
  by_name_.emplace(parameters_.back()->name(), parameters_.back().get());
  return *parameters_.back();
}

Parameter* ParamStore::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

Parameter& ParamStore::at(std::string_view name) const {
  if (Parameter* p = find(name)) return *p;
  check(!parameters_.empty(), "there is no parameter '{}': the store is empty", name);
  auto nearest = std::min_element(parameters_.begin(), parameters_.end(), [&](auto& a, auto& b) {
    return edit_distance(a->name(), name) < edit_distance(b->name(), name);
  });
  fail("there is no parameter '{}'; the nearest is '{}'", name, (*nearest)->name());
}

void ParamStore::remove(std::string_view name) {
  const Parameter* gone = &at(name);
  by_name_.erase(gone->name());
  std::erase_if(parameters_, [&](const auto& p) { return p.get() == gone; });
}

Tensor& ParamStore::create_buffer(std::string name, const Shape& shape, Device device) {
  check(!find_buffer(name), "buffer '{}' is there already", name);
  buffers_.emplace_back(std::move(name), std::make_unique<Tensor>(Tensor::zeros(shape, DType::f32, device)));
  return *buffers_.back().second;
}

Tensor* ParamStore::find_buffer(std::string_view name) {
  for (auto& [n, tensor] : buffers_)
    if (n == name) return tensor.get();
  return nullptr;
}

Tensor& ParamStore::buffer(std::string_view name) {
  Tensor* tensor = find_buffer(name);
  check(tensor != nullptr, "there is no buffer '{}'", name);
  return *tensor;
}

int64_t ParamStore::numel() const {
  int64_t n = 0;
  for (auto& p : parameters_) n += p->shape().numel();
  return n;
}

void ParamStore::zero_grad() {
  for (auto& p : parameters_)
    if (p->has_grad()) ops::fill(p->grad(), 0);
}

void ParamStore::set_trainable(bool trainable) {
  for (auto& p : parameters_) p->set_trainable(trainable);
}

std::string ParamStore::memory_report() const {
  size_t values = 0, masters = 0, gradients = 0, packed = 0, training = 0;
  int64_t trainable = 0;
  for (auto& p : parameters_) {
    const size_t n = p->value().numel();
    values += p->value().nbytes();
    masters += p->has_own_master() ? n * 4 : 0;
    gradients += p->has_grad() ? n * 4 : 0;
    packed += p->packed_bytes();
    trainable += p->trainable() ? p->value().numel() : 0;
    // AdamW: gradient and two moments in f32, and a master where the value is narrower.
    training += p->value().nbytes() + (p->trainable() ? n * 12 + (p->value().dtype() == DType::f32 ? 0 : n * 4) : 0);
  }
  const int64_t n = numel();
  auto each = [n](size_t bytes) { return n ? static_cast<double>(bytes) / static_cast<double>(n) : 0.0; };
  return fmt::format(
      "{} parameters, {} trainable\n"
      "  values         {:>12}  {:5.2f} bytes a parameter\n"
      "  f32 masters    {:>12}  {:5.2f}\n"
      "  gradients      {:>12}  {:5.2f}\n"
      "  packed copies  {:>12}  {:5.2f}\n"
      "  training with AdamW, without packed copies and activations: {}, {:.2f} bytes a parameter\n",
      n, trainable, mib(values), each(values), mib(masters), each(masters), mib(gradients), each(gradients),
      mib(packed), each(packed), mib(training), each(training));
}

}  // namespace tenon
