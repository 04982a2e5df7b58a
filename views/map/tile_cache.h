// SPDX-License-Identifier: GPL-3.0-or-later
// Tiles of attention maps and their overlays, made in the background and put into a store. Requests that nobody wants
// any more are dropped, running ones stopped.
#pragma once

#include <QElapsedTimer>
#include <QHash>
#include <QObject>
#include <QSet>
#include <QString>
#include <QThreadPool>
#include <QTimer>
#include <memory>
#include <stop_token>
#include <vector>

#include "record/tiles.h"
#include "views/map/map_data.h"
#include "views/map/tile_provider.h"
#include "views/map/tile_store.h"

namespace headroom::views {

/// Cells of a map (a tile or a record's thumbnail) with their values as colour-table codes (map_colours.h).
struct CellGrid {
  std::int64_t row_begin = 0, column_begin = 0;  ///< tokens
  std::int64_t cell = 1;                         ///< tokens a cell, both ways
  std::int64_t rows = 0, columns = 0;            ///< cells
  std::vector<float> max, mean;                  ///< [rows, columns]; NaN where there is nothing
  std::vector<std::uint16_t> max_code, mean_code;
};
using GridPtr = std::shared_ptr<const CellGrid>;

GridPtr make_grid(record::Tile tile);

/// What an overlay's cells are, made once for drawing. Of the counts only `missed` is kept, where there is no mass.
struct OverlayGrid : record::OverlayTile {
  enum Flag : std::uint8_t { hit_cell = 1, missed_cell = 2, wasted_cell = 4, attended_cell = 8, known_cell = 16 };
  std::vector<std::uint8_t> flags;        ///< missed: any pair of it
  std::vector<std::uint16_t> mass_codes;  ///< mass_code() of the missed mass; empty where that is not known
};
using OverlayPtr = std::shared_ptr<const OverlayGrid>;
OverlayPtr make_overlay(record::OverlayTile tile);
/// Cells above the diagonal become NaN.
GridPtr make_grid(const record::Thumbnail& thumbnail, std::int64_t length);
/// Causal pairs in a block of kept rows [row_begin, row_end) and keys [key_begin, key_end).
std::int64_t causal_pairs(std::int64_t row_begin, std::int64_t row_end, std::int64_t key_begin, std::int64_t key_end);

/// Multiply-adds that one tile may cost. About two seconds on one core; beyond that the record's thumbnail serves.
inline constexpr double max_tile_work = 2e10;
/// Tokens that a tile spans, both ways.
constexpr std::int64_t tile_side(record::TileAddress address) {
  return record::tile_size << address.level;
}

class TileCache : public QObject {
  Q_OBJECT
 public:
  struct Request {
    MapDataPtr data;
    record::TileAddress address;
    bool overlay = false;
  };

  /// Its tiles go into the store that all maps share.
  explicit TileCache(QObject* parent = nullptr) : TileCache(TileStore::shared(), parent) {}
  /// Into one of its own.
  explicit TileCache(std::size_t max_bytes) : TileCache(std::make_shared<TileStore>(max_bytes), nullptr) {}
  ~TileCache() override;

  /// Null: none. It may go before this cache does.
  void set_provider(TileProvider* provider);
  /// Whether there is any tile of this map to be had.
  bool can_provide(const MapData& data) const;
  /// Whether this tile can be had: stored, not too costly, or from a provider.
  bool can_make(const MapData& data, record::TileAddress address) const;

  /// Null where it is not there (yet). Marks it as used.
  GridPtr find(const MapData& data, record::TileAddress address);
  OverlayPtr find_overlay(const MapData& data, record::TileAddress address);
  /// The codes of `to` minus `from` (difference_code) for each cell: made at once, kept with the tiles and within the
  /// same number of bytes.
  std::shared_ptr<const std::vector<std::uint16_t>> difference(const GridPtr& from, const GridPtr& to, bool mean);
  /// Replaces what `client` waits for, most urgent first. A tile that a provider could not give is asked for again when
  /// it comes back into view, and while it is in view after a pause that grows.
  void want(const void* client, std::vector<Request> requests);
  /// Whether anything is queued or running.
  bool busy() const;
  /// Why a tile could not be made; empty where it was not tried, is on its way, or is there.
  QString failure(const Request& request) const;
  /// Why some tile of this map could not be made; empty where none failed.
  QString failure_of(const MapData& data) const;
  /// While held, nothing is thrown out that was used since: an export may need more tiles than the cache keeps.
  void hold(bool held);
  /// Whether this tile costs more than a few seconds: then the thumbnail stays, and zooming in is what helps.
  static bool too_costly(const MapData& data, record::TileAddress address);
  std::size_t bytes() const { return store_->bytes(); }
  /// What the last tiles took from the start of their job to their arrival on this thread, ms: of the map, not the
  /// overlay.
  struct Taken {
    std::vector<double> stored, computed;
  };
  const Taken& taken() const { return taken_; }
  void forget_taken() { taken_ = {}; }

 signals:
  void ready();  ///< some tile arrived
  void idle();   ///< nothing is queued or running any more
  void provider_failed(const QString& reason);

 private:
  TileCache(std::shared_ptr<TileStore> store, QObject* parent);
  /// What a job made.
  struct Made {
    GridPtr grid;
    OverlayPtr overlay;
    QString problem;  ///< why there is nothing
  };
  struct Running {
    std::stop_source stop;
    quint64 provider_request = 0;
    bool by_provider = false;
    bool stored = false;
    qint64 begun = 0;  ///< of clock_, ns
  };
  struct Failure {
    QString reason;
    bool by_provider = false;  ///< asking again may help; what we compute ourselves would fail again
    int tries = 1;
    qint64 again_at = 0;  ///< of clock_, ms
  };
  static TileKey key_of(const MapData& data, record::TileAddress address, bool overlay);
  void pump();
  void start(const Request& request, const TileKey& key);
  void start_overlay(const Request& request, const TileKey& key);
  void start_stored(const Request& request, const TileKey& key);
  void ask_provider(const Request& request, const TileKey& key);
  void finished(const TileKey& key, const MapDataPtr& data, const Made& made);
  TileProvider* provider() const { return provider_alive_.expired() ? nullptr : provider_; }
  bool may_ask(const TileKey& key) const;
  void remember_failure(const TileKey& key, const QString& reason, bool by_provider);

  std::shared_ptr<TileStore> store_;
  TileProvider* provider_ = nullptr;
  std::weak_ptr<const void> provider_alive_;
  QHash<const void*, std::vector<Request>> wanted_;
  QHash<TileKey, std::shared_ptr<Running>> running_;
  QHash<TileKey, Failure> failed_;
  QElapsedTimer clock_;
  QTimer retry_;  ///< until the next failed tile may be asked for again
  bool held_ = false;
  Taken taken_;
  QThreadPool pool_;
  QThreadPool disk_;  ///< for stored tiles, which must not wait behind those that are computed
};

}  // namespace headroom::views
