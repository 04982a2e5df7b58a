// SPDX-License-Identifier: Apache-2.0
// Instruction sets that kernels are compiled for, and what this machine runs. A kernel's code for one set lives in a file
// whose name ends in it (x_avx512_bf16.cpp); CMake gives only that file the flags, so the program starts on any x86-64.
#pragma once

#include <string_view>

namespace headroom::kernels::cpu {

/// Each includes the ones before it. avx512: F, BW, DQ, VL; avx512_bf16 adds VDPBF16PS.
enum class Isa { baseline, avx2, avx512, avx512_bf16 };

std::string_view name(Isa isa);
/// Whether processor and operating system run it.
bool supported(Isa isa);
/// The widest supported one that is not above `at_most`.
Isa best_isa(Isa at_most = Isa::avx512_bf16);

/// The set that kernels on bf16 use unless told otherwise: best_isa(), but avx512_bf16 only where a VDPBF16PS does not take
/// longer than 1.4 fp32 FMAs would for the same products. Some processors run it at a fraction of the FMA's rate. Measured
/// once, in less than a millisecond; the two kinds differ by more than a factor of two, so that it always comes out the same.
Isa preferred_isa();

}  // namespace headroom::kernels::cpu
