// SPDX-License-Identifier: Apache-2.0
// What this program's code needs of the processor. Compiled for any x86-64, so that it can run where the rest cannot,
// and without the standard library, whose inline functions the linker may take from files that were compiled for more.
#pragma once

namespace headroom {

/// The registers that CPUID leaves for one leaf.
struct CpuidAnswer {
  unsigned eax, ebx, ecx, edx;
};
using Cpuid = CpuidAnswer (*)(unsigned leaf);

/// Of x86-64-v2, in the order of their introduction: the first instructions that the processor lacks; null where it has
/// all ("SSE4.1").
const char* missing_instructions(Cpuid cpuid);

/// CPUID of this processor; zeros for a leaf that it does not know.
CpuidAnswer this_processor(unsigned leaf);

}  // namespace headroom
