// SPDX-License-Identifier: Apache-2.0
// Compiles tile_kernel.inl for the baseline and, on x86, for AVX2 and AVX-512, and chooses by what the processor has.
// Only functions of this file are compiled for more than the baseline: nothing shared with other units may be.
#include "record/tile_kernel.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define HEADROOM_X86 1
#endif

namespace headroom::record {
namespace {

#define HEADROOM_SET baseline
#define HEADROOM_NAME "baseline"
#define HEADROOM_LANES 4
#define HEADROOM_ROWS 4
#include "record/tile_kernel.inl"
#undef HEADROOM_SET
#undef HEADROOM_NAME
#undef HEADROOM_LANES
#undef HEADROOM_ROWS

#ifdef HEADROOM_X86
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define HEADROOM_SET avx2
#define HEADROOM_NAME "avx2"
#define HEADROOM_LANES 8
#define HEADROOM_ROWS 4
#include "record/tile_kernel.inl"
#undef HEADROOM_SET
#undef HEADROOM_NAME
#undef HEADROOM_LANES
#undef HEADROOM_ROWS
#ifdef __clang__
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
#endif
#define HEADROOM_SET avx512
#define HEADROOM_NAME "avx512"
#define HEADROOM_LANES 16
#define HEADROOM_ROWS 8
#include "record/tile_kernel.inl"
#undef HEADROOM_SET
#undef HEADROOM_NAME
#undef HEADROOM_LANES
#undef HEADROOM_ROWS
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif  // HEADROOM_X86

struct Available {
  const TileKernels* sets[3] = {};
  int count = 0;
  Available() {
    sets[count++] = &baseline::kernels;
#ifdef HEADROOM_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets[count++] = &avx2::kernels;
    if (count == 2 && __builtin_cpu_supports("avx512f")) sets[count++] = &avx512::kernels;
#endif
  }
};

const Available& available() {
  static const Available value;
  return value;
}

}  // namespace

const TileKernels& tile_kernels() {
  return *available().sets[available().count - 1];
}

const TileKernels* const* all_tile_kernels(int& count) {
  count = available().count;
  return available().sets;
}

}  // namespace headroom::record
