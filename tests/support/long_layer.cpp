// SPDX-License-Identifier: Apache-2.0
#include "support/long_layer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace headroom::test {
namespace {

constexpr std::int64_t code_bits = 16;

std::uint64_t mixed(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ x >> 33;
}
double uniform(std::uint64_t seed) {
  return static_cast<double>(mixed(seed) >> 11) * 0x1p-53;
}
/// Multiples of 1/64 are exact in float16, and so are their products' sums in float32.
float sixty_fourth(double value) {
  return static_cast<float>(std::round(value * 64) / 64);
}

}  // namespace

LongLayer::LongLayer(const SyntheticOptions& o, const std::string& method, int layer)
    : length_(o.tokens),
      heads_(o.num_q_heads),
      groups_(o.num_kv_heads),
      width_(o.head_dim),
      seed_(mixed(o.seed * 1000 + static_cast<std::uint64_t>(layer))),
      scale_(1 / std::sqrt(static_cast<double>(o.head_dim))) {
  const double drift = method == "dense" ? 0 : 0.15 * (layer + 1);
  const std::int64_t stripes = std::max<std::int64_t>(length_ / 512, 4);
  codes_.resize(static_cast<std::size_t>(groups_ * blocks()));
  u_.resize(static_cast<std::size_t>(groups_ * length_));
  for (std::int64_t group = 0; group < groups_; ++group) {
    const std::uint64_t seed = mixed(seed_ + static_cast<std::uint64_t>(group) * 77);
    auto code = static_cast<std::uint16_t>(seed);
    for (std::int64_t b = 0; b < blocks(); ++b) {
      // Each block flips a few signs of the one before: likeness fades with distance.
      for (int flips = 0; flips < 2; ++flips)
        code ^= static_cast<std::uint16_t>(1u << (mixed(seed + static_cast<std::uint64_t>(b * 2 + flips)) % code_bits));
      codes_[static_cast<std::size_t>(group * blocks() + b)] = code;
    }
    float* u = u_.data() + group * length_;
    for (std::int64_t s = 0; s < length_; ++s) {
      const auto at = seed ^ mixed(static_cast<std::uint64_t>(s));
      u[s] = sixty_fourth(2 * (uniform(at) + uniform(at + 1) + uniform(at + 2)) - 3 + drift * (uniform(at + 3) - 0.5));
    }
    for (std::int64_t i = 0; i < stripes; ++i) {
      const auto s = static_cast<std::int64_t>(uniform(o.seed * 31 + static_cast<std::uint64_t>(i)) *
                                               static_cast<double>(length_));
      u[s] = sixty_fourth(4 + 4 * uniform(seed + static_cast<std::uint64_t>(i) * 3));
    }
    for (std::int64_t s = length_ / 3; s < length_ / 3 + 8; ++s) u[s] = 9;  // the needle
    for (std::int64_t s = 0; s < 4; ++s) u[s] = s == 0 ? 14 : 10;           // sinks
    w_.push_back(sixty_fourth(std::sqrt(static_cast<double>(width_)) * (0.55 + 0.3 * uniform(seed + 5))));
  }
  v_.resize(u_.size());
  std::vector<float> sums(static_cast<std::size_t>(groups_ * blocks()), 0.0f);
  for (std::int64_t group = 0; group < groups_; ++group)
    for (std::int64_t s = 0; s < length_; ++s) {
      const auto at = static_cast<std::size_t>(group * length_ + s);
      v_[at] = std::exp(static_cast<float>(scale_) * w_[static_cast<std::size_t>(group)] * u_[at]);
      sums[static_cast<std::size_t>(group * blocks() + s / block)] += v_[at];
    }
  inverse_z_.resize(static_cast<std::size_t>(heads_ * length_));
  for (std::int64_t head = 0; head < heads_; ++head) {
    c_.push_back(sixty_fourth(std::sqrt(static_cast<double>(width_)) *
                              (1.5 + 3 * uniform(seed_ + static_cast<std::uint64_t>(head) * 13)) / code_bits));
    std::array<float, 17> table{};
    for (std::size_t apart = 0; apart < table.size(); ++apart)
      table[apart] = std::exp(static_cast<float>(scale_) * c_.back() * (16.0f - 2.0f * static_cast<float>(apart)));
    table_.push_back(table);
    const std::int64_t group = group_of(head);
    for (std::int64_t b = 0; b < blocks(); ++b) {
      double before = 0;
      for (std::int64_t other = 0; other < b; ++other)
        before += static_cast<double>(e(head, b, other) * sums[static_cast<std::size_t>(group * blocks() + other)]);
      for (std::int64_t t = b * block; t < (b + 1) * block; ++t) {
        before += static_cast<double>(e(head, b, b) * v(group, t));
        inverse_z_[static_cast<std::size_t>(head * length_ + t)] = static_cast<float>(1 / before);
      }
    }
  }
}

void LongLayer::rows(record::RecordWriter::StreamPart part, std::int64_t head, std::int64_t begin, std::int64_t count,
                     float* out) const {
  using Part = record::RecordWriter::StreamPart;
  if (part == Part::lse) {
    for (std::int64_t i = 0; i < count; ++i) out[i] = -std::log(inverse_z(head, begin + i));
    return;
  }
  const bool q = part == Part::q;
  const std::int64_t group = q ? group_of(head) : head, middle = 17 + (width_ - 17) / 2;
  // Noise where the other side is zero: it moves no probability, but stored numbers look like numbers.
  const std::int64_t noise_begin = q ? 17 : middle, noise_end = q ? middle : width_;
  for (std::int64_t i = 0; i < count; ++i, out += width_) {
    const std::int64_t t = begin + i;
    const auto code = codes_[static_cast<std::size_t>(group * blocks() + t / block)];
    std::fill(out, out + width_, 0.0f);
    out[0] = q ? w_[static_cast<std::size_t>(group)] : u_[static_cast<std::size_t>(group * length_ + t)];
    for (std::int64_t bit = 0; bit < code_bits; ++bit)
      out[1 + bit] = (code >> bit & 1 ? 1.0f : -1.0f) * (q ? c_[static_cast<std::size_t>(head)] : 1.0f);
    std::uint64_t state = mixed(seed_ ^ static_cast<std::uint64_t>((head * 2 + q) * length_ + t));
    for (std::int64_t d = noise_begin; d < noise_end; ++d) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      out[d] = static_cast<float>(static_cast<int>(state >> 56) - 128) / 64;
    }
  }
}

float LongLayer::weight(std::int64_t group, std::int64_t query, std::int64_t key_block) const {
  const std::int64_t size = heads_ / groups_;
  float sum = 0;
  for (std::int64_t head = group * size; head < (group + 1) * size; ++head)
    sum += e(head, query / block, key_block) * inverse_z(head, query);
  return sum / static_cast<float>(heads_);
}

float LongLayer::mass(std::int64_t query, std::int64_t key) const {
  float sum = 0;
  for (std::int64_t group = 0; group < groups_; ++group) sum += weight(group, query, key / block) * v(group, key);
  return sum;
}

std::vector<float> LongLayer::mass_row(std::int64_t query) const {
  std::vector<float> row(static_cast<std::size_t>(length_), 0.0f);
  for (std::int64_t b = 0; b <= query / block; ++b)
    for (std::int64_t group = 0; group < groups_; ++group) {
      const float factor = weight(group, query, b);
      const std::int64_t end = std::min((b + 1) * block, query + 1);
      for (std::int64_t s = b * block; s < end; ++s) row[static_cast<std::size_t>(s)] += factor * v(group, s);
    }
  return row;
}

LongSupport choose(const LongLayer& layer, std::int64_t k, std::uint64_t seed) {
  LongSupport result;
  const std::int64_t far = std::max<std::int64_t>(k - LongLayer::block, 1);
  for (std::int64_t b = 0; b < layer.blocks(); ++b) {
    const std::int64_t before = b * LongLayer::block, count = std::min(far, before);
    const std::vector<float> m = layer.mass_row(before + LongLayer::block / 2);
    std::vector<std::int32_t> order(static_cast<std::size_t>(before));
    std::vector<float> guess(order.size());
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t s = 0; s < guess.size(); ++s)
      guess[s] =
          m[s] * std::exp(0.8f * static_cast<float>(uniform(seed + static_cast<std::uint64_t>(b) * 131071 + s) - 0.5));
    const auto pick = [&](const auto& score) {
      std::nth_element(order.begin(), order.begin() + count, order.end(), [&](std::int32_t x, std::int32_t y) {
        return score[static_cast<std::size_t>(x)] > score[static_cast<std::size_t>(y)];
      });
      std::vector<std::int32_t> keys(order.begin(), order.begin() + count);
      std::sort(keys.begin(), keys.end());
      return keys;
    };
    result.best.push_back(pick(m));
    result.chosen.push_back(pick(guess));
    std::vector<std::int32_t> wasted;
    const float little = 0.1f / static_cast<float>(before + 1);
    for (const std::int32_t key : result.chosen.back())
      if (m[static_cast<std::size_t>(key)] < little &&
          !std::binary_search(result.best.back().begin(), result.best.back().end(), key))
        wasted.push_back(key);
    result.wasted.push_back(std::move(wasted));
  }
  return result;
}

namespace {

/// Rows of a block differ a little: one key in sixteen gives way to its neighbour.
bool moves(std::int64_t query, std::int32_t key) {
  return mixed(static_cast<std::uint64_t>(query) * 0x9e3779b97f4a7c15ULL + static_cast<std::uint64_t>(key)) % 16 == 0;
}

}  // namespace

void LongSupport::support(std::int64_t query, std::vector<std::int32_t>& keys) const {
  const std::int64_t b = query / LongLayer::block;
  const auto& of = chosen[static_cast<std::size_t>(b)];
  for (std::size_t i = 0; i < of.size(); ++i) {
    const std::int32_t next = i + 1 < of.size() ? of[i + 1] : static_cast<std::int32_t>(b * LongLayer::block);
    keys.push_back(of[i] + (of[i] + 1 < next && moves(query, of[i]) ? 1 : 0));
  }
  for (std::int64_t s = b * LongLayer::block; s <= query; ++s) keys.push_back(static_cast<std::int32_t>(s));
}

void LongSupport::target(std::int64_t query, std::vector<std::int32_t>& keys) const {
  const std::int64_t b = query / LongLayer::block;
  keys.insert(keys.end(), best[static_cast<std::size_t>(b)].begin(), best[static_cast<std::size_t>(b)].end());
  for (std::int64_t s = b * LongLayer::block; s <= query; ++s) keys.push_back(static_cast<std::int32_t>(s));
}

void LongSupport::waste(std::int64_t query, std::vector<std::int32_t>& keys) const {
  const auto b = static_cast<std::size_t>(query / LongLayer::block);
  for (const std::int32_t key : wasted[b])
    if (!moves(query, key)) keys.push_back(key);
}

}  // namespace headroom::test
