// SPDX-License-Identifier: Apache-2.0
// What the CUDA kernels use of CUDA's own headers and language, for a host compiler: this folder stands before the real
// ones, so that the kernels' text is compiled as it is and run thread by thread (lanes.h).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__
#define __align__(bytes)

struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(4) uchar4 {
  unsigned char x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}

struct __nv_bfloat16 {
  std::uint16_t bits;
};
inline float __uint_as_float(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline std::uint32_t __float_as_uint(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline float __bfloat162float(__nv_bfloat16 value) {
  return __uint_as_float(std::uint32_t{value.bits} << 16);
}
/// To nearest, ties to even.
inline std::uint16_t bf16_bits(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return 0x7fff;
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float __expf(float x) {
  return std::exp(x);
}
inline float __fdividef(float x, float y) {
  return x / y;
}
inline float rsqrtf(float x) {
  return 1 / std::sqrt(x);
}
using std::log1pf;
/// Threads of a block take turns: nobody comes between.
template <typename T>
inline T atomicAdd(T* to, T value) {
  const T before = *to;
  *to += value;
  return before;
}

/// Of the thread that is at work.
struct Place {
  unsigned x, y, z;
};
extern Place threadIdx, blockIdx;

void __syncthreads();
void __syncwarp();
/// What `value` is in another lane of the warp.
float from_lane(float value, int lane);
int own_lane();
inline float __shfl_sync(unsigned, float value, int lane) {
  return from_lane(value, lane);
}
inline float __shfl_xor_sync(unsigned, float value, int mask) {
  return from_lane(value, own_lane() ^ mask);
}
inline float __shfl_up_sync(unsigned, float value, int steps) {
  return from_lane(value, own_lane() >= steps ? own_lane() - steps : own_lane());
}
inline std::uint32_t __shfl_up_sync(unsigned mask, std::uint32_t value, int steps) {
  return __float_as_uint(__shfl_up_sync(mask, __uint_as_float(value), steps));
}
