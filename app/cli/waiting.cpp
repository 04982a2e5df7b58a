// SPDX-License-Identifier: Apache-2.0
#include "waiting.h"

#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <initializer_list>

namespace headroom::cli {
namespace {

// What runs before the C library is initialised: system calls and arrays of our own, no allocation, no getenv; and no
// checks of a sanitizer, which is not ready either.
#define HEADROOM_EARLY __attribute__((no_sanitize("address", "undefined", "thread")))

constexpr char wait_variable[] = "OMP_WAIT_POLICY", spin_variable[] = "GOMP_SPINCOUNT";
/// Set beside ours: the second start is not started again, and main() knows that neither is the user's.
constexpr char mark_variable[] = "HEADROOM_SET_OMP_WAIT_POLICY";
constexpr int most_variables = 8192;

HEADROOM_EARLY bool names(const char* entry, const char* variable) {
  for (; *variable != '\0'; ++entry, ++variable)
    if (*entry != *variable) return false;
  return *entry == '=';
}

/// Not so where the dynamic loader was called by hand: then the running file is the loader.
HEADROOM_EARLY bool leads_to_this_program(const char* file) {
  struct stat named, running;
  return ::stat(file, &named) == 0 && ::stat("/proc/self/exe", &running) == 0 && named.st_dev == running.st_dev &&
         named.st_ino == running.st_ino;
}

/// Same process, arguments and descriptors. Returns where nothing is to be done or it cannot be: threads then spin, and
/// nothing else is different.
HEADROOM_EARLY void start_with_passive_waiting(int, char** arguments, char** environment) {
  static char passive[] = "OMP_WAIT_POLICY=PASSIVE", spins[] = "GOMP_SPINCOUNT=5000",
              mark[] = "HEADROOM_SET_OMP_WAIT_POLICY=1";
  static char* wanted[most_variables + 4];
  int count = 0;
  for (; environment[count]; ++count) {
    const char* entry = environment[count];
    if (count >= most_variables || names(entry, wait_variable) || names(entry, spin_variable) ||
        names(entry, mark_variable))
      return;
    wanted[count] = environment[count];
  }
  wanted[count] = passive;
  wanted[count + 1] = spins;
  wanted[count + 2] = mark;
  const auto* file = reinterpret_cast<const char*>(::getauxval(AT_EXECFN));
  if (file && ::getauxval(AT_SECURE) == 0 && leads_to_this_program(file)) ::execve(file, arguments, wanted);
}

using EarlyHook = void (*)(int, char**, char**);
[[gnu::section(".preinit_array"), gnu::used]] EarlyHook before_libraries = start_with_passive_waiting;

}  // namespace

void forget_waiting() {
  if (!std::getenv(mark_variable)) return;
  for (const char* variable : {wait_variable, spin_variable, mark_variable}) ::unsetenv(variable);
}

}  // namespace headroom::cli
