// SPDX-License-Identifier: Apache-2.0
// Stored tiles: the largest and the mean probability of cells of 2, 4, 8 … pairs a side, and what they hit, miss and
// waste, so that a long prompt's map needs neither q and k nor its supports to be drawn from afar (docs/record.md).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/method.h"
#include "base/support_bitmap.h"
#include "record/tiles.h"
#include "record/types.h"

namespace headroom::record {

/// First level that is stored, for the head mean and for single heads; all coarser ones are, too. -1: none.
struct PyramidLevels {
  int mean = -1, heads = -1;
  bool operator==(const PyramidLevels&) const = default;
  bool any() const { return mean >= 0 || heads >= 0; }
};

/// Where a tile made from q and k takes more than about a tenth of a second, but at most 8192 cells a side for the head
/// mean and 2048 for a head; none where the thumbnail (128 cells) is as fine.
PyramidLevels pyramid_levels(std::int64_t length, const LayerMeta& layer);

/// Bytes of a layer's pyramid before compression, for one method with `groups` supports (0: dense); half of it is
/// empty.
std::int64_t pyramid_bytes(std::int64_t length, const LayerMeta& layer, std::int64_t groups);

/// One kind of value of a pyramid. Those of the head mean begin with m_.
enum class Plane { max, mean, missed_mass, m_max, m_mean, m_missed_mass, hit, missed, wasted, selected };
inline constexpr int num_planes = 10;
const char* plane_name(Plane plane);
inline bool is_count(Plane plane) {
  return plane >= Plane::hit;
}
inline bool of_head_mean(Plane plane) {
  return plane == Plane::m_max || plane == Plane::m_mean || plane == Plane::m_missed_mass;
}

/// Takes the rows of cells of a plane's first level, makes the coarser levels of them and hands bands of rows on: at no
/// time more than a band of each level is held.
class PyramidRows {
 public:
  struct Dataset {
    std::string name;  ///< "7/max"
    Plane plane;
    std::int64_t planes = 1, side = 0, band = 0;  ///< [planes, side, side] in bands of so many rows
  };
  /// Rows [row, row + rows) of one index of a dataset; counts as int32, all else as float32 (8 bits of mantissa).
  using WriteFloats =
      std::function<void(const Dataset&, std::int64_t index, std::int64_t row, std::int64_t rows, const float* values)>;
  using WriteCounts = std::function<void(const Dataset&, std::int64_t index, std::int64_t row, std::int64_t rows,
                                         const std::int32_t* values)>;

  /// `planes`: heads, head groups, or 1.
  PyramidRows(Plane plane, std::int64_t planes, std::int64_t length, int first_level, WriteFloats floats,
              WriteCounts counts);
  std::vector<Dataset> datasets() const;
  /// The next row of the first level of `index`. Sums (mean, masses), largest values or counts; cells that are not
  /// given are 0.
  void add(std::int64_t index, std::span<const double> cells);
  /// After the last row of every index.
  void finish();

 private:
  struct Level {
    Dataset dataset;
    int level = 0;
    std::vector<std::int64_t> next;           ///< [planes] row that comes next
    std::vector<std::vector<double>> before;  ///< [planes] the row that waits for its neighbour
    std::vector<float> floats;                ///< [planes, band, side]
    std::vector<std::int32_t> counts;
  };
  void add_to(std::size_t level, std::int64_t index, std::vector<double> cells);
  void flush(Level& level, std::int64_t index, std::int64_t rows);

  Plane plane_;
  std::int64_t length_;
  std::vector<Level> levels_;
  WriteFloats write_floats_;
  WriteCounts write_counts_;
};

/// A method's supports in a layer, a bitmap for each head group; empty for dense.
struct PyramidSupports {
  SupportScope scope = SupportScope::layer;
  std::span<const SupportBitmap> support = {}, target = {}, wasted = {};
};

/// Where the planes of one layer go: a row of a plane's first level. Missing planes are not asked for.
using PyramidSink = std::function<void(Plane plane, std::int64_t index, std::span<const double> cells)>;

/// Goes once through all causal pairs of the stream, strips of rows at a time, in `threads` threads; memory grows with
/// the prompt's length, not its square. The rows that the stream does not keep are 0. False once stopped.
bool build_pyramid(const LayerStream& stream, const PyramidSupports& supports, PyramidLevels levels, int threads,
                   const PyramidSink& sink, std::stop_token stop = {});

/// First level of a plane where the layer's are `levels`; -1: there is none. `groups`: 0 for dense.
int first_level(Plane plane, PyramidLevels levels, std::int64_t groups);

}  // namespace headroom::record
