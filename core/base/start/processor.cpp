// SPDX-License-Identifier: Apache-2.0
#include "base/start/processor.h"

#include <cpuid.h>

namespace headroom {
namespace {

constexpr unsigned basic = 1, extended = 0x80000001u;

struct Feature {
  unsigned leaf, bit;  ///< of ecx
  const char* name;
};
constexpr Feature needed[] = {{basic, 0, "SSE3"},   {basic, 13, "CMPXCHG16B"}, {extended, 0, "LAHF in 64-bit mode"},
                              {basic, 9, "SSSE3"},  {basic, 19, "SSE4.1"},     {basic, 20, "SSE4.2"},
                              {basic, 23, "POPCNT"}};

}  // namespace

const char* missing_instructions(Cpuid cpuid) {
  for (const Feature& feature : needed)
    if (!(cpuid(feature.leaf).ecx >> feature.bit & 1u)) return feature.name;
  return nullptr;
}

CpuidAnswer this_processor(unsigned leaf) {
  CpuidAnswer answer{};
  if (!__get_cpuid(leaf, &answer.eax, &answer.ebx, &answer.ecx, &answer.edx)) return {};
  return answer;
}

}  // namespace headroom
