#include "cpu.h"

#include <array>
#include <cstdlib>
#include <string>

#include "check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tenon {
namespace {

constexpr std::array<std::string_view, 5> kNames = {"generic", "avx2", "avx512", "avx512_bf16", "amx_bf16"};

#if defined(__x86_64__)

struct CpuId {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  CpuId(unsigned leaf, unsigned subleaf) { __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx); }
};

// Which register files the operating system saves (XCR0). Needs OSXSAVE.
uint64_t saved_registers() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low | uint64_t{high} << 32;
}

// Linux hands out tile registers on request only (arch_prctl ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
bool ask_for_tiles() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }

Isa detect() {
  const CpuId one(1, 0), seven(7, 0), seven_one(7, 1);
  const auto bit = [](unsigned word, int i) { return (word >> i & 1u) != 0; };
  const bool osxsave = bit(one.ecx, 27);
  const uint64_t saved = osxsave ? saved_registers() : 0;
  const bool ymm = (saved & 0x6) == 0x6, zmm = (saved & 0xe6) == 0xe6, tiles = (saved & 0x60000) == 0x60000;

  const bool avx2 =
      ymm && bit(seven.ebx, 5) && bit(one.ecx, 12) && bit(one.ecx, 29) && bit(seven.ebx, 8);  // AVX2, FMA, F16C, BMI2
  if (!avx2) return Isa::generic;
  const bool avx512 =
      zmm && bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 30) && bit(seven.ebx, 31);  // F, DQ, BW, VL
  if (!avx512) return Isa::avx2;
  if (!bit(seven_one.eax, 5)) return Isa::avx512;
  const bool amx = tiles && bit(seven.edx, 22) && bit(seven.edx, 24);  // AMX-BF16, AMX-TILE
  return amx && ask_for_tiles() ? Isa::amx_bf16 : Isa::avx512_bf16;
}

#else

Isa detect() { return Isa::generic; }

#endif

Isa capped() {
  const Isa found = detect();
  const char* wanted = std::getenv("TENON_MAX_ISA");
  if (!wanted || !*wanted) return found;
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == wanted) return std::min(found, static_cast<Isa>(i));
  fail("TENON_MAX_ISA={}: expected one of {}", wanted, fmt::join(kNames, ", "));
}

}  // namespace

Isa cpu_isa() {
  static const Isa isa = capped();
  return isa;
}

std::string_view name(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

bool has_native_bf16() { return cpu_isa() >= Isa::avx512_bf16; }

}  // namespace tenon
