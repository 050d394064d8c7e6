#include "rope.h"

#include <vector>

#include "../runtime/check.h"
#include "cpu/indexing.h"
#include "cpu/rope.h"
#include "cuda/rope.h"
#include "dispatch.h"

namespace tenon::ops {
namespace {

void checked_rope(const Tensor& x, const RopeTable& table, const Tensor& positions, bool interleaved, bool inverse,
                  int64_t offset, Tensor& y) {
  const int64_t bad = cpu::first_out_of_range(positions, table.cos.dim(0));
  check(bad < 0, "rope: position {} of token {} is outside the table of {} positions",
        bad < 0 ? 0 : positions.data<int32_t>()[bad], bad, table.cos.dim(0));
  cpu::rope(x, table, positions, interleaved, inverse, offset, y);
}

}  // namespace

RopeTable rope_table(std::span<const double> inv_freq, int64_t max_positions, float attention_factor) {
  check(!inv_freq.empty() && max_positions > 0, "rope_table: {} frequencies for {} positions", inv_freq.size(),
        max_positions);
  const Shape shape{max_positions, static_cast<int64_t>(inv_freq.size())};
  RopeTable table{Tensor::empty(shape, DType::f32), Tensor::empty(shape, DType::f32)};
  cpu::rope_table(inv_freq, max_positions, attention_factor, table);
  return table;
}

RopeTable rope_table(std::span<const float> inv_freq, int64_t max_positions, float attention_factor) {
  const std::vector<double> exact(inv_freq.begin(), inv_freq.end());
  return rope_table(std::span<const double>(exact), max_positions, attention_factor);
}

Tensor rope(const Tensor& x, const RopeTable& table, const Tensor& positions, bool interleaved, bool inverse,
            int64_t offset) {
  check_same_device("rope", {{"x", x}, {"table", table.cos}, {"table", table.sin}, {"positions", positions}});
  check_float("rope", {{"x", x}});
  check_rank("rope", {"x", x}, 3);
  check_dtype("rope", {"positions", positions}, DType::i32);
  check_shape("rope", {"positions", positions}, {x.dim(0)});
  check_rank("rope", {"table", table.cos}, 2);
  check_same_shape("rope", {{"table's cos", table.cos}, {"table's sin", table.sin}});
  const int64_t rotary = 2 * table.cos.dim(1), dim = x.dim(2);
  check(offset >= 0 && rotary <= dim - offset, "rope: the table turns {} channels from {} on, x {} has {} a head",
        rotary, offset, x.shape(), dim);

  Tensor y = Tensor::like(x);
  if (x.numel() == 0) return y;
  on_device("rope", x.device(), checked_rope, cuda::rope, dim == 1 || x.stride(2) == 1 ? x : x.contiguous(), table,
            positions.contiguous(), interleaved, inverse, offset, y);
  return y;
}

}  // namespace tenon::ops
