// TENON_CLONES: the function is compiled for AVX-512, AVX2 and plain x86-64, and the processor picks when the program
// starts.
//
//   TENON_CLONES void scale(const float* x, float a, int64_t n, float* y) {
//   #pragma omp simd
//     for (int64_t i = 0; i < n; ++i) y[i] = a * x[i];
//   }
//
// Functions called in the loop must be inlined, or they are compiled for plain x86-64. Sanitizers are not ready when
// the resolvers run, so that their builds have one version only.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(TENON_SANITIZED)
#define TENON_CLONES [[gnu::target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")]]
#else
#define TENON_CLONES
#endif
