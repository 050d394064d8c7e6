#include "dtype.h"

#include <array>
#include <string>

#include "check.h"

namespace tenon {

std::string_view name(DType dtype) {
  constexpr std::array<std::string_view, 7> names = {"f32", "bf16", "f16", "i32", "i64", "u8", "bool"};
  return names[static_cast<size_t>(dtype)];
}

DType dtype_from_name(std::string_view text) {
  constexpr std::array<std::pair<std::string_view, DType>, 13> known = {{{"f32", DType::f32},
                                                                         {"bf16", DType::bf16},
                                                                         {"f16", DType::f16},
                                                                         {"i32", DType::i32},
                                                                         {"i64", DType::i64},
                                                                         {"u8", DType::u8},
                                                                         {"bool", DType::boolean},
                                                                         {"float32", DType::f32},
                                                                         {"float", DType::f32},
                                                                         {"bfloat16", DType::bf16},
                                                                         {"float16", DType::f16},
                                                                         {"int32", DType::i32},
                                                                         {"int64", DType::i64}}};
  for (const auto& [name, dtype] : known)
    if (name == text) return dtype;
  fail("dtype '{}': expected one of f32, bf16, f16, i32, i64, u8, bool", text);
}

namespace detail {
void throw_not_f32_or_bf16(DType dtype) { fail("computing needs f32 or bf16, got {}: cast it first", dtype); }
}  // namespace detail

}  // namespace tenon
