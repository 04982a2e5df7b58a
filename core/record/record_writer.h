// SPDX-License-Identifier: Apache-2.0
// Writes a run record under a temporary name, seals it with directory and checksums and renames it. Fixed-length types
// only, superblock v2, shuffle, gzip 1 and fletcher32 on every dataset (docs/record.md). Where the file cannot be
// written whole: device errors with path, needed and free.
#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "base/output_file.h"
#include "record/types.h"

namespace headroom::record {

class RecordWriter {
 public:
  /// Creates the temporary file. `place` is of the kind `file`.
  RecordWriter(OutputPlace place, const RunMeta& meta, const TokenTable& tokens);
  /// Looks at the place now. Throws input errors where the folder cannot be written.
  RecordWriter(const std::filesystem::path& file, const RunMeta& meta, const TokenTable& tokens)
      : RecordWriter(OutputPlace(file, OutputKind::file), meta, tokens) {}
  ~RecordWriter();  ///< removes the temporary file unless finish() succeeded
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;

  /// Adds a method or replaces its summary; comes before anything else of that method. Methods keep the order of their
  /// first mention.
  void write_summary(const MethodSummary& summary);
  /// Ascending positions of dense's answer.
  void write_answer_choices(std::string_view method, const std::vector<AnswerPosition>& positions);
  void write_head_statistics(std::string_view method, const HeadStatistics& statistics);
  void write_mass_curves(std::string_view method, const MassCurves& curves);
  void write_thumbnails(std::string_view method, int layer,
                        const std::vector<Thumbnail>& per_head);  ///< the layer's Hq + 1 of them
  /// One bitmap a head group of the method's scope (num_support_groups); causal pairs only.
  void write_supports(std::string_view method, int layer, SupportKind kind, std::span<const SupportBitmap> groups);
  /// [the layer's Hq + 1, L]
  void write_mass_received(std::string_view method, int layer, std::int64_t heads, const std::vector<float>& values);
  /// [head groups, L]
  void write_selection_frequency(std::string_view method, int layer, const std::vector<float>& values);
  /// q, k as float16 where every value survives the round trip, else float32.
  void write_layer_stream(std::string_view method, int layer, const LayerStream& stream);
  /// Bytes in the file so far (flushes).
  std::int64_t bytes_written();
  /// Writes the final metadata (complete or not), closes, seals, syncs, renames. Nothing may follow. Returns where the
  /// record is: see OutputFile::commit().
  std::filesystem::path finish(const RunMeta& meta);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace headroom::record
