// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/isa.h"

#include "kernels/cpu/product_rates.h"

namespace headroom::kernels::cpu {

std::string_view name(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return "AVX2";
    case Isa::avx512:
      return "AVX-512";
    case Isa::avx512_bf16:
      return "AVX-512 BF16";
    case Isa::baseline:
      break;
  }
  return "baseline";
}

bool supported(Isa isa) {
#if defined(__x86_64__)
  // All that CMakeLists.txt lets the compiler use.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
                    __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("lzcnt");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::avx2:
      return avx2;
    case Isa::avx512:
      return avx512;
    case Isa::avx512_bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
    case Isa::baseline:
      break;
  }
#endif
  return isa == Isa::baseline;
}

Isa best_isa(Isa at_most) {
  for (Isa isa = at_most; isa != Isa::baseline; isa = static_cast<Isa>(static_cast<int>(isa) - 1))
    if (supported(isa)) return isa;
  return Isa::baseline;
}

Isa preferred_isa() {
  static const Isa preferred = [] {
    const Isa best = best_isa();
    if (best != Isa::avx512_bf16) return best;
    constexpr double least_gain = 1.4;
    return bf16_product_gain() >= least_gain ? best : Isa::avx512;
  }();
  return preferred;
}

}  // namespace headroom::kernels::cpu
