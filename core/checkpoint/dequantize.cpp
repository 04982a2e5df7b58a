// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/dequantize.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <exception>
#include <limits>
#include <thread>
#include <vector>

#include "base/error.h"

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

// Four bits of exponent with bias 7, three of mantissa; all ones is NaN, and there are no infinities.
const std::array<float, 256>& e4m3_values() {
  static const std::array<float, 256> values = [] {
    std::array<float, 256> table{};
    for (std::size_t i = 0; i < 256; ++i) {
      const int exponent = static_cast<int>(i >> 3 & 15), mantissa = static_cast<int>(i & 7);
      float value = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                  : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
      if ((i & 127) == 127) value = std::numeric_limits<float>::quiet_NaN();
      table[i] = i < 128 ? value : -value;
    }
    return table;
  }();
  return values;
}
void from_e4m3(Bytes in, float* out, std::int64_t count) {
  const auto& values = e4m3_values();
  for (std::int64_t i = 0; i < count; ++i) out[i] = values[in[i]];
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

// Of 16 values each a 4-bit scale (low) and minimum (high); 2-bit values, 32 of them a bit position.
void block_q2_k(Bytes in, float* out) {
  Bytes scales = in, q = in + 16;
  const float d = half_at(in + 80), dmin = half_at(in + 82);
  for (int group = 0; group < 16; ++group) {
    const float scale = d * static_cast<float>(scales[group] & 15),
                minimum = dmin * static_cast<float>(scales[group] >> 4);
    Bytes g = q + group / 8 * 32 + group % 2 * 16;
    const int shift = group % 8 / 2 * 2;
    for (int i = 0; i < 16; ++i) *out++ = scale * static_cast<float>(g[i] >> shift & 3) - minimum;
  }
}
// 16 six-bit scales in 12 bytes (low nibbles of 8 bytes, then high ones; the top bits in the last four); the third bit
// of a value, where it is not set, takes 4 off.
void block_q3_k(Bytes in, float* out) {
  Bytes high = in, q = in + 32, scales = in + 96;
  const float d = half_at(in + 108);
  for (int group = 0; group < 16; ++group) {
    const int low = scales[group % 8] >> (group < 8 ? 0 : 4) & 15, top = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const float scale = d * static_cast<float>((low | top << 4) - 32);
    const int first = group % 2 * 16, row = group / 2;
    Bytes g = q + group / 8 * 32 + first, h = high + first;
    const int shift = row % 4 * 2;
    for (int i = 0; i < 16; ++i)
      *out++ = scale * static_cast<float>((g[i] >> shift & 3) - ((h[i] >> row & 1) == 0 ? 4 : 0));
  }
}

// What the four bits of IQ4_NL and IQ4_XS stand for.
constexpr std::array<float, 16> iq4_values = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
void nibbles_16(Bytes q, float scale, const std::array<float, 16>& values, float* out) {
  for (int i = 0; i < 16; ++i) {
    out[i] = scale * values[q[i] & 15];
    out[i + 16] = scale * values[q[i] >> 4];
  }
}
void block_iq4_nl(Bytes in, float* out) {
  nibbles_16(in + 2, half_at(in), iq4_values, out);
}
void block_iq4_xs(Bytes in, float* out) {
  const float d = half_at(in);
  const unsigned high = load_u16(in + 2);
  for (int group = 0; group < 8; ++group) {
    const int low = in[4 + group / 2] >> (group % 2 * 4) & 15, top = static_cast<int>(high >> (2 * group) & 3);
    nibbles_16(in + 8 + group * 16, d * static_cast<float>((low | top << 4) - 32), iq4_values, out + 32 * group);
  }
}

// Twice the values of OCP's E2M1; the scale is a power of two, halved for it.
constexpr std::array<float, 16> e2m1_doubled = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
void block_mxfp4(Bytes in, float* out) {
  nibbles_16(in + 1, std::ldexp(1.0f, in[0] - 128), e2m1_doubled, out);
}

template <auto Block, std::int64_t Elements, std::int64_t BlockBytes>
void blocks(Bytes in, float* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += Elements, in += BlockBytes) Block(in, out + i);
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
    case DType::f8_e4m3:
    case DType::u8:
      return {1, 1};
    case DType::i32:
      return {1, 4};
    case DType::i64:
      return {1, 8};
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
    case DType::q2_k:
      return {256, 84};
    case DType::q3_k:
      return {256, 110};
    case DType::q4_k:
      return {256, 144};
    case DType::q5_k:
      return {256, 176};
    case DType::q6_k:
      return {256, 210};
    case DType::iq4_nl:
      return {32, 18};
    case DType::iq4_xs:
      return {256, 136};
    case DType::mxfp4:
    case DType::mxfp4_pairs:
      return {32, 17};
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
    case DType::f8_e4m3:
      return from_e4m3(in, out, count);
    case DType::u8:
      for (std::int64_t i = 0; i < count; ++i) out[i] = in[i];
      return;
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
    case DType::q2_k:
      return blocks<block_q2_k, 256, 84>(in, out, count);
    case DType::q3_k:
      return blocks<block_q3_k, 256, 110>(in, out, count);
    case DType::q4_k:
      return blocks<block_q4_k, 256, 144>(in, out, count);
    case DType::q5_k:
      return blocks<block_q5_k, 256, 176>(in, out, count);
    case DType::q6_k:
      return blocks<block_q6_k, 256, 210>(in, out, count);
    case DType::iq4_nl:
      return blocks<block_iq4_nl, 32, 18>(in, out, count);
    case DType::iq4_xs:
      return blocks<block_iq4_xs, 256, 136>(in, out, count);
    case DType::mxfp4:
      return blocks<block_mxfp4, 32, 17>(in, out, count);
    case DType::i32:
    case DType::i64:
    case DType::mxfp4_pairs:
      break;
  }
  throw Error(ErrorKind::internal, "these values are not stored in blocks");
}

void dequantize_mxfp4_pairs(Bytes nibbles, Bytes scales, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); i += 32, nibbles += 16, ++scales) {
    const float scale =
        *scales == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, static_cast<int>(*scales) - 128);
    for (std::size_t j = 0; j < 16; ++j) {
      out[i + 2 * j] = scale * e2m1_doubled[nibbles[j] & 15];
      out[i + 2 * j + 1] = scale * e2m1_doubled[nibbles[j] >> 4];
    }
  }
}

bool all_finite(std::span<const float> values) {
  std::uint32_t bad = 0;
  for (const float value : values)
    bad |= static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(value) & 0x7f800000u) == 0x7f800000u);
  return bad == 0;
}

std::optional<std::int64_t> dequantize_checked(DType dtype, const ReadStored& read, std::span<float> out) {
  const BlockLayout layout = block_layout(dtype);
  const auto values = [&](std::int64_t first, std::span<float> part) {
    thread_local std::vector<std::uint8_t> stored;
    const auto bytes = static_cast<std::int64_t>(part.size()) / layout.elements * layout.bytes;
    stored.resize(static_cast<std::size_t>(bytes));
    read(static_cast<std::uint64_t>(first / layout.elements * layout.bytes), stored);
    dequantize(dtype, stored.data(), part);
  };
  return read_checked(values, out, true);
}

std::optional<std::int64_t> read_checked(const ReadValues& read, std::span<float> out, bool all_cores) {
  // Values: 64 KB of fp32 and what they are stored as stay in the cache; a multiple of 256.
  constexpr std::int64_t chunk = 16384;
  constexpr std::int64_t worth_a_thread = 1 << 18;
  const auto count = static_cast<std::int64_t>(out.size());
  // Returns the first value of [begin, end) that is not finite, or end.
  const auto work = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin; at < end; at += chunk) {
      const auto values =
          out.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(std::min(chunk, end - at)));
      read(at, values);
      if (all_finite(values)) continue;
      for (std::size_t i = 0; i < values.size(); ++i)
        if (!all_finite(values.subspan(i, 1))) return at + static_cast<std::int64_t>(i);
    }
    return end;
  };
  const std::int64_t cores = std::clamp<std::int64_t>(std::thread::hardware_concurrency(), 1, 16);
  const std::int64_t parts = all_cores ? std::clamp<std::int64_t>(count / worth_a_thread, 1, cores) : 1;
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
