// A weight copied into the layout in which the device's product reads it fastest. The layout depends on the weight's
// shape, dtype and use, never on the number of rows that it will meet, so one copy serves decoding and training. It is
// valid until the weight changes.
#pragma once

#include <memory>

#include "../runtime/tensor.h"

namespace tenon::ops {

/// forward: x W^T, read by linear and grouped_linear. backward: dy W, read by their backward_input.
enum class PackFor { forward, backward };

/// Opaque to callers; each device has its own kind.
class PackedWeight {
 public:
  virtual ~PackedWeight() = default;
  PackedWeight(const PackedWeight&) = delete;
  PackedWeight& operator=(const PackedWeight&) = delete;

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }  // of the weight it was made from
  Device device() const { return device_; }
  PackFor use() const { return use_; }
  virtual size_t nbytes() const = 0;

 protected:
  PackedWeight(const Tensor& w, PackFor use) : shape_(w.shape()), dtype_(w.dtype()), device_(w.device()), use_(use) {}

 private:
  Shape shape_;
  DType dtype_;
  Device device_;
  PackFor use_;
};

/// Packs w `[out, in]` or, for experts, `[experts, out, in]`, f32 or bf16. `reuse`: a packed copy of an earlier version
/// of the same weight, whose memory is written again when the caller holds its only reference.
std::shared_ptr<const PackedWeight> pack_weight(const Tensor& w, PackFor use,
                                                std::shared_ptr<const PackedWeight> reuse = {});

}  // namespace tenon::ops
