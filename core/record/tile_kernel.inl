// SPDX-License-Identifier: Apache-2.0
// Body of tile_kernel.cpp, compiled once for each instruction set; the includer defines the namespace, the vector's width
// in floats (HEADROOM_LANES) and the rows that one step of the inner loop holds in registers (HEADROOM_ROWS).
namespace HEADROOM_SET {

constexpr int lanes = HEADROOM_LANES;
constexpr int step_rows = HEADROOM_ROWS;
using Vector = float __attribute__((vector_size(sizeof(float) * lanes)));
using Bits = std::int32_t __attribute__((vector_size(sizeof(float) * lanes)));
constexpr int vectors = 2;  // side by side in one step

#define HEADROOM_INLINE static inline __attribute__((always_inline))

HEADROOM_INLINE void load(Vector& to, const float* from) { __builtin_memcpy(&to, from, sizeof to); }
HEADROOM_INLINE void store(float* to, const Vector& from) { __builtin_memcpy(to, &from, sizeof from); }

// exp(y) as 2^n * exp(f), y = n ln 2 + f with |f| <= ln(2) / 2: Taylor to the 7th power, remainder below 6e-9.
HEADROOM_INLINE void exponential(Vector& y) {
  const Vector zero = {};
  const Vector low = zero - 87.0f, high = zero + 88.0f;
  y = y < low ? low : y;
  y = y > high ? high : y;
  const Vector shifted = y * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the low bits are now round(y / ln 2)
  const Vector n = shifted - 12582912.0f;
  const Vector f = (y - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts; the first is short
  Vector p = f * (1.0f / 5040.0f) + 1.0f / 720.0f;
  p = p * f + 1.0f / 120.0f;
  p = p * f + 1.0f / 24.0f;
  p = p * f + 1.0f / 6.0f;
  p = p * f + 0.5f;
  p = p * f + 1.0f;
  p = p * f + 1.0f;
  Bits exponent;
  __builtin_memcpy(&exponent, &shifted, sizeof exponent);
  exponent = (exponent << 23) + (127 << 23);  // the shift drops all of 1.5 * 2^23 but n
  Vector power;
  __builtin_memcpy(&power, &exponent, sizeof power);
  y = p * power;
}

template <int rows>
HEADROOM_INLINE void step(const float* q, const float* lse, const float* strip, std::int64_t d, float scale,
                          float weight, bool accumulate, float* out) {
  Vector sum[rows][vectors] = {};
  for (std::int64_t i = 0; i < d; ++i) {
    Vector keys[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) load(keys[v], strip + i * strip_keys + v * lanes);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const float value = q[r * d + i];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[r][v] += keys[v] * value;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      Vector y = sum[r][v] * scale - lse[r];
      y = y > Vector{} ? Vector{} : y;  // rounding must not make p exceed 1
      exponential(y);
      float* place = out + r * block_keys + v * lanes;
      y = y * weight;
      if (accumulate) {
        Vector before;
        load(before, place);
        y += before;
      }
      store(place, y);
    }
  }
}

static void probabilities(const float* q, const float* lse, std::int64_t rows, const float* panel, std::int64_t strips,
                          std::int64_t d, float scale, float weight, bool accumulate, float* out) {
  for (std::int64_t s = 0; s < strips; ++s) {
    for (std::int64_t part = 0; part < strip_keys; part += vectors * lanes) {
      const float* strip = panel + s * strip_keys * d + part;
      float* place = out + s * strip_keys + part;
      std::int64_t r = 0;
      for (; r + step_rows <= rows; r += step_rows)
        step<step_rows>(q + r * d, lse + r, strip, d, scale, weight, accumulate, place + r * block_keys);
      for (; r < rows; ++r) step<1>(q + r * d, lse + r, strip, d, scale, weight, accumulate, place + r * block_keys);
    }
  }
}

static void fold(const float* p, std::int64_t rows, float* largest, float* sum) {
  for (std::int64_t c = 0; c < block_keys; c += lanes) {
    Vector most, total;
    load(most, p + c);
    total = most;
    for (std::int64_t r = 1; r < rows; ++r) {
      Vector value;
      load(value, p + r * block_keys + c);
      most = value > most ? value : most;
      total += value;
    }
    store(largest + c, most);
    store(sum + c, total);
  }
}

static void exp_all(const float* x, std::int64_t count, float* out) {
  float buffer[lanes] = {};
  for (std::int64_t i = 0; i < count; i += lanes) {
    const std::int64_t part = count - i < lanes ? count - i : lanes;
    for (std::int64_t j = 0; j < part; ++j) buffer[j] = x[i + j];
    Vector y;
    load(y, buffer);
    exponential(y);
    store(buffer, y);
    for (std::int64_t j = 0; j < part; ++j) out[i + j] = buffer[j];
  }
}

static void row(const float* q, float lse, const float* k, std::int64_t keys, std::int64_t d, float scale, float weight,
                bool accumulate, float* out) {
  float logits[block_keys];
  for (std::int64_t begin = 0; begin < keys; begin += block_keys) {
    const std::int64_t count = keys - begin < block_keys ? keys - begin : block_keys;
    for (std::int64_t s = 0; s < count; ++s) {
      const float* key = k + (begin + s) * d;
      Vector sums = {};
      std::int64_t i = 0;
      for (; i + lanes <= d; i += lanes) {
        Vector a, b;
        load(a, q + i);
        load(b, key + i);
        sums += a * b;
      }
      float dot = 0;
      for (int lane = 0; lane < lanes; ++lane) dot += sums[lane];
      for (; i < d; ++i) dot += q[i] * key[i];
      const float y = dot * scale - lse;
      logits[s] = y > 0 ? 0 : y;
    }
    exp_all(logits, count, logits);
    for (std::int64_t s = 0; s < count; ++s)
      out[begin + s] = accumulate ? out[begin + s] + weight * logits[s] : weight * logits[s];
  }
}

static const TileKernels kernels = {HEADROOM_NAME, probabilities, fold, row, exp_all};

#undef HEADROOM_INLINE

}  // namespace HEADROOM_SET
