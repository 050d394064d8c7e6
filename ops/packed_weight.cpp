#include "packed_weight.h"

#include "../runtime/check.h"
#include "cpu/packed_weight.h"
#include "dispatch.h"

namespace tenon::ops {

std::shared_ptr<const PackedWeight> pack_weight(const Tensor& w, PackFor use,
                                                std::shared_ptr<const PackedWeight> reuse) {
  check_float("pack_weight", {{"w", w}});
  check(w.rank() == 2 || w.rank() == 3, "pack_weight: w must be [out, in] or [experts, out, in], it is {}", w.shape());
  return w.device().is_cpu() ? cpu::pack_weight(w, use, std::move(reuse)) : nullptr;
}

}  // namespace tenon::ops
