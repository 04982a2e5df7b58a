// SPDX-License-Identifier: GPL-3.0-or-later
// Finished tiles, kept up to a number of bytes, least recently used first out. One for all maps of the program: what
// the window has drawn need not be made again for a figure or for the Compare page, nor kept twice.
#pragma once

#include <QHash>
#include <QString>
#include <list>
#include <memory>
#include <vector>

#include "record/tiles.h"
#include "views/map/map_data.h"

namespace headroom::views {

struct CellGrid;
struct OverlayGrid;

/// What a place in the store is of. Looked up several hundred times a frame: numbers, no text that is put together.
struct TileKey {
  enum class What : quint8 { map, overlay, ranks, difference_of_max, difference_of_mean };
  const void* owner = nullptr;   ///< the record; data without one (made in memory); of a difference: its first grid
  const void* second = nullptr;  ///< of a difference
  What what = What::map;
  record::HeadSelector::Kind head_kind = record::HeadSelector::Kind::mean;
  int head_index = 0, layer = 0, level = 0;
  std::int64_t row = 0, column = 0;
  QString method;
  bool operator==(const TileKey&) const = default;
  /// A tile of the same map, or of the same overlay.
  bool same_map(const TileKey& other) const {
    return owner == other.owner && what == other.what && head_kind == other.head_kind &&
           head_index == other.head_index && layer == other.layer && method == other.method;
  }
};
size_t qHash(const TileKey& key, size_t seed = 0);

/// On the window's thread.
class TileStore {
 public:
  struct Entry {
    TileKey key;
    std::shared_ptr<const CellGrid> grid;
    std::shared_ptr<const OverlayGrid> overlay;
    std::shared_ptr<const std::vector<std::uint16_t>> codes;  ///< of a difference
    /// The record or the data that it is of, of a difference both grids. Addresses are used again: a tile of what is
    /// gone is gone, too.
    std::weak_ptr<const void> owner, second;
    std::size_t bytes = 0;
    std::uint64_t used = 0;  ///< of clock_: when it was last found or put in; the store's business
  };

  static constexpr std::size_t usual_bytes = std::size_t{128} << 20;
  explicit TileStore(std::size_t max_bytes = usual_bytes) : max_bytes_(max_bytes) {}
  TileStore(const TileStore&) = delete;
  TileStore& operator=(const TileStore&) = delete;
  /// The program's own; there as long as someone has it.
  static std::shared_ptr<TileStore> shared();

  /// Null where it is not there. Marks it as used. Valid until the next call of anything else.
  const Entry* find(const TileKey& key);
  bool contains(const TileKey& key) { return look(key) != index_.end(); }
  void insert(Entry entry);
  /// While somebody holds it nothing is thrown out that was used since: an export may need more tiles at once than are
  /// kept.
  void hold(bool held);
  std::size_t bytes() const { return bytes_; }

 private:
  using Place = std::list<Entry>::iterator;
  using Index = QHash<TileKey, Place>;
  Index::iterator look(const TileKey& key);
  void erase(Place place);
  void shrink();

  std::size_t max_bytes_, bytes_ = 0;
  std::list<Entry> entries_;  ///< most recently used first
  Index index_;
  int holders_ = 0;
  std::uint64_t clock_ = 0, held_since_ = 0;
};

}  // namespace headroom::views
