// Checkpoints in FP8 as DeepSeek-V3 publishes them (arXiv 2412.19437, section 3.3): weights in F8_E4M3, and beside NAME
// an f32 tensor NAME_scale_inv with a factor for each block of 128 x 128. Internal to models/.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "../runtime/tensor.h"
#include "config.h"

namespace tenon::models {

struct Fp8Blocks {
  int64_t rows = 128, cols = 128;

  /// One factor a block; blocks at the edges may be smaller.
  Shape scales_of(const Shape& weight) const;
};

/// The blocks of a config's `quantization_config`; nothing when it has none. Throws Error for every other kind of
/// quantization, naming it and what is read.
std::optional<Fp8Blocks> fp8_blocks(const ModelConfig& config, const std::string& where);

/// A code of 1 sign, 4 exponent and 3 mantissa bits, bias 7 (OCP's E4M3: no infinities, 0x7f and 0xff are NaN).
float from_fp8_e4m3(uint8_t code);

/// codes u8 `[out, in]`, scales `[ceil(out / rows), ceil(in / cols)]` of a float dtype -> code times its block's scale,
/// rounded to `dtype` (f32 or bf16).
Tensor dequantize_fp8(const Tensor& codes, const Tensor& scales, const Fp8Blocks& blocks, DType dtype);

}  // namespace tenon::models
