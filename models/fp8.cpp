#include "fp8.h"

#include <array>
#include <bit>
#include <limits>

#include "../ops/cast.h"
#include "../runtime/check.h"
#include "../runtime/json.h"
#include "../runtime/threads.h"

namespace tenon::models {
namespace {

int64_t blocks_of(int64_t extent, int64_t block) { return (extent + block - 1) / block; }

const std::array<float, 256>& all_codes() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> out{};
    for (size_t code = 0; code < out.size(); ++code) out[code] = from_fp8_e4m3(static_cast<uint8_t>(code));
    return out;
  }();
  return table;
}

}  // namespace

Shape Fp8Blocks::scales_of(const Shape& weight) const {
  return {blocks_of(weight[0], rows), blocks_of(weight[1], cols)};
}

std::optional<Fp8Blocks> fp8_blocks(const ModelConfig& config, const std::string& where) {
  if (config.raw_json.empty()) return std::nullopt;
  const Json json = parse_json(config.raw_json, where);
  const auto found = json.find("quantization_config");
  if (found == json.end() || found->is_null()) return std::nullopt;
  constexpr const char* kRead = "only fp8 with weight_block_size is read";
  check(found->is_object(), "{}: `quantization_config` is {}; {}", where, found->dump(), kRead);
  const Json method = found->value("quant_method", Json()), format = found->value("fmt", Json("e4m3")),
             size = found->value("weight_block_size", Json());
  check(method == "fp8", "{}: the weights are quantized by {}; {}", where, method.dump(), kRead);
  check(format == "e4m3", "{}: the weights are fp8 of format {}; only e4m3 is read", where, format.dump());
  const auto is_extent = [](const Json& j) { return j.is_number_unsigned() && j > 0u && j <= 1u << 20; };
  check(size.is_array() && size.size() == 2 && is_extent(size[0]) && is_extent(size[1]),
        "{}: `weight_block_size` is {}; {}, two positive integers", where, size.dump(), kRead);
  return Fp8Blocks{size[0].get<int64_t>(), size[1].get<int64_t>()};
}

float from_fp8_e4m3(uint8_t code) {
  const uint32_t sign = (code & 0x80u) << 24, magnitude = code & 0x7fu;
  if (magnitude == 0x7f) return std::numeric_limits<float>::quiet_NaN();
  if (magnitude < 8) {  // below 2^-6 the mantissa is a plain integer in units of 2^-9
    const float tiny = static_cast<float>(magnitude) * 0x1p-9f;
    return sign ? -tiny : tiny;
  }
  return std::bit_cast<float>(sign | ((magnitude << 20) + ((127u - 7u) << 23)));
}

Tensor dequantize_fp8(const Tensor& codes, const Tensor& scales, const Fp8Blocks& blocks, DType dtype) {
  check(codes.rank() == 2 && codes.dtype() == DType::u8 && scales.shape() == blocks.scales_of(codes.shape()),
        "fp8: codes {} {} with scales {}", codes.shape(), codes.dtype(), scales.shape());
  const Tensor factors = ops::cast(scales, DType::f32);
  const std::array<float, 256>& values = all_codes();
  const int64_t cols = codes.dim(1);
  Tensor out = Tensor::empty(codes.shape(), dtype);
  for_float_types(dtype, [&]<class T>() {
    T* const to = out.data<T>();
    const uint8_t* const from = codes.data<uint8_t>();
    const float* const scale = factors.data<float>();
    const int64_t grain = std::max<int64_t>(1, (1 << 15) / std::max<int64_t>(1, cols));
    parallel_for(codes.dim(0), grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const float* const row_scale = scale + r / blocks.rows * factors.dim(1);
        for (int64_t c0 = 0, block = 0; c0 < cols; c0 += blocks.cols, ++block) {
          const int64_t c1 = std::min(cols, c0 + blocks.cols);
          for (int64_t c = c0; c < c1; ++c)
            to[r * cols + c] = from_float<T>(values[from[r * cols + c]] * row_scale[block]);
        }
      }
    });
  });
  return out;
}

}  // namespace tenon::models
