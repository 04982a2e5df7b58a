// SPDX-License-Identifier: Apache-2.0
// A program on the processor that HEADROOM_OLD names: what it prints shows how far it came.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/start/processor.h"

// Called before the C library has an environment of its own to look in: the name is read from /proc.
#include <fcntl.h>
#include <unistd.h>

headroom::CpuidAnswer stand_in(unsigned leaf) {
  static char environment[1 << 16];
  static bool core2 = false, read_once = false;
  if (!read_once) {
    read_once = true;
    const int file = ::open("/proc/self/environ", O_RDONLY);
    const auto size = ::read(file, environment, sizeof environment - 1);
    ::close(file);
    for (const char* entry = environment; entry < environment + size; entry += std::strlen(entry) + 1)
      core2 = core2 || std::strcmp(entry, "HEADROOM_OLD=core2") == 0;
  }
  auto answer = headroom::this_processor(leaf);
  if (core2 && leaf == 1) answer.ecx &= ~(3u << 19 | 1u << 23);
  return answer;
}

namespace {
struct Constructed {
  Constructed() { std::puts("constructed"); }
} constructed;
}  // namespace

int main() {
  std::puts("main");
  return 0;
}
