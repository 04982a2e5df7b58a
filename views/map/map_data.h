// SPDX-License-Identifier: GPL-3.0-or-later
// What one attention map is drawn from: a layer of a method of a record, and the heads that are shown. Loaded once, in
// the background, then shared by map, overlay, marginals, read-out and text.
#pragma once

#include <QObject>
#include <QString>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "record/opening.h"
#include "views/common/selection.h"

namespace headroom::views {

struct MapSource {
  RecordPtr record;  ///< null: no map (or data that a test made by hand)
  QString method;
  int layer = 0;
  record::HeadSelector head;
  bool operator==(const MapSource&) const = default;
};

struct MapData {
  MapSource source;
  std::int64_t length = 0;
  QString layer_kind = QStringLiteral("full");
  std::int64_t window = 0;                                         ///< keys that a query sees; 0: the whole history
  std::shared_ptr<const record::LayerStream> stream;               ///< null: not in the record
  std::shared_ptr<const record::Support> support, target, wasted;  ///< null: dense, or not in the record
  record::StoredLevels stored;                                     ///< tiles that the record holds ready-made
  std::shared_ptr<const record::Thumbnail> thumbnail;            ///< of the shown heads; null: not in the record
  /// Whose supports these are: a head group of the method's scope; none where the shown heads have several.
  std::optional<int> support_group = 0;
  bool dense = false;                                            ///< the method attends to every key
  std::vector<float> mass_received;                              ///< [L] or empty
  std::vector<float> selection_frequency;                        ///< [L] or empty
  double sink_and_local = -1, missed_mass = -1;                  ///< sink_and_local_mass(), missed_mass_share()
  double learned_sink = -1;                                      ///< learned_sink_mass()
  QString problem;                                               ///< why reading failed; empty where it did not
  bool ranks = false;  ///< tiles are of the keys' ranks in their rows (record/rank_tile.h): ranked() made it so

  bool has_overlay() const { return support && target; }
  /// Stored tiles are of probabilities, never of ranks.
  bool has_stored_tile(int level) const { return !ranks && stored.has_tile(source.head, level); }
  bool is_full() const { return layer_kind == QStringLiteral("full"); }
  /// Not full, but each query sees a window of keys: the band that is drawn in place of a map.
  bool has_band() const { return !is_full() && window > 0; }
  /// Why there is no overlay though the record holds supports; empty where there is no such reason.
  QString overlay_note() const;
  /// These may read a row of a long prompt's supports: not on the window's thread unless is_here().
  bool missed(std::int64_t query, std::int64_t key) const;
  bool selected(std::int64_t query, std::int64_t key) const;
  /// Whether the row's supports and the pair's probability can be had without reading.
  bool is_here(std::int64_t query, std::int64_t key) const;
};
using MapDataPtr = std::shared_ptr<const MapData>;

/// The same map with ranks in place of probabilities; null where its q and k are not known, which ranks are made from.
MapDataPtr ranked(const MapDataPtr& data);

/// Reads what the record holds. Never throws: failures are in `problem`. Null where a stop was requested in the middle.
MapDataPtr load_map_data(const MapSource& source, std::stop_token stop = {});

/// The same on a background thread, one after the other: what is asked for last is what is read, and whatever was asked
/// for before is given up, half read or not begun.
class MapLoader : public QObject {
  Q_OBJECT
 public:
  using Done = std::function<void(MapDataPtr)>;
  explicit MapLoader(QObject* parent = nullptr) : QObject(parent) {}
  ~MapLoader() override;
  /// `done` runs on this thread, later, unless another load() or cancel() comes before.
  void load(const MapSource& source, Done done);
  void cancel();
  /// How many loads were begun and how many were read to their end since the beginning.
  int begun() const { return begun_; }
  int finished() const { return finished_; }

 private:
  void begin();
  struct Wanted {
    MapSource source;
    Done done;
  };
  std::optional<Wanted> wanted_;  ///< the newest that has not begun
  Done done_;                     ///< of the one at work; null: given up
  std::stop_source stop_;
  bool running_ = false;
  int begun_ = 0, finished_ = 0;
};

/// Positions of a layer's thumbnails and marginals of `head`: one head, the Hq of the mean, or the query heads of a
/// group.
std::vector<int> head_indices(const record::LayerMeta& layer, record::HeadSelector head);
/// "head mean", "head 5", "group 1 (heads 3–5)".
QString head_name(const record::LayerMeta& layer, record::HeadSelector head);
/// Empty where there is no record, or no such layer in it.
QString head_name(const MapSource& source);
/// Mean share of mass on the first 4 and the last 64 keys (HeadStatistics); negative where the record does not say.
double sink_and_local_mass(const MapSource& source);
/// Mean share of the shown heads' mass that their learned sinks take; negative where the layer has none.
double learned_sink_mass(const MapSource& source);
/// Mean share of the shown heads' mass on missed keys (HeadStatistics); negative where the record does not say.
double missed_mass_share(const MapSource& source);

/// Positions that the "hide sinks and local band" switch hides; the same that the record's statistics count.
inline constexpr std::int64_t num_sinks = record::counted_sinks, num_local = record::counted_local;

/// 4012 -> "4,012", the same in every locale, as the documents print it.
QString grouped(std::int64_t value);
/// 0.0123 -> "1.23e-2" below 0.01, "0.0123" above; at most four digits.
QString short_number(double value);
/// A token's text on one line in quotes, with white space made visible, no longer than `max_chars`.
QString token_label(const record::TokenTable& tokens, std::int64_t token, int max_chars = 24);

}  // namespace headroom::views
