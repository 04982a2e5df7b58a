// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 for tests. HEADROOM_FAKE_CUDA: the version that it gives, e.g. 11040. What it holds is chosen where it is
// compiled: an old one has no version to ask for, a stub cannot count devices.
#include <cstdlib>

extern "C" {
int cuInit(unsigned) {
  return 100;  // no device
}
#ifdef FAKE_HAS_VERSION
int cuDriverGetVersion(int* version) {
  const char* said = std::getenv("HEADROOM_FAKE_CUDA");
  *version = said ? std::atoi(said) : 0;
  return 0;
}
#endif
#ifdef FAKE_HAS_COUNT
int cuDeviceGetCount(int* count) {
  *count = 0;
  return 0;
}
#endif
}
