// SPDX-License-Identifier: GPL-3.0-or-later
// Map tiles from the engine, for layers of its last run that the record does not hold.
#pragma once

#include <QHash>
#include <QObject>

#include "gui/engine_client.h"
#include "views/map/tile_provider.h"

namespace headroom::gui {

class EngineTiles : public QObject, public views::TileProvider {
  Q_OBJECT
 public:
  explicit EngineTiles(EngineClient& engine, QObject* parent = nullptr);

  bool can_provide(const views::MapId& map) const override;
  quint64 request(const views::MapId& map, record::TileAddress address,
                  std::function<void(std::shared_ptr<const record::Tile>, const QString& reason)> done) override;
  void cancel(quint64 request) override;

 private:
  EngineClient& engine_;
  QString run_id_;  ///< of the run whose streams the engine still has
  QHash<quint64, std::int64_t> wanted_;  ///< our number: the engine client's; 0 where it has not been sent yet
  quint64 next_ = 1;
};

}  // namespace headroom::gui
