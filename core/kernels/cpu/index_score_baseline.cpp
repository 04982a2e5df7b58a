// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/index_loops.h"

namespace headroom::kernels::cpu {
namespace {

/// Four lanes, whatever the machine makes of them.
struct Portable {
  using Sum = float __attribute__((vector_size(16)));
  using Element = Sum;
  static constexpr int rows = 4, vectors = 2, lanes = 4, panel_columns = vectors * lanes;
  static Sum zero() { return Sum{}; }
  static Element load(const std::uint32_t* from) {
    Element value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  static Element broadcast(const std::uint32_t* from) {
    float value;
    std::memcpy(&value, from, sizeof value);
    return Element{value, value, value, value};
  }
  static Sum add_product(Sum sum, Element a, Element b) { return sum + a * b; }
  static void store(float* to, Sum sum) { std::memcpy(to, &sum, sizeof sum); }
};

}  // namespace

extern const IndexKernels index_kernels_baseline = index_kernels<Portable>(Isa::baseline, false);

}  // namespace headroom::kernels::cpu
