// SPDX-License-Identifier: Apache-2.0
// Writes a run record under a temporary name, seals it with directory and checksums and renames it. Fixed-length types
// only, superblock v2, shuffle, gzip 1 and fletcher32 on every dataset (docs/record.md). Where the file cannot be
// written whole: device errors with path, needed and free.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>

#include "base/output_file.h"
#include "record/pyramid.h"
#include "record/types.h"

namespace headroom::record {

/// The stored tiles of one layer of one method, row by row (RecordWriter::pyramid). The writer must outlive it.
class PyramidWriter {
 public:
  ~PyramidWriter();  ///< takes back what was written unless finish() was called
  PyramidWriter(const PyramidWriter&) = delete;
  PyramidWriter& operator=(const PyramidWriter&) = delete;
  /// As PyramidRows::add(); planes that the layer does not have are an internal error.
  void add(Plane plane, std::int64_t index, std::span<const double> cells);
  void finish();

 private:
  friend class RecordWriter;
  struct Impl;
  explicit PyramidWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

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

  /// From now on threads compress while the next values are made. Every chunk's bytes are the same; their places in the
  /// file are not.
  void compress_in_threads();

  /// Adds a method or replaces its summary; comes before anything else of that method. Methods keep the order of their
  /// first mention.
  void write_summary(const MethodSummary& summary);
  /// Ascending positions of dense's answer.
  void write_answer_choices(std::string_view method, const std::vector<AnswerPosition>& positions);
  void write_head_statistics(std::string_view method, const HeadStatistics& statistics);
  void write_mass_curves(std::string_view method, const MassCurves& curves);
  void write_thumbnails(std::string_view method, int layer,
                        const std::vector<Thumbnail>& per_head);  ///< the layer's Hq + 1 of them
  /// One bitmap a head group of the method's scope (num_support_groups); causal pairs only. Stored as lists of keys
  /// where the prompt is longer than 16384 tokens and a row holds few of its keys, or where that was asked for.
  void write_supports(std::string_view method, int layer, SupportKind kind, std::span<const SupportBitmap> groups);
  /// The same as lists, row by row: `count` says how many keys a row has, `keys` fills in those, ascending.
  using RowCount = std::function<std::int64_t(std::int64_t group, std::int64_t query)>;
  using RowKeys = std::function<void(std::int64_t group, std::int64_t query, std::vector<std::int32_t>& keys)>;
  void write_support_rows(std::string_view method, int layer, SupportKind kind, const RowCount& count,
                          const RowKeys& keys);
  /// Supports as lists whatever the prompt's length.
  void always_as_lists() { always_lists_ = true; }
  /// Of a method with supports (`groups` of them) or dense (0).
  std::unique_ptr<PyramidWriter> pyramid(std::string_view method, int layer, PyramidLevels levels, std::int64_t groups);
  /// [the layer's Hq + 1, L]
  void write_mass_received(std::string_view method, int layer, std::int64_t heads, const std::vector<float>& values);
  /// [head groups, L]
  void write_selection_frequency(std::string_view method, int layer, const std::vector<float>& values);
  /// q, k as float16 where every value survives the round trip, else float32.
  void write_layer_stream(std::string_view method, int layer, const LayerStream& stream);
  /// The same row by row, for streams larger than memory: `read` fills in rows [begin, begin + rows) of a head, q's
  /// rows numbered from query_begin on. `halves`: every value of q and k survives float16.
  struct StreamShape {
    std::int64_t query_begin = 0;
    double scale = 0;
    bool halves = true;
  };
  enum class StreamPart { q, k, lse };
  using StreamRows =
      std::function<void(StreamPart part, std::int64_t head, std::int64_t begin, std::int64_t rows, float* out)>;
  void write_stream_rows(std::string_view method, int layer, const StreamShape& shape, const StreamRows& read);
  /// Bytes in the file so far (flushes).
  std::int64_t bytes_written();
  /// Writes the final metadata (complete or not), closes, seals, syncs, renames. Nothing may follow. Returns where the
  /// record is: see OutputFile::commit().
  std::filesystem::path finish(const RunMeta& meta);

 private:
  friend class PyramidWriter;
  struct Impl;
  std::unique_ptr<Impl> impl_;
  bool always_lists_ = false;
};

}  // namespace headroom::record
