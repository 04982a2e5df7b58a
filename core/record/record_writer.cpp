// SPDX-License-Identifier: Apache-2.0
#include "record/record_writer.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

#include "base/error.h"
#include "base/sha256.h"
#include "record/chunk_queue.h"
#include "record/directory.h"
#include "record/half.h"
#include "record/hdf5_io.h"
#include "record/record_json.h"
#include "record/record_layout.h"
#include "record/sealed_file.h"
#include "record/support_check.h"

namespace headroom::record {
namespace {

void require(bool condition, const char* what) {
  if (!condition) throw Error(ErrorKind::internal, std::string("record: ") + what);
}

/// Keeps 8 bits of mantissa (nearest): enough for a small picture, and the zeros that follow compress to nothing.
void append_rounded(std::vector<float>& to, const std::vector<float>& from) {
  for (const float value : from) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    to.push_back(std::isfinite(value) ? std::bit_cast<float>((bits + 0x8000u) & 0xffff0000u) : value);
  }
}

std::int64_t size_of(const auto& container) {
  return static_cast<std::int64_t>(container.size());
}

}  // namespace

struct RecordWriter::Impl {
  OutputPlace out;
  std::string place;
  OutputFile output{out};
  hdf5::Handle handle;
  RunMeta meta;
  std::int64_t length = 0;
  std::vector<std::string> methods;
  std::map<std::string, SupportScope, std::less<>> scopes;  ///< by method

  explicit Impl(OutputPlace where) : out(std::move(where)), place(out.asked().string()) {}
  ~Impl() {
    if (!handle) return;
    hdf5::Library library;
    hdf5::forget_waiting(id());
    handle.reset();
  }
  hid_t id() const { return handle.get(); }
  /// What the library has given places to, written or not.
  std::int64_t size() const {
    hsize_t bytes = 0;
    return H5Fget_filesize(id(), &bytes) < 0 ? 0 : static_cast<std::int64_t>(bytes);
  }
  void check_method(std::string_view method) const {
    require(std::find(methods.begin(), methods.end(), method) != methods.end(), "method without a summary");
  }
  /// The full layer that something of `method` is written for.
  const LayerMeta& check_layer(std::string_view method, int layer) const {
    check_method(method);
    require(meta.is_full(layer), "not one of the model's full layers");
    return meta.layer(layer);
  }
  std::int64_t support_groups(std::string_view method, int layer) const {
    const LayerMeta& sizes = check_layer(method, layer);
    return num_support_groups(scopes.find(method)->second, sizes.num_q_heads, sizes.num_kv_heads);
  }
  bool shared_by_layer(std::string_view method) const { return scopes.find(method)->second == SupportScope::layer; }
  template <typename T>
  void write(const std::string& path, const Extent& extent, const std::vector<T>& values) {
    std::int64_t count = 1;
    for (const auto n : extent) count *= n;
    require(count == size_of(values), ("wrong number of values for " + path).c_str());
    hdf5::write<T>(id(), path, extent, values, place);
  }
  void write_json(const std::string& path, const nlohmann::json& object) {
    hdf5::write_text(id(), path, object.dump(1, ' ', false, nlohmann::json::error_handler_t::replace), place);
  }
  /// Rows' offsets and keys of all groups, one after the other.
  void write_lists(const std::string& path, std::int64_t groups, const RowCount& count, const RowKeys& read) {
    hdf5::remove(id(), path);
    std::vector<std::int64_t> offsets;
    std::int64_t total = 0;
    for (std::int64_t group = 0; group < groups; ++group) {
      offsets.push_back(total);
      for (std::int64_t query = 0; query < length; ++query) offsets.push_back(total += count(group, query));
    }
    const Extent shape = {groups, length + 1};
    hdf5::write_chunked(id(), layout::support_rows(path), Element::i64, shape,
                        {1, std::min(length + 1, layout::list_chunk)}, offsets.data(), place);
    const std::string to = layout::support_keys(path);
    hdf5::create(id(), to, Element::i32, {total}, {std::clamp<std::int64_t>(total, 1, layout::list_chunk)}, place);
    std::vector<std::int32_t> waiting, row;
    std::int64_t written = 0;
    const auto write_out = [&](std::int64_t least) {
      while (size_of(waiting) >= least && !waiting.empty()) {
        const std::int64_t part = std::min(size_of(waiting), layout::list_chunk);
        hdf5::write_box(id(), to, Element::i32, {written}, {part}, waiting.data(), place);
        waiting.erase(waiting.begin(), waiting.begin() + part);
        written += part;
      }
    };
    std::size_t at = 0;
    for (std::int64_t group = 0; group < groups; ++group, ++at) {
      for (std::int64_t query = 0; query < length; ++query, ++at) {
        row.clear();
        read(group, query, row);
        require(size_of(row) == offsets[at + 1] - offsets[at], "a row of a support has another number of keys");
        for (std::size_t i = 0; i < row.size(); ++i)
          require(row[i] >= 0 && row[i] <= query && (i == 0 || row[i] > row[i - 1]),
                  "a row of a support is not ascending and causal");
        waiting.insert(waiting.end(), row.begin(), row.end());
        write_out(layout::list_chunk);
      }
    }
    write_out(1);
  }
  /// float16 values are given as their 16 bits.
  Extent stream_chunk(const Extent& extent) const {
    Extent chunk = extent;
    chunk[0] = 1;
    // Rows of a tile at a time; log-sum-exps are small, so more of them.
    const std::int64_t rows = extent.size() == 2 ? layout::list_chunk : layout::stream_chunk_rows;
    chunk[1] = std::min(chunk[1], rows);
    return chunk;
  }
  template <typename T>
  void write_rows(const std::string& path, const Extent& extent, const std::vector<T>& values) {
    if (length <= layout::max_bitmap_tokens) return write(path, extent, values);
    hdf5::write_chunked(id(), path, ElementOf<T>::value, extent, stream_chunk(extent), values.data(), place);
  }
  void write_meta() {
    nlohmann::json object = to_json(meta);
    object["schema_version"] = schema_version;
    object["methods"] = methods;
    write_json("/meta/json", object);
  }
};

RecordWriter::RecordWriter(OutputPlace place, const RunMeta& meta, const TokenTable& tokens)
    : impl_(std::make_unique<Impl>(std::move(place))) {
  require(tokens.begin.size() == tokens.ids.size() && tokens.end.size() == tokens.ids.size(), "token lists differ");
  require(size_of(tokens.ids) <= layout::max_tokens && size_of(tokens.text) <= layout::max_text_bytes,
          "too many tokens");
  impl_->meta = meta;
  impl_->length = size_of(tokens.ids);
  hdf5::Library library;
  const hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110);
  hdf5::forget_locks(access.get());
  const hdf5::Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  H5Pset_userblock(creation.get(), static_cast<hsize_t>(seal_bytes));
  impl_->handle =
      hdf5::Handle(H5Fcreate(impl_->output.part().c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose);
  if (!impl_->handle) throw hdf5::write_failure(impl_->place, {}, errno, 0);
  hdf5::write_text(impl_->id(), "/tokens/text", tokens.text, impl_->place);
  impl_->write<std::int32_t>("/tokens/ids", {impl_->length}, tokens.ids);
  impl_->write<std::int64_t>("/tokens/begin", {impl_->length}, tokens.begin);
  impl_->write<std::int64_t>("/tokens/end", {impl_->length}, tokens.end);
  hdf5::make_group(impl_->id(), "/methods", impl_->place);
  impl_->write_meta();
}

RecordWriter::~RecordWriter() = default;

void RecordWriter::compress_in_threads() {
  hdf5::Library library;
  hdf5::let_chunks_wait(impl_->id());
}

void RecordWriter::write_summary(const MethodSummary& s) {
  require(is_method_id(s.id), "method id has other characters than a-z 0-9 . _ -");
  hdf5::Library library;
  Impl& w = *impl_;
  if (std::find(w.methods.begin(), w.methods.end(), s.id) == w.methods.end()) w.methods.push_back(s.id);
  const auto path = [&](const char* name) { return layout::method(s.id, name); };
  w.scopes[s.id] = s.scope;
  w.write_json(path("summary_json"), to_json(s, Arrays::beside));
  hdf5::write_text(w.id(), path("answer"), s.answer, w.place);
  w.write(path("answer_ids"), {size_of(s.answer_ids)}, s.answer_ids);
  w.write(path("ttft_samples_ms"), {size_of(s.ttft_samples)}, s.ttft_samples);
  std::vector<double> layer_stages;
  for (const auto& row : s.layer_stages) layer_stages.insert(layer_stages.end(), row.begin(), row.end());
  w.write(path("layer_stages_ms"), {size_of(s.layer_stages), static_cast<std::int64_t>(num_stages)}, layer_stages);
  for (const auto& [name, values] : {std::pair{"captured_mass_per_layer", &s.captured_mass_per_layer},
                                     std::pair{"oracle_recall_per_layer", &s.oracle_recall_per_layer},
                                     std::pair{"output_l2_per_layer", &s.output_l2_per_layer},
                                     std::pair{"output_frobenius_per_layer", &s.output_frobenius_per_layer}}) {
    require(values->empty() || size_of(*values) == w.meta.num_layers(), "per-layer list is not one value a layer");
    w.write(path(name), {size_of(*values)}, *values);
  }
}

void RecordWriter::write_answer_choices(std::string_view method, const std::vector<AnswerPosition>& positions) {
  hdf5::Library library;
  impl_->check_method(method);
  nlohmann::json list = nlohmann::json::array();
  for (const AnswerPosition& position : positions) list.push_back(to_json(position));
  impl_->write_json(layout::method(method, "choices_json"), list);
}

void RecordWriter::write_head_statistics(std::string_view method, const HeadStatistics& statistics) {
  hdf5::Library library;
  Impl& w = *impl_;
  w.check_method(method);
  require(statistics.layers == w.meta.num_layers() && statistics.heads == w.meta.max_q_heads() + 1,
          "statistics' shape");
  require(size_of(statistics.names) <= layout::max_statistics, "too many statistics");
  std::vector<std::uint8_t> names(statistics.names.size() * layout::statistic_name_bytes, 0);
  for (std::size_t i = 0; i < statistics.names.size(); ++i) {
    require(size_of(statistics.names[i]) < layout::statistic_name_bytes, "statistic's name is too long");
    std::copy(statistics.names[i].begin(), statistics.names[i].end(),
              names.begin() + static_cast<std::ptrdiff_t>(i) * layout::statistic_name_bytes);
  }
  w.write(layout::method(method, "head_statistics/names"), {size_of(statistics.names), layout::statistic_name_bytes},
          names);
  w.write(layout::method(method, "head_statistics/values"),
          {statistics.layers, statistics.heads, size_of(statistics.names)}, statistics.values);
}

void RecordWriter::write_mass_curves(std::string_view method, const MassCurves& curves) {
  hdf5::Library library;
  Impl& w = *impl_;
  w.check_method(method);
  require(curves.layers == w.meta.num_layers() && curves.heads == w.meta.max_q_heads() + 1, "curves' shape");
  w.write(layout::method(method, "mass_curves/budgets"), {size_of(curves.budgets)}, curves.budgets);
  w.write(layout::method(method, "mass_curves/values"), {curves.layers, curves.heads, 3, size_of(curves.budgets)},
          curves.values);
}

void RecordWriter::write_thumbnails(std::string_view method, int layer, const std::vector<Thumbnail>& per_head) {
  hdf5::Library library;
  Impl& w = *impl_;
  const LayerMeta& sizes = w.check_layer(method, layer);
  require(size_of(per_head) == sizes.num_q_heads + 1, "one thumbnail a head and one for the mean");
  const std::int64_t size = per_head.front().size, cell = per_head.front().cell;
  require(size >= 1 && size <= layout::max_thumbnail && cell >= 1 && size * cell >= w.length, "thumbnail's size");
  std::vector<float> max, mean;
  for (const Thumbnail& one : per_head) {
    require(
        one.size == size && one.cell == cell && size_of(one.max) == size * size && one.max.size() == one.mean.size(),
        "thumbnails differ in size");
    append_rounded(max, one.max);
    append_rounded(mean, one.mean);
  }
  w.write(layout::layer(method, layer, "thumbnails/max"), {size_of(per_head), size, size}, max);
  w.write(layout::layer(method, layer, "thumbnails/mean"), {size_of(per_head), size, size}, mean);
  hdf5::write_attribute(w.id(), layout::layer(method, layer, "thumbnails"), "cell", cell, w.place);
}

void RecordWriter::write_supports(std::string_view method, int layer, SupportKind kind,
                                  std::span<const SupportBitmap> groups) {
  hdf5::Library library;
  Impl& w = *impl_;
  require(size_of(groups) == w.support_groups(method, layer), "supports: one bitmap a head group");
  std::vector<const void*> parts;
  for (const SupportBitmap& bitmap : groups) {
    require(bitmap.length() == w.length, "support's length is not the prompt's");
    require(first_row_past_query(bitmap) < 0, "support holds keys after the query");
    parts.push_back(bitmap.bytes().data());
  }
  const std::string path = layout::supports(method, layer, kind);
  const std::int64_t row_bytes = groups.front().row_bytes();
  double pairs = 0;
  if (w.length > layout::max_bitmap_tokens)
    for (const SupportBitmap& bitmap : groups) pairs += static_cast<double>(bitmap.count_all());
  // A key is 32 bits: with more of them than one in 32 pairs the bitmap is smaller, whatever the compression.
  const double places = static_cast<double>(w.length) * static_cast<double>(w.length * size_of(groups));
  if (always_lists_ || (w.length > layout::max_bitmap_tokens && pairs * 32 <= places))
    return w.write_lists(
        path, size_of(groups),
        [&](std::int64_t group, std::int64_t query) {
          return groups[static_cast<std::size_t>(group)].count(query, 0, query + 1);
        },
        [&](std::int64_t group, std::int64_t query, std::vector<std::int32_t>& keys) {
          const auto row = groups[static_cast<std::size_t>(group)].row(query);
          for (std::size_t byte = 0; byte < row.size(); ++byte)
            for (unsigned bits = row[byte]; bits != 0; bits &= bits - 1)
              keys.push_back(static_cast<std::int32_t>(byte * 8) + std::countr_zero(bits));
        });
  if (w.shared_by_layer(method))
    hdf5::write<std::uint8_t>(w.id(), path, {w.length, row_bytes}, groups.front().bytes(), w.place);
  else
    hdf5::write_parts(w.id(), path, Element::u8, {size_of(groups), w.length, row_bytes}, parts, w.place);
  for (std::size_t group = 0; group < groups.size(); ++group)
    hdf5::write_attribute(w.id(), path, layout::checksum(w.scopes.find(method)->second, group).c_str(),
                          sha256(groups[group].bytes()), w.place);
}

void RecordWriter::write_support_rows(std::string_view method, int layer, SupportKind kind, const RowCount& count,
                                      const RowKeys& keys) {
  hdf5::Library library;
  impl_->write_lists(layout::supports(method, layer, kind), impl_->support_groups(method, layer), count, keys);
}

void RecordWriter::write_mass_received(std::string_view method, int layer, std::int64_t heads,
                                       const std::vector<float>& values) {
  hdf5::Library library;
  require(heads == impl_->check_layer(method, layer).num_q_heads + 1,
          "mass received: one row a head and one for the mean");
  impl_->write(layout::layer(method, layer, "mass_received"), {heads, impl_->length}, values);
}

void RecordWriter::write_selection_frequency(std::string_view method, int layer, const std::vector<float>& values) {
  hdf5::Library library;
  const std::int64_t groups = impl_->support_groups(method, layer);
  const std::string path = layout::layer(method, layer, "selection_frequency");
  impl_->write(path, impl_->shared_by_layer(method) ? Extent{impl_->length} : Extent{groups, impl_->length}, values);
}

void RecordWriter::write_layer_stream(std::string_view method, int layer, const LayerStream& stream) {
  hdf5::Library library;
  Impl& w = *impl_;
  const LayerMeta& sizes = w.check_layer(method, layer);
  const std::int64_t rows = stream.length - stream.query_begin;
  require(stream.length == w.length && stream.query_begin >= 0 && rows >= 1, "stream's rows");
  require(stream.num_q_heads == sizes.num_q_heads && stream.num_kv_heads == sizes.num_kv_heads &&
              stream.head_dim == sizes.head_dim,
          "stream's heads are not the layer's");
  const auto write_halves = [&](const char* name, const Extent& extent, const std::vector<float>& values) {
    const std::string path = layout::layer(method, layer, name);
    const std::vector<std::uint16_t> halves = to_half_lossless(values);
    if (halves.empty())
      w.write_rows(path, extent, values);
    else
      w.write_rows(path, extent, halves);
  };
  write_halves("stream/q", {stream.num_q_heads, rows, stream.head_dim}, stream.q);
  write_halves("stream/k", {stream.num_kv_heads, stream.length, stream.head_dim}, stream.k);
  w.write_rows(layout::layer(method, layer, "stream/lse"), {stream.num_q_heads, rows}, stream.lse);
  const std::string group = layout::layer(method, layer, "stream");
  hdf5::write_attribute(w.id(), group, "scale", stream.scale, w.place);
  hdf5::write_attribute(w.id(), group, "query_begin", stream.query_begin, w.place);
}

void RecordWriter::write_stream_rows(std::string_view method, int layer, const StreamShape& shape,
                                     const StreamRows& read) {
  Impl& w = *impl_;
  const LayerMeta& sizes = w.check_layer(method, layer);
  const std::int64_t kept = w.length - shape.query_begin;
  require(shape.query_begin >= 0 && kept >= 1, "stream's rows");
  const std::string group = layout::layer(method, layer, "stream");
  const auto write_part = [&](StreamPart part, const char* name, std::int64_t heads, std::int64_t rows,
                              std::int64_t width) {
    const bool lse = part == StreamPart::lse;
    const Extent extent = lse ? Extent{heads, rows} : Extent{heads, rows, width};
    const Element element = lse || !shape.halves ? Element::f32 : Element::f16;
    const Extent chunk = w.stream_chunk(extent);
    {
      hdf5::Library library;
      hdf5::create(w.id(), group + "/" + name, element, extent, chunk, w.place);
    }
    std::vector<float> values;
    for (std::int64_t head = 0; head < heads; ++head) {
      for (std::int64_t row = 0; row < rows; row += chunk[1]) {
        const std::int64_t count = std::min(chunk[1], rows - row);
        values.resize(static_cast<std::size_t>(count * width));
        read(part, head, row, count, values.data());
        const std::vector<std::uint16_t> halves =
            element == Element::f16 ? to_half_lossless(values) : std::vector<std::uint16_t>();
        require(element != Element::f16 || !halves.empty(), "a value of a stream is not a float16");
        const Extent at = lse ? Extent{head, row} : Extent{head, row, 0};
        const Extent size = lse ? Extent{1, count} : Extent{1, count, width};
        hdf5::Library library;
        hdf5::write_box(w.id(), group + "/" + name, element, at, size,
                        element == Element::f16 ? static_cast<const void*>(halves.data()) : values.data(), w.place);
      }
    }
  };
  write_part(StreamPart::q, "q", sizes.num_q_heads, kept, sizes.head_dim);
  write_part(StreamPart::k, "k", sizes.num_kv_heads, w.length, sizes.head_dim);
  write_part(StreamPart::lse, "lse", sizes.num_q_heads, kept, 1);
  hdf5::Library library;
  hdf5::write_attribute(w.id(), group, "scale", shape.scale, w.place);
  hdf5::write_attribute(w.id(), group, "query_begin", shape.query_begin, w.place);
}

struct PyramidWriter::Impl {
  RecordWriter::Impl& writer;
  std::string group;
  std::map<Plane, PyramidRows> planes;
  bool finished = false;
};

PyramidWriter::PyramidWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PyramidWriter::~PyramidWriter() {
  if (impl_->finished) return;
  hdf5::Library library;
  try {
    hdf5::remove(impl_->writer.id(), impl_->group);
  } catch (const std::exception&) {  // a full disk or no memory, which whoever writes next is told of
  }
}

void PyramidWriter::add(Plane plane, std::int64_t index, std::span<const double> cells) {
  const auto found = impl_->planes.find(plane);
  require(found != impl_->planes.end(), "the pyramid has no such plane");
  found->second.add(index, cells);
}

void PyramidWriter::finish() {
  for (auto& [plane, rows] : impl_->planes) rows.finish();
  impl_->finished = true;
}

std::unique_ptr<PyramidWriter> RecordWriter::pyramid(std::string_view method, int layer, PyramidLevels levels,
                                                     std::int64_t groups) {
  Impl& w = *impl_;
  const LayerMeta& sizes = w.check_layer(method, layer);
  require(levels.any() && (groups == 0 || groups == w.support_groups(method, layer)), "pyramid's shape");
  auto impl = std::make_unique<PyramidWriter::Impl>(w, layout::layer(method, layer, "pyramid"));
  const std::string group = impl->group;
  const auto write_band = [&w, group](const PyramidRows::Dataset& set, std::int64_t index, std::int64_t row,
                                      std::int64_t rows, const auto* values) {
    hdf5::Library library;
    hdf5::write_box(w.id(), group + "/" + set.name, is_count(set.plane) ? Element::i32 : Element::f32, {index, row, 0},
                    {1, rows, set.side}, values, w.place);
  };
  hdf5::Library library;
  for (int i = 0; i < num_planes; ++i) {
    const auto plane = static_cast<Plane>(i);
    const int first = first_level(plane, levels, groups);
    if (first < 0) continue;
    const std::int64_t indices = is_count(plane) ? groups : of_head_mean(plane) ? 1 : sizes.num_q_heads;
    PyramidRows rows(plane, indices, w.length, first, write_band, write_band);
    for (const auto& set : rows.datasets())
      hdf5::create(w.id(), group + "/" + set.name, is_count(plane) ? Element::i32 : Element::f32,
                   {set.planes, set.side, set.side}, {1, set.band, std::min(set.side, tile_size)}, w.place);
    impl->planes.emplace(plane, std::move(rows));
  }
  return std::unique_ptr<PyramidWriter>(new PyramidWriter(std::move(impl)));
}

std::int64_t RecordWriter::bytes_written() {
  hdf5::Library library;
  hdf5::write_waiting(impl_->id(), impl_->place);
  if (H5Fflush(impl_->id(), H5F_SCOPE_LOCAL) < 0) {
    const int problem = errno;
    throw hdf5::write_failure(impl_->place, {}, problem, impl_->size());
  }
  return impl_->size();
}

std::filesystem::path RecordWriter::finish(const RunMeta& meta) {
  const std::filesystem::path& part = impl_->output.part();
  {
    hdf5::Library library;
    require(meta.layers == impl_->meta.layers, "metadata changed");
    impl_->meta = meta;
    impl_->write_meta();
    hdf5::write_waiting(impl_->id(), impl_->place);
    hdf5::forget_waiting(impl_->id());
    const auto bytes = impl_->size();
    if (!impl_->handle.reset()) throw hdf5::write_failure(impl_->place, {}, errno, bytes);
  }
  seal_file(part, to_bytes(directory_of_hdf5(part)), impl_->place);
  return impl_->output.commit();
}

}  // namespace headroom::record
