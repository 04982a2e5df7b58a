// SPDX-License-Identifier: Apache-2.0
// One layer of a long synthetic prompt. The logit of query t and key s is E(block of t, block of s) + w * u(s): a band
// of like blocks around the diagonal, and keys of different strength that every query reads as its head weighs them. So
// the probability is a product, p(t, s) = e(bt, bs) v(s) / z(t), and sums and largest values over blocks need no pairs.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "record/record_writer.h"
#include "support/synthetic_record.h"

namespace headroom::test {

class LongLayer {
 public:
  static constexpr std::int64_t block = 64;  ///< tokens that share e

  LongLayer(const SyntheticOptions& options, const std::string& method, int layer);

  std::int64_t length() const { return length_; }
  std::int64_t heads() const { return heads_; }
  std::int64_t groups() const { return groups_; }
  std::int64_t blocks() const { return length_ / block; }
  std::int64_t group_of(std::int64_t head) const { return head / (heads_ / groups_); }

  /// Rows of q, k or log-sum-exp as the record's writer asks for them.
  void rows(record::RecordWriter::StreamPart part, std::int64_t head, std::int64_t begin, std::int64_t count,
            float* out) const;
  double scale() const { return scale_; }

  float e(std::int64_t head, std::int64_t query_block, std::int64_t key_block) const {
    const auto g = static_cast<std::size_t>(group_of(head) * blocks());
    const int apart = __builtin_popcount(static_cast<unsigned>(codes_[g + static_cast<std::size_t>(query_block)] ^
                                                               codes_[g + static_cast<std::size_t>(key_block)]));
    return table_[static_cast<std::size_t>(head)][static_cast<std::size_t>(apart)];
  }
  float v(std::int64_t group, std::int64_t key) const { return v_[static_cast<std::size_t>(group * length_ + key)]; }
  const float* v(std::int64_t group) const { return v_.data() + group * length_; }
  float inverse_z(std::int64_t head, std::int64_t query) const {
    return inverse_z_[static_cast<std::size_t>(head * length_ + query)];
  }
  const float* inverse_z(std::int64_t head) const { return inverse_z_.data() + head * length_; }
  float p(std::int64_t head, std::int64_t query, std::int64_t key) const {
    return e(head, query / block, key / block) * v(group_of(head), key) * inverse_z(head, query);
  }
  /// Sums over a group's heads of e / z / heads for queries of one block and keys of another: m = sum of these times v.
  float weight(std::int64_t group, std::int64_t query, std::int64_t key_block) const;
  float mass(std::int64_t query, std::int64_t key) const;
  /// [length] of one query; 0 after it.
  std::vector<float> mass_row(std::int64_t query) const;

 private:
  std::int64_t length_, heads_, groups_, width_;
  std::uint64_t seed_;
  double scale_;
  std::vector<std::uint16_t> codes_;          ///< [groups, blocks] signs of 16 dimensions
  std::vector<std::array<float, 17>> table_;  ///< [heads] e by how many signs differ
  std::vector<float> c_, w_;                  ///< [heads] of the band, [groups] of the keys' strength
  std::vector<float> u_, v_;                  ///< [groups, length] strength, exp(scale * w * u)
  std::vector<float> inverse_z_;              ///< [heads, length]
};

/// Which keys the queries of a block of 64 choose, and which they should; those of the block itself come on top.
struct LongSupport {
  std::vector<std::vector<std::int32_t>> chosen, best, wasted;  ///< [blocks], ascending; wasted: of the chosen
  void support(std::int64_t query, std::vector<std::int32_t>& keys) const;
  void target(std::int64_t query, std::vector<std::int32_t>& keys) const;
  void waste(std::int64_t query, std::vector<std::int32_t>& keys) const;
};
LongSupport choose(const LongLayer& layer, std::int64_t k, std::uint64_t seed);

/// Stored tiles, thumbnails and column sums of one layer, whole or without supports.
void write_long_maps(record::RecordWriter& writer, const std::string& method, int number, const LongLayer& layer,
                     const LongSupport* support);

}  // namespace headroom::test
