// SPDX-License-Identifier: Apache-2.0
// What rows of a map missed, key by key, and who reads one key: exact sums over many rows from a recorded stream, in
// memory that grows with the prompt's length alone. For threads that may take their time.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <stop_token>
#include <vector>

#include "base/support_bitmap.h"
#include "record/tiles.h"

namespace headroom::record {

/// A key that rows missed: in their target T, not in their support S.
struct MissedKey {
  std::int64_t key = -1;
  std::int64_t rows = 0;        ///< that missed it
  std::int64_t known_rows = 0;  ///< … and whose p is known
  double mass = 0;              ///< sum of p over the latter
  std::int64_t query = -1;      ///< the row with most p among them; the last one where no p is known
  float most = std::numeric_limits<float>::quiet_NaN();  ///< its p; NaN: not known
  int layer = -1;                                        ///< of `query`
  int layers = 0;                                        ///< in how many it was missed
};

/// Adds up the missed keys of rows, of one layer or of several.
class MissedTally {
 public:
  /// `length`: tokens of the prompt.
  explicit MissedTally(std::int64_t length);

  /// Told after each row and asked whether to go on.
  using Step = std::function<bool(std::int64_t rows_done)>;
  /// Rows [query_begin, query_end) of one layer. `stream` may be null or of fewer rows: what it does not hold counts
  /// without a mass. False where `step` ended it early; what was added by then stays. The supports are of the
  /// prompt's length (else an internal error).
  template <typename Rows>
  bool add(int layer, const LayerStream* stream, HeadSelector head, const Rows& support, const Rows& target,
           std::int64_t query_begin, std::int64_t query_end, const Step& step = {});

  /// By mass, then by rows, most first; ties by key.
  std::vector<MissedKey> keys() const;
  std::int64_t rows() const { return rows_; }              ///< looked at, in all layers
  std::int64_t known_rows() const { return known_rows_; }  ///< whose p is known
  std::int64_t pairs() const { return pairs_; }            ///< missed, with p or without
  double mass() const { return mass_; }                    ///< missed by known_rows(), each of which reads 1

 private:
  std::vector<MissedKey> keys_;
  std::vector<int> counted_in_;  ///< by key: the layer that it was last counted for
  std::int64_t rows_ = 0, known_rows_ = 0, pairs_ = 0;
  double mass_ = 0;
};

/// p(t, key) for every query t: [L], 0 before the key, NaN for rows that are not kept; empty where a stop was requested
/// or there is no such key.
std::vector<float> probability_column(const LayerStream& stream, HeadSelector head, std::int64_t key,
                                      std::stop_token stop = {});

}  // namespace headroom::record
