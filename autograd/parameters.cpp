#include "parameters.h"

#include <algorithm>
#include <numeric>

#include "../ops/cast.h"
#include "../ops/elementwise.h"
#include "../runtime/check.h"
#include "../runtime/memory.h"
#include "graph.h"

namespace tenon {
namespace {

// Levenshtein's distance.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

std::string mib(size_t bytes) { return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20)); }

}  // namespace

Parameter::Parameter(std::string name, const Shape& shape, DType dtype, Device device, ParamGroup group, bool trainable)
    : name_(std::move(name)), group_(group), trainable_(trainable) {
  check(dtype == DType::f32 || dtype == DType::bf16, "parameter '{}': dtype {} is not supported (f32, bf16)", name_,
        tenon::name(dtype));
  MemoryTag tag("parameters");
  value_ = Tensor::zeros(shape, dtype, device);
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
}

const Var& Parameter::var() {
  if (!var_.defined()) {
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

void Parameter::assign(const Tensor& tensor) {
  check(tensor.shape() == value_.shape(), "parameter '{}' is {}, the tensor given {}", name_, value_.shape(),
        tensor.shape());
  ops::copy_into(value_, tensor);
  // A master keeps what the value's dtype would round away.
  if (value_.dtype() != DType::f32) {
    if (master_.defined())
      ops::copy_into(master_, tensor);
    else if (tensor.dtype() == DType::f32) {
      MemoryTag tag("parameters");
      master_ = tensor.clone();
    }
  }
  changed();
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
  parameters_.push_back(std::make_unique<Parameter>(std::move(name), shape, dtype, device, group, trainable));
  return *parameters_.back();
}

Parameter* ParamStore::find(std::string_view name) const {
  for (auto& p : parameters_)
    if (p->name() == name) return p.get();
  return nullptr;
}

Parameter& ParamStore::at(std::string_view name) const {
  if (Parameter* p = find(name)) return *p;
  check(!parameters_.empty(), "there is no parameter '{}': the store is empty", name);
  auto nearest = std::min_element(parameters_.begin(), parameters_.end(), [&](auto& a, auto& b) {
    return edit_distance(a->name(), name) < edit_distance(b->name(), name);
  });
  fail("there is no parameter '{}'; the nearest is '{}'", name, (*nearest)->name());
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
  for (auto& p : parameters_) n += p->value().numel();
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
