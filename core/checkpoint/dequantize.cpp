// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/dequantize.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <exception>
#include <thread>
#include <vector>

namespace headroom::checkpoint {
namespace {

using Bytes = const std::uint8_t*;

std::uint16_t load_u16(Bytes p) {
  return static_cast<std::uint16_t>(p[0] | p[1] << 8);
}
std::uint32_t load_u32(Bytes p) {
  return static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8 |
         static_cast<std::uint32_t>(p[2]) << 16 | static_cast<std::uint32_t>(p[3]) << 24;
}

// IEEE half to float without branches on the common path: shifting exponent and mantissa into place leaves the value
// too small by 2^112, for subnormals as well; infinities and NaNs get their exponent filled up.
float half_to_float(std::uint16_t half) {
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7fff) << 13;
  float value = std::bit_cast<float>(magnitude) * 0x1p112f;
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  bits |= (half & 0x7c00) == 0x7c00 ? 0x7f800000u : 0u;
  return std::bit_cast<float>(bits | static_cast<std::uint32_t>(half & 0x8000) << 16);
}

float half_at(Bytes p) {
  return half_to_float(load_u16(p));
}

void from_f32(Bytes in, float* out, std::int64_t count) {
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(out, in, static_cast<std::size_t>(count) * 4);
  } else {
    for (std::int64_t i = 0; i < count; ++i) out[i] = std::bit_cast<float>(load_u32(in + 4 * i));
  }
}
void from_f16(Bytes in, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = half_at(in + 2 * i);
}
void from_bf16(Bytes in, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(load_u16(in + 2 * i)) << 16);
}

// The 32-value blocks: low nibbles are the first 16 values, high nibbles the last 16.
void block_q4_0(Bytes in, float* out) {
  const float d = half_at(in);
  Bytes q = in + 2;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((q[i] & 15) - 8);
    out[i + 16] = d * static_cast<float>((q[i] >> 4) - 8);
  }
}
void block_q4_1(Bytes in, float* out) {
  const float d = half_at(in), m = half_at(in + 2);
  Bytes q = in + 4;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(q[i] & 15) + m;
    out[i + 16] = d * static_cast<float>(q[i] >> 4) + m;
  }
}
// Bit i of the 32-bit word is the fifth bit of value i.
void block_q5_0(Bytes in, float* out) {
  const float d = half_at(in);
  const std::uint32_t high = load_u32(in + 2);
  Bytes q = in + 6;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(static_cast<int>((q[i] & 15) | (high >> i & 1) << 4) - 16);
    out[i + 16] = d * static_cast<float>(static_cast<int>((q[i] >> 4) | (high >> (i + 16) & 1) << 4) - 16);
  }
}
void block_q5_1(Bytes in, float* out) {
  const float d = half_at(in), m = half_at(in + 2);
  const std::uint32_t high = load_u32(in + 4);
  Bytes q = in + 8;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(static_cast<int>((q[i] & 15) | (high >> i & 1) << 4)) + m;
    out[i + 16] = d * static_cast<float>(static_cast<int>((q[i] >> 4) | (high >> (i + 16) & 1) << 4)) + m;
  }
}
void block_q8_0(Bytes in, float* out) {
  const float d = half_at(in);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(static_cast<std::int8_t>(in[2 + i]));
}

// Eight 6-bit scales and minima of a K block in 12 bytes: the first four lie plain in the low six bits, the last four
// are put together from four bits of the third word and the two top bits of the first two.
struct ScalesAndMinima {
  std::array<std::uint8_t, 8> scale, minimum;
};
ScalesAndMinima unpack_scales(Bytes s) {
  ScalesAndMinima out{};
  for (std::size_t i = 0; i < 4; ++i) {
    out.scale[i] = s[i] & 63;
    out.minimum[i] = s[i + 4] & 63;
    out.scale[i + 4] = static_cast<std::uint8_t>((s[i + 8] & 15) | (s[i] >> 2 & 48));
    out.minimum[i + 4] = static_cast<std::uint8_t>((s[i + 8] >> 4) | (s[i + 4] >> 2 & 48));
  }
  return out;
}
void block_q4_k(Bytes in, float* out) {
  const float d = half_at(in), dmin = half_at(in + 2);
  const ScalesAndMinima s = unpack_scales(in + 4);
  Bytes q = in + 16;
  for (std::size_t group = 0; group < 8; ++group) {
    const float scale = d * static_cast<float>(s.scale[group]), minimum = dmin * static_cast<float>(s.minimum[group]);
    const int shift = group % 2 ? 4 : 0;
    Bytes g = q + group / 2 * 32;
    for (int i = 0; i < 32; ++i) *out++ = scale * static_cast<float>(g[i] >> shift & 15) - minimum;
  }
}
void block_q5_k(Bytes in, float* out) {
  const float d = half_at(in), dmin = half_at(in + 2);
  const ScalesAndMinima s = unpack_scales(in + 4);
  Bytes high = in + 16, q = in + 48;
  for (std::size_t group = 0; group < 8; ++group) {
    const float scale = d * static_cast<float>(s.scale[group]), minimum = dmin * static_cast<float>(s.minimum[group]);
    const int shift = group % 2 ? 4 : 0;
    Bytes g = q + group / 2 * 32;
    for (int i = 0; i < 32; ++i)
      *out++ = scale * static_cast<float>((g[i] >> shift & 15) | (high[i] >> group & 1) << 4) - minimum;
  }
}
void block_q6_k(Bytes in, float* out) {
  Bytes low = in, high = in + 128, scales = in + 192;
  const float d = half_at(in + 208);
  for (int row = 0; row < 8; ++row) {  // 32 values each
    Bytes l = low + row / 4 * 64 + row % 2 * 32;
    Bytes h = high + row / 4 * 32;
    const int low_shift = row % 4 / 2 * 4, high_shift = row % 4 * 2;
    for (int half = 0; half < 2; ++half) {
      const float scale = d * static_cast<float>(static_cast<std::int8_t>(scales[row * 2 + half]));
      for (int i = 16 * half; i < 16 * half + 16; ++i)
        *out++ = scale * static_cast<float>(((l[i] >> low_shift & 15) | (h[i] >> high_shift & 3) << 4) - 32);
    }
  }
}

template <auto Block, std::int64_t Elements, std::int64_t BlockBytes>
void blocks(Bytes in, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += Elements, in += BlockBytes) Block(in, out + i);
}

bool all_finite(const float* values, std::int64_t count) {
  std::uint32_t bad = 0;
  for (std::int64_t i = 0; i < count; ++i)
    bad |= static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u);
  return bad == 0;
}

}  // namespace

BlockLayout block_layout(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return {1, 4};
    case DType::f16:
      return {1, 2};
    case DType::bf16:
      return {1, 2};
    case DType::q4_0:
      return {32, 18};
    case DType::q4_1:
      return {32, 20};
    case DType::q5_0:
      return {32, 22};
    case DType::q5_1:
      return {32, 24};
    case DType::q8_0:
      return {32, 34};
    case DType::q4_k:
      return {256, 144};
    case DType::q5_k:
      return {256, 176};
    case DType::q6_k:
      return {256, 210};
  }
  return {};
}

void dequantize(DType dtype, Bytes in, std::span<float> values) {
  float* out = values.data();
  const auto count = static_cast<std::int64_t>(values.size());
  switch (dtype) {
    case DType::f32:
      return from_f32(in, out, count);
    case DType::f16:
      return from_f16(in, out, count);
    case DType::bf16:
      return from_bf16(in, out, count);
    case DType::q4_0:
      return blocks<block_q4_0, 32, 18>(in, out, count);
    case DType::q4_1:
      return blocks<block_q4_1, 32, 20>(in, out, count);
    case DType::q5_0:
      return blocks<block_q5_0, 32, 22>(in, out, count);
    case DType::q5_1:
      return blocks<block_q5_1, 32, 24>(in, out, count);
    case DType::q8_0:
      return blocks<block_q8_0, 32, 34>(in, out, count);
    case DType::q4_k:
      return blocks<block_q4_k, 256, 144>(in, out, count);
    case DType::q5_k:
      return blocks<block_q5_k, 256, 176>(in, out, count);
    case DType::q6_k:
      return blocks<block_q6_k, 256, 210>(in, out, count);
  }
}

std::optional<std::int64_t> dequantize_checked(DType dtype, const ReadStored& read, std::span<float> out) {
  // Values: 64 KB of fp32 and what they are stored as stay in the cache; a multiple of 256.
  constexpr std::int64_t chunk = 16384;
  constexpr std::int64_t worth_a_thread = 1 << 18;
  const auto count = static_cast<std::int64_t>(out.size());
  const BlockLayout layout = block_layout(dtype);
  // Returns the first value of [begin, end) that is not finite, or end.
  const auto work = [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::uint8_t> stored(static_cast<std::size_t>(chunk / layout.elements * layout.bytes));
    for (std::int64_t at = begin; at < end; at += chunk) {
      const std::int64_t size = std::min(chunk, end - at);
      float* const values = out.data() + at;
      const auto piece = std::span(stored).first(static_cast<std::size_t>(size / layout.elements * layout.bytes));
      read(static_cast<std::uint64_t>(at / layout.elements * layout.bytes), piece);
      dequantize(dtype, piece.data(), {values, static_cast<std::size_t>(size)});
      if (all_finite(values, size)) continue;
      for (std::int64_t i = 0; i < size; ++i)
        if (!all_finite(values + i, 1)) return at + i;
    }
    return end;
  };
  const std::int64_t cores = std::clamp<std::int64_t>(std::thread::hardware_concurrency(), 1, 16);
  const std::int64_t parts = std::clamp<std::int64_t>(count / worth_a_thread, 1, cores);
  const std::int64_t part = (count / parts + chunk - 1) / chunk * chunk;
  std::vector<std::int64_t> first_bad(static_cast<std::size_t>(parts));
  std::vector<std::exception_ptr> problems(static_cast<std::size_t>(parts));
  const auto begin_of = [&](std::int64_t i) { return std::min(count, i * part); };
  const auto end_of = [&](std::int64_t i) { return i + 1 == parts ? count : std::min(count, (i + 1) * part); };
  const auto work_part = [&](std::int64_t i) {
    try {
      first_bad[static_cast<std::size_t>(i)] = work(begin_of(i), end_of(i));
    } catch (...) {
      problems[static_cast<std::size_t>(i)] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::int64_t i = 1; i < parts; ++i) threads.emplace_back(work_part, i);
    work_part(0);
  }
  for (const auto& problem : problems)
    if (problem) std::rethrow_exception(problem);
  for (std::int64_t i = 0; i < parts; ++i)
    if (first_bad[static_cast<std::size_t>(i)] < end_of(i)) return first_bad[static_cast<std::size_t>(i)];
  return std::nullopt;
}

}  // namespace headroom::checkpoint
