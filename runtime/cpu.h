// What this processor can do. Kernels of one instruction set are called only after asking here.
#pragma once

#include <cstdint>
#include <string_view>

namespace tenon {

/// In order: each has all that the ones before have.
enum class Isa : uint8_t { generic, avx2, avx512, avx512_bf16, amx_bf16 };

/// The best of this processor and kernel (for AMX the kernel's permission is asked for), capped by the environment
/// variable TENON_MAX_ISA=generic|avx2|avx512|avx512_bf16|amx_bf16. Throws Error when that names none of these.
Isa cpu_isa();

/// "avx512_bf16".
std::string_view name(Isa);

/// Whether the processor multiplies bf16 itself; without, oneDNN's products are f32.
bool has_native_bf16();

}  // namespace tenon
