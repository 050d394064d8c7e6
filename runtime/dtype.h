// Element types, and the conversions between them and float that every kernel uses.
//
// bf16 and f16 round to nearest, ties to even; NaN stays NaN. The conversions are free of branches, so that loops over
// them vectorise.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

namespace tenon {

enum class DType : uint8_t { f32, bf16, f16, i32, i64, u8, boolean };

/// Bytes of one element.
constexpr size_t size_of(DType dtype) {
  constexpr size_t sizes[] = {4, 2, 2, 4, 8, 1, 1};
  return sizes[static_cast<size_t>(dtype)];
}

/// "f32", "bf16", "f16", "i32", "i64", "u8", "bool".
std::string_view name(DType);

/// The inverse of name(); torch's long names ("bfloat16", "float32", "float16") are taken too. Throws Error for any
/// other.
DType dtype_from_name(std::string_view);

constexpr bool is_floating(DType dtype) { return dtype <= DType::f16; }

struct bf16 {
  uint16_t bits;
  friend constexpr bool operator==(bf16, bf16) = default;
};

struct f16 {
  uint16_t bits;
  friend constexpr bool operator==(f16, f16) = default;
};

inline constexpr float to_float(float x) { return x; }
inline constexpr float to_float(bf16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }
inline constexpr float to_float(f16 x) {
  const uint32_t magnitude = x.bits & 0x7fffu;
  const uint32_t rebias = (127u - 15u) << 23;
  const uint32_t normal = (magnitude << 13) + rebias + (magnitude >= 0x7c00u ? rebias : 0u);
  // Below 2^-14 the mantissa is a plain integer in units of 2^-24.
  const uint32_t tiny = std::bit_cast<uint32_t>(static_cast<float>(static_cast<int32_t>(magnitude)) * 0x1p-24f);
  return std::bit_cast<float>((magnitude < 0x400u ? tiny : normal) | ((x.bits & 0x8000u) << 16));
}
inline constexpr float to_float(int32_t x) { return static_cast<float>(x); }
inline constexpr float to_float(int64_t x) { return static_cast<float>(x); }
inline constexpr float to_float(uint8_t x) { return static_cast<float>(x); }
inline constexpr float to_float(bool x) { return x ? 1.0f : 0.0f; }

/// Integers are truncated towards zero; bool is x != 0.
template <class T>
inline constexpr T from_float(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    const uint32_t u = std::bit_cast<uint32_t>(x);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const uint32_t quiet = (u >> 16) | 0x40u;
    return bf16{static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded)};
  } else if constexpr (std::is_same_v<T, f16>) {
    const uint32_t u = std::bit_cast<uint32_t>(x), magnitude = u & 0x7fffffffu;
    const uint32_t rebased = magnitude - ((127u - 15u) << 23);
    const uint32_t normal = (rebased + 0xfffu + ((rebased >> 13) & 1u)) >> 13;
    // Adding 0.5 puts the last bit of the sum at 2^-24: the addition itself rounds to the grid of small f16 numbers.
    const uint32_t tiny =
        std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
    uint32_t h = magnitude < 0x38800000u ? tiny : normal;
    h = magnitude >= 0x47800000u ? 0x7c00u : h;  // 65536 and above
    h = magnitude > 0x7f800000u ? 0x7e00u : h;
    return f16{static_cast<uint16_t>(h | ((u >> 16) & 0x8000u))};
  } else if constexpr (std::is_same_v<T, bool>) {
    return x != 0;
  } else {
    return static_cast<T>(x);
  }
}

namespace detail {
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> : std::integral_constant<DType, DType::f32> {};
template <>
struct DTypeOf<bf16> : std::integral_constant<DType, DType::bf16> {};
template <>
struct DTypeOf<f16> : std::integral_constant<DType, DType::f16> {};
template <>
struct DTypeOf<int32_t> : std::integral_constant<DType, DType::i32> {};
template <>
struct DTypeOf<int64_t> : std::integral_constant<DType, DType::i64> {};
template <>
struct DTypeOf<uint8_t> : std::integral_constant<DType, DType::u8> {};
template <>
struct DTypeOf<bool> : std::integral_constant<DType, DType::boolean> {};

[[noreturn]] void throw_not_f32_or_bf16(DType);
}  // namespace detail

template <class T>
inline constexpr DType dtype_of = detail::DTypeOf<std::remove_cv_t<T>>::value;

/// Calls f.template operator()<T>() with T = float or bf16, the types that kernels compute on. f16 is for storage: cast
/// it first.
template <class F>
void for_float_types(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      f.template operator()<float>();
      return;
    case DType::bf16:
      f.template operator()<bf16>();
      return;
    default:
      detail::throw_not_f32_or_bf16(dtype);
  }
}

/// Calls f.template operator()<T>() with the C++ type of `dtype`.
template <class F>
void for_all_types(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      f.template operator()<float>();
      return;
    case DType::bf16:
      f.template operator()<bf16>();
      return;
    case DType::f16:
      f.template operator()<f16>();
      return;
    case DType::i32:
      f.template operator()<int32_t>();
      return;
    case DType::i64:
      f.template operator()<int64_t>();
      return;
    case DType::u8:
      f.template operator()<uint8_t>();
      return;
    case DType::boolean:
      f.template operator()<bool>();
      return;
  }
}

}  // namespace tenon
