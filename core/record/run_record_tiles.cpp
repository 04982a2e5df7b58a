// SPDX-License-Identifier: Apache-2.0
// Stored tiles of a record, and what its parts weigh.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>

#include "base/error.h"
#include "record/run_record_impl.h"

namespace headroom::record {
namespace {

constexpr float no_pair = std::numeric_limits<float>::quiet_NaN();

/// Cells of a tile, as far as they lie inside the map.
struct TileBox {
  std::int64_t side = 0, row = 0, column = 0, rows = 0, columns = 0;
};

TileBox tile_box(TileAddress address, std::int64_t length) {
  TileBox box;
  if (address.level < 0 || address.level > 32 || address.row < 0 || address.column < 0) return box;
  box.side = (length + (std::int64_t{1} << address.level) - 1) >> address.level;
  if (address.row > box.side / tile_size || address.column > box.side / tile_size) return box;
  box.row = address.row * tile_size;
  box.column = address.column * tile_size;
  box.rows = std::clamp<std::int64_t>(box.side - box.row, 0, tile_size);
  box.columns = std::clamp<std::int64_t>(box.side - box.column, 0, tile_size);
  if (box.rows == 0 || box.columns == 0) box.rows = box.columns = 0;
  return box;
}

/// A number at the front of `text`, and what follows it.
int leading_number(std::string_view& text) {
  int value = -1;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc()) return -1;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

RecordPart part_of(std::string_view path) {
  if (!path.starts_with("/methods/")) return {path.starts_with("/tokens/") ? "prompt" : "figures", {}, -1, 0};
  path.remove_prefix(9);
  RecordPart part{"figures", std::string(path.substr(0, path.find('/'))), -1, 0};
  path.remove_prefix(std::min(path.size(), part.method.size() + 1));
  if (!path.starts_with("layers/")) return part;
  path.remove_prefix(7);
  part.layer = leading_number(path);
  part.kind = path.starts_with("/stream/")       ? "streams"
              : path.starts_with("/supports/")   ? "supports"
              : path.starts_with("/pyramid/")    ? "pyramids"
              : path.starts_with("/thumbnails/") ? "thumbnails"
                                                 : "marginals";
  return part;
}

}  // namespace

StoredLevels RunRecord::stored_levels(std::string_view method, int layer) const {
  StoredLevels stored;
  const Impl& r = *impl_;
  if (!r.find(method) || !r.meta.is_full(layer)) return stored;
  const int top = num_levels(r.length());
  for (int i = 0; i < num_planes; ++i) {
    const char* name = plane_name(static_cast<Plane>(i));
    // The coarsest level is there wherever any is.
    if (!r.file.has(layout::pyramid(method, layer, top - 1, name))) continue;
    for (int level = 0; level < top && stored.first[static_cast<std::size_t>(i)] < 0; ++level)
      if (r.file.has(layout::pyramid(method, layer, level, name))) stored.first[static_cast<std::size_t>(i)] = level;
  }
  return stored;
}

namespace {

/// The cells of a tile in one plane; `planes`: how many it has to have.
template <typename T>
std::vector<T> read_cells(const RecordFile& file, const std::string& path, std::int64_t planes, std::int64_t index,
                          const TileBox& box) {
  const Element element[] = {ElementOf<T>::value};
  const StoredDataset& dataset = file.find(path, element, {planes, box.side, box.side});
  std::vector<T> cells(static_cast<std::size_t>(box.rows * box.columns));
  if (cells.empty()) return cells;
  file.read_box(dataset, path, {index, box.row, box.column}, {1, box.rows, box.columns}, cells.data());
  for (const T value : cells)
    if (!(value >= 0) || !std::isfinite(static_cast<double>(value)))
      throw input_error(file.place() + ":" + path, "holds a value that no cell can have", "0 or more",
                        std::to_string(value));
  return cells;
}

}  // namespace

std::optional<Tile> RunRecord::stored_tile(std::string_view method, int layer, HeadSelector head,
                                           TileAddress address) const {
  if (!stored_levels(method, layer).has_tile(head, address.level)) return std::nullopt;
  const Impl& r = *impl_;
  const bool mean = head.kind == HeadSelector::Kind::mean;
  const std::int64_t heads = r.meta.layer(layer).num_q_heads, planes = mean ? 1 : heads, index = mean ? 0 : head.index;
  if (index < 0 || index >= planes) return std::nullopt;
  const TileBox box = tile_box(address, r.length());
  Tile tile;
  tile.address = address;
  tile.rows = box.rows;
  tile.columns = box.columns;
  const auto cells = [&](Plane plane) {
    return read_cells<float>(r.file, layout::pyramid(method, layer, address.level, plane_name(plane)), planes, index,
                             box);
  };
  tile.max = cells(mean ? Plane::m_max : Plane::max);
  tile.mean = cells(mean ? Plane::m_mean : Plane::mean);
  const std::int64_t cell = std::int64_t{1} << address.level;
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    // The last query of a row of cells sees the keys up to itself: nothing beyond them.
    const std::int64_t last = std::min((box.row + i + 1) * cell, r.length()) - 1;
    for (std::int64_t j = std::max<std::int64_t>(0, last / cell + 1 - box.column); j < tile.columns; ++j)
      tile.max[static_cast<std::size_t>(i * tile.columns + j)] =
          tile.mean[static_cast<std::size_t>(i * tile.columns + j)] = no_pair;
  }
  return tile;
}

std::optional<OverlayTile> RunRecord::stored_overlay(std::string_view method, int layer, int group, HeadSelector head,
                                                     TileAddress address) const {
  const StoredLevels stored = stored_levels(method, layer);
  if (!stored.has_overlay(address.level)) return std::nullopt;
  const Impl& r = *impl_;
  const LayerMeta& sizes = r.meta.layer(layer);
  const std::int64_t groups = r.groups(*r.find(method), layer);
  if (group < 0 || group >= groups) return std::nullopt;
  const TileBox box = tile_box(address, r.length());
  OverlayTile tile;
  tile.address = address;
  tile.rows = box.rows;
  tile.columns = box.columns;
  const auto path = [&](Plane plane) { return layout::pyramid(method, layer, address.level, plane_name(plane)); };
  const auto counts = [&](Plane plane) {
    const auto cells = read_cells<std::int32_t>(r.file, path(plane), groups, group, box);
    return std::vector<std::uint32_t>(cells.begin(), cells.end());
  };
  tile.hit = counts(Plane::hit);
  tile.missed = counts(Plane::missed);
  tile.wasted = counts(Plane::wasted);
  tile.selected = counts(Plane::selected);
  if (!stored.has_missed_mass(head, address.level)) return tile;
  using Kind = HeadSelector::Kind;
  if (head.kind == Kind::mean) {
    tile.missed_mass = read_cells<float>(r.file, path(Plane::m_missed_mass), 1, 0, box);
    return tile;
  }
  const std::int64_t count = head.kind == Kind::head ? 1 : sizes.group_size();
  const std::int64_t first = head.index * count;
  if (first < 0 || count < 1 || first + count > sizes.num_q_heads) return tile;
  for (std::int64_t i = first; i < first + count; ++i) {
    const auto of_head = read_cells<float>(r.file, path(Plane::missed_mass), sizes.num_q_heads, i, box);
    tile.missed_mass.resize(of_head.size());
    for (std::size_t cell = 0; cell < of_head.size(); ++cell)
      tile.missed_mass[cell] += of_head[cell] / static_cast<float>(count);
  }
  return tile;
}

std::vector<RecordPart> RunRecord::parts() const {
  std::map<std::tuple<std::string, int, std::string>, std::int64_t> sizes;
  std::int64_t known = 0;
  for (const auto& [path, dataset] : impl_->file.directory().datasets) {
    std::int64_t bytes = 0;
    for (const StoredChunk& chunk : dataset.chunks) bytes += chunk.size;
    const RecordPart part = part_of(path);
    sizes[{part.method, part.layer, part.kind}] += bytes;
    known += bytes;
  }
  std::vector<RecordPart> parts;
  for (const auto& [key, bytes] : sizes) parts.push_back({std::get<2>(key), std::get<0>(key), std::get<1>(key), bytes});
  parts.push_back({"rest", {}, -1, file_bytes() - known});
  return parts;
}

std::int64_t RunRecord::file_bytes() const {
  return impl_->file.bytes();
}

}  // namespace headroom::record
