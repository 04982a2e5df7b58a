// SPDX-License-Identifier: Apache-2.0
// Ends a program with a sentence where the processor is too old for it; an illegal instruction would end it without
// one. Runs before the constructors of the program and of its libraries, which may already hold such instructions.
#include <unistd.h>

#include <cstring>

#include "base/start/processor.h"

namespace {

// HEADROOM_PROCESSOR: a function in place of CPUID, for the test's stand-in of an old processor.
#ifdef HEADROOM_PROCESSOR
}  // namespace
headroom::CpuidAnswer HEADROOM_PROCESSOR(unsigned leaf);
namespace {
constexpr headroom::Cpuid processor = HEADROOM_PROCESSOR;
#else
constexpr headroom::Cpuid processor = headroom::this_processor;
#endif

void say(const char* text) {
  // Nothing can be done where even this fails.
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, std::strlen(text));
}

void check_processor(int, char**, char**) {
  const char* missing = headroom::missing_instructions(processor);
  if (!missing) return;
  say("headroom: this processor is too old: expected x86-64-v2 (any since 2009), found one without ");
  say(missing);
  say("\n");
  ::_exit(4);
}

__attribute__((section(".preinit_array"), used)) void (*const before_everything)(int, char**, char**) = check_processor;

}  // namespace
