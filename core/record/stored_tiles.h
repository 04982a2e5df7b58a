// SPDX-License-Identifier: Apache-2.0
// Which ready-made tiles a record holds of a layer, and what its parts weigh.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "record/pyramid.h"

namespace headroom::record {

struct StoredLevels {
  /// First level that is stored, by Plane; -1: none. All coarser levels are stored, too.
  std::array<int, num_planes> first = {-1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

  bool has(Plane plane, int level) const {
    const int from = first[static_cast<std::size_t>(plane)];
    return from >= 0 && level >= from;
  }
  bool any() const { return has(Plane::max, 64) || has(Plane::m_max, 64); }
  /// A tile of these heads. Groups of heads have none: the largest value of a mean is not to be had from those of its
  /// parts.
  bool has_tile(HeadSelector head, int level) const {
    using Kind = HeadSelector::Kind;
    return head.kind == Kind::head ? has(Plane::max, level) : head.kind == Kind::mean && has(Plane::m_max, level);
  }
  bool has_overlay(int level) const { return has(Plane::hit, level); }
  /// With the mass that these heads miss.
  bool has_missed_mass(HeadSelector head, int level) const {
    return has(head.kind == HeadSelector::Kind::mean ? Plane::m_missed_mass : Plane::missed_mass, level);
  }
};

struct RecordPart {
  /// "prompt", "figures", "marginals", "thumbnails", "pyramids", "supports", "streams" or "rest"
  std::string kind;
  std::string method;  ///< empty: of the whole record
  int layer = -1;      ///< -1: of the whole method
  std::int64_t bytes = 0;
};

}  // namespace headroom::record
