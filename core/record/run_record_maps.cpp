// SPDX-License-Identifier: Apache-2.0
// The large parts of a record: streams, supports and stored tiles. Of long prompts only what is asked for is read.
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/sha256.h"
#include "record/run_record_impl.h"
#include "record/stream_window.h"
#include "record/support_check.h"

namespace headroom::record {
namespace {

constexpr std::int64_t most_stream_in_memory = std::int64_t{32} << 20;  // bytes, as float32
constexpr std::int64_t most_bitmap_in_memory = std::int64_t{64} << 20;
constexpr std::int64_t least_block_rows = 256, most_block_values = std::int64_t{1} << 19;

void check_finite(const std::vector<float>& values, const std::string& place) {
  // A sum of zeros is NaN as soon as one value is not finite; unlike a search it vectorises.
  float sum = 0;
  for (const float value : values) sum += value * 0.0f;
  if (std::isnan(sum)) throw input_error(place, "holds values that are not finite");
}

/// Blocks as large as the chunks, where those are of a plausible size.
StreamWindow::Shape window_shape(const StoredDataset& dataset) {
  StreamWindow::Shape shape;
  shape.heads = dataset.extent[0];
  shape.rows = dataset.extent[1];
  shape.width = dataset.extent.size() > 2 ? dataset.extent[2] : 1;
  shape.halves = dataset.element == Element::f16;
  const std::int64_t rows = std::max<std::int64_t>(most_block_values / std::max<std::int64_t>(shape.width, 1), 1);
  shape.block_rows = std::clamp(dataset.chunk[1], std::min(least_block_rows, rows), rows);
  return shape;
}

std::shared_ptr<const StreamWindow> open_window(std::shared_ptr<const RecordFile> file, const std::string& group,
                                                const LayerStream& s) {
  const Element either[] = {Element::f16, Element::f32}, single[] = {Element::f32};
  const std::int64_t rows = s.length - s.query_begin;
  const StoredDataset* sets[] = {&file->find(group + "/q", either, {s.num_q_heads, rows, s.head_dim}),
                                 &file->find(group + "/k", either, {s.num_kv_heads, s.length, s.head_dim}),
                                 &file->find(group + "/lse", single, {s.num_q_heads, rows})};
  const std::string place = file->place() + ":" + group;
  const auto q = window_shape(*sets[0]), k = window_shape(*sets[1]), lse = window_shape(*sets[2]);
  auto read = [file = std::move(file), group, q_set = sets[0], k_set = sets[1], lse_set = sets[2]](
                  StreamWindow::Part part, std::int64_t head, std::int64_t begin, std::int64_t count, void* out) {
    using Part = StreamWindow::Part;
    const StoredDataset& set = part == Part::q ? *q_set : part == Part::k ? *k_set : *lse_set;
    const std::string path = group + (part == Part::q ? "/q" : part == Part::k ? "/k" : "/lse");
    if (part == Part::lse)
      file->read_box(set, path, {head, begin}, {1, count}, out);
    else
      file->read_box(set, path, {head, begin, 0}, {1, count, set.extent[2]}, out);
  };
  return std::make_shared<const StreamWindow>(q, k, lse, std::move(read), place);
}

}  // namespace

std::shared_ptr<const LayerStream> RunRecord::layer_stream(std::string_view method, int layer) const {
  const std::string group = layout::layer(method, layer, "stream");
  return impl_->streams.get(group, [&]() -> std::shared_ptr<const LayerStream> {
    const Impl& r = *impl_;
    if (!r.has(method, layer, "stream/lse")) return nullptr;
    auto s = std::make_shared<LayerStream>();
    s->length = r.length();
    s->query_begin = r.file.attribute<std::int64_t>(group, "query_begin");
    s->scale = r.file.attribute<double>(group, "scale");
    if (s->query_begin < 0 || s->query_begin >= s->length)
      throw input_error(r.place(group), "query_begin is out of range", "0 to " + std::to_string(s->length - 1),
                        std::to_string(s->query_begin));
    if (!std::isfinite(s->scale)) throw input_error(r.place(group), "scale is not finite");
    const LayerMeta& sizes = r.meta.layer(layer);
    s->num_q_heads = sizes.num_q_heads;
    s->num_kv_heads = sizes.num_kv_heads;
    s->head_dim = sizes.head_dim;
    const std::int64_t rows = s->length - s->query_begin;
    const double bytes = 4.0 * static_cast<double>(s->head_dim) *
                         (static_cast<double>(s->num_q_heads) * static_cast<double>(rows) +
                          static_cast<double>(s->num_kv_heads) * static_cast<double>(s->length));
    if (bytes > static_cast<double>(most_stream_in_memory)) {
      s->window = open_window(r.held, group, *s);
      return s;
    }
    s->q = r.file.read_floats(group + "/q", {s->num_q_heads, rows, s->head_dim});
    s->k = r.file.read_floats(group + "/k", {s->num_kv_heads, s->length, s->head_dim});
    s->lse = r.file.read_all<float>(group + "/lse", {s->num_q_heads, rows});
    check_finite(s->q, r.place(group + "/q"));
    check_finite(s->k, r.place(group + "/k"));
    check_finite(s->lse, r.place(group + "/lse"));
    return s;
  });
}

std::shared_ptr<const Support> RunRecord::supports(std::string_view method, int layer, SupportKind kind,
                                                   int group) const {
  const std::string path = layout::supports(method, layer, kind);
  return impl_->supports.get(path + "#" + std::to_string(group), [&]() -> std::shared_ptr<const Support> {
    const Impl& r = *impl_;
    const MethodSummary* summary = r.find(method);
    const bool lists = r.file.has(layout::support_rows(path));
    if (!summary || !r.meta.is_full(layer) || !(lists || r.file.has(path))) return nullptr;
    const std::int64_t groups = r.groups(*summary, layer), length = r.length();
    if (group < 0 || group >= groups) return nullptr;
    if (lists) {
      const std::string rows_path = layout::support_rows(path), keys_path = layout::support_keys(path);
      const Element whole[] = {Element::i32};
      // No more than every causal pair of every group.
      const StoredDataset& keys = r.file.find(keys_path, whole, {-1}, groups * (length * (length + 1) / 2));
      auto offsets = r.file.read_one<std::int64_t>(rows_path, {groups, length + 1}, group);
      std::int64_t first = 0;
      if (group > 0) {
        const auto before = r.file.read_one<std::int64_t>(rows_path, {groups, length + 1}, group - 1);
        first = before.back();
      }
      check_offsets(offsets, first, keys.extent[0], r.place(rows_path));
      if (group + 1 == groups && offsets.back() != keys.extent[0])
        throw input_error(r.place(rows_path), "the last row does not end where the keys do",
                          std::to_string(keys.extent[0]), std::to_string(offsets.back()));
      auto read = [file = r.held, &keys, keys_path](std::int64_t begin, std::span<std::int32_t> out) {
        file->read_box(keys, keys_path, {begin}, {std::ssize(out)}, out.data());
      };
      return std::make_shared<const Support>(std::move(offsets), std::move(read), r.place(keys_path));
    }
    const bool shared = summary->scope == SupportScope::layer;
    const Extent rows = {length, (length + 7) / 8};
    const Element element[] = {Element::u8};
    const StoredDataset& dataset = r.file.find(path, element, shared ? rows : Extent{groups, rows[0], rows[1]});
    if (rows[0] * rows[1] > most_bitmap_in_memory) {  // the seal's checksums stand for the hash of all
      auto read = [file = r.held, &dataset, path, shared, group](std::int64_t begin, std::int64_t count,
                                                                 std::span<std::uint8_t> out) {
        const std::int64_t bytes = dataset.extent.back();
        file->read_box(dataset, path, shared ? Extent{begin, 0} : Extent{group, begin, 0},
                       shared ? Extent{count, bytes} : Extent{1, count, bytes}, out.data());
      };
      return std::make_shared<const Support>(length, std::move(read), r.place(path));
    }
    SupportBitmap bitmap(length);
    const auto expected =
        r.file.attribute<std::string>(path, layout::checksum(summary->scope, static_cast<std::size_t>(group)).c_str());
    r.file.read(dataset, path, shared ? -1 : group, bitmap.bytes().data());
    const std::string found = sha256(bitmap.bytes());
    if (found != expected) throw input_error(r.place(path), "checksum differs", "SHA-256 " + expected, found);
    if (const std::int64_t row = first_row_past_query(bitmap); row >= 0)
      throw input_error(r.place(path), "row " + std::to_string(row) + " holds keys after its query");
    return std::make_shared<const Support>(std::move(bitmap));
  });
}

}  // namespace headroom::record
