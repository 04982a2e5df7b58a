// SPDX-License-Identifier: GPL-3.0-or-later
// Tiles of layers that the record does not hold: the window asks the engine while its model is loaded.
#pragma once

#include <QString>
#include <functional>
#include <memory>

#include "record/tiles.h"

namespace headroom::views {

/// Which map a tile belongs to.
struct MapId {
  QString run_id;  ///< RunMeta::run_id
  QString method;  ///< method id
  int layer = 0;
  record::HeadSelector head;
  bool operator==(const MapId&) const = default;
};

class TileProvider {
 public:
  virtual ~TileProvider() = default;
  /// Expires with this object: what holds a provider asks here before it calls, since either may go first.
  std::weak_ptr<const void> alive() const { return life_; }
  /// Whether `request` can be answered now (the run's model is loaded and its prompt prefilled).
  virtual bool can_provide(const MapId& map) const = 0;
  /// Asks for a tile; called on the GUI thread. `done` is called on the GUI thread, later, at most once, with null
  /// where it could not be had (`reason` says why in a sentence). Returns a number for cancel().
  virtual quint64 request(const MapId& map, record::TileAddress address,
                          std::function<void(std::shared_ptr<const record::Tile>, const QString& reason)> done) = 0;
  /// The answer is no longer wanted; `done` is not called after this.
  virtual void cancel(quint64 request) = 0;

 private:
  std::shared_ptr<const void> life_ = std::make_shared<char>();
};

}  // namespace headroom::views
