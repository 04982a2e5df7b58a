// SPDX-License-Identifier: Apache-2.0
// Reads a recorded run (docs/record.md). Opened lazily, immutable, safe to use from several threads. A record is
// hostile input: type, rank and extent are checked before each read, and the HDF5 library is not used for reading.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "record/file_change.h"
#include "record/stored_tiles.h"
#include "record/types.h"

namespace headroom::record {

class RunRecord {
 public:
  /// Reads metadata, tokens and summaries; nothing large. Throws input errors.
  static std::shared_ptr<const RunRecord> open(const std::filesystem::path& file);
  ~RunRecord();

  const std::filesystem::path& path() const;
  /// What has become of the file at path() since it was opened.
  FileChange file_change() const;
  const RunMeta& meta() const;
  const TokenTable& tokens() const;
  const std::vector<MethodSummary>& methods() const;
  /// nullptr where there is no such method.
  const MethodSummary* find_method(std::string_view id) const;
  std::int64_t length() const { return static_cast<std::int64_t>(tokens().ids.size()); }

  // Lazily read and cached while somebody holds the result; each throws input errors for damaged data. `head` is
  // 0 … Hq - 1, or Hq for the head mean, with the layer's own Hq; `group` counts the method's supports in a layer
  // (support_group in tiles.h).
  std::shared_ptr<const HeadStatistics> head_statistics(std::string_view method) const;
  std::shared_ptr<const MassCurves> mass_curves(std::string_view method) const;
  /// What dense and the method would say along dense's answer, ascending; null where the record does not hold it (dense
  /// itself, and records of earlier versions).
  std::shared_ptr<const std::vector<AnswerPosition>> answer_choices(std::string_view method) const;
  LayerAvailability availability(std::string_view method, int layer) const;
  /// nullptr where the record does not hold it. Streams of more than 32 MiB have a window in place of their values.
  std::shared_ptr<const LayerStream> layer_stream(std::string_view method, int layer) const;
  std::shared_ptr<const Thumbnail> thumbnail(std::string_view method, int layer, int head) const;
  /// Whole where it is a small bitmap, else rows that are read when they are asked for.
  std::shared_ptr<const Support> supports(std::string_view method, int layer, SupportKind kind, int group = 0) const;
  std::vector<float> mass_received(std::string_view method, int layer, int head) const;  ///< [L] or empty
  std::vector<float> selection_frequency(std::string_view method, int layer, int group = 0) const;  ///< likewise

  /// Which tiles the record holds ready-made (pyramid.h).
  StoredLevels stored_levels(std::string_view method, int layer) const;
  /// nullopt where it is not stored (stored_levels(), has_tile()). Reads a few chunks, whatever the level. Tiles
  /// outside the map are empty.
  std::optional<Tile> stored_tile(std::string_view method, int layer, HeadSelector head, TileAddress address) const;
  /// Counts of the head group `group`, with the missed mass of the heads where that is stored.
  std::optional<OverlayTile> stored_overlay(std::string_view method, int layer, int group, HeadSelector head,
                                            TileAddress address) const;
  /// What takes the file's bytes, as stored; the last entry is the rest (HDF5's own structures, checksums).
  std::vector<RecordPart> parts() const;
  std::int64_t file_bytes() const;

 private:
  struct Impl;
  explicit RunRecord(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace headroom::record
