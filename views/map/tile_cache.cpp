// SPDX-License-Identifier: GPL-3.0-or-later
// The queue, the least-recently-used list and the jobs of the tile cache.
#include "views/map/tile_cache.h"

#include <QThread>
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "record/rank_tile.h"
#include "views/map/map_colours.h"

namespace headroom::views {
namespace {

// Multiply-adds that one tile may cost. About two seconds on one core; beyond that the record's thumbnail serves.
constexpr double max_tile_work = 2e10;
constexpr qint64 first_pause_ms = 1000, longest_pause_ms = 60000;  // before a provider is asked again
constexpr std::size_t most_taken = 1024;
constexpr int timer_slack_ms = 20;  // one that is early finds nothing that may be asked for

void add_codes(CellGrid& grid) {
  grid.max_code.resize(grid.max.size());
  grid.mean_code.resize(grid.mean.size());
  std::transform(grid.max.begin(), grid.max.end(), grid.max_code.begin(), mass_code);
  std::transform(grid.mean.begin(), grid.mean.end(), grid.mean_code.begin(), mass_code);
}

std::int64_t side_of(record::TileAddress address) {
  return record::tile_size << address.level;
}

/// The four children in reading order, null where outside the map.
using Children = std::array<GridPtr, 4>;

// A coarser tile from the finer ones that are already here: the same numbers without touching q and k again.
GridPtr from_children(const Children& children, record::TileAddress address, std::int64_t length,
                      std::int64_t first_row) {
  CellGrid grid;
  grid.cell = std::int64_t{1} << address.level;
  const std::int64_t side = side_of(address);
  grid.row_begin = address.row * side;
  grid.column_begin = address.column * side;
  const auto cells = [&](std::int64_t begin) {
    return std::min(record::tile_size, (length - begin + grid.cell - 1) / grid.cell);
  };
  grid.rows = cells(grid.row_begin);
  grid.columns = cells(grid.column_begin);
  const auto count = static_cast<std::size_t>(grid.rows * grid.columns);
  grid.max.assign(count, std::numeric_limits<float>::quiet_NaN());
  grid.mean.assign(count, std::numeric_limits<float>::quiet_NaN());
  const std::int64_t fine = grid.cell / 2;
  for (std::int64_t row = 0; row < grid.rows; ++row) {
    for (std::int64_t column = 0; column < grid.columns; ++column) {
      float largest = std::numeric_limits<float>::quiet_NaN();
      double sum = 0;
      std::int64_t pairs = 0;
      for (int part = 0; part < 4; ++part) {
        const std::int64_t fine_row = 2 * row + part / 2, fine_column = 2 * column + part % 2;
        const auto& child =
            children[static_cast<std::size_t>(fine_row / record::tile_size * 2 + fine_column / record::tile_size)];
        if (!child) continue;
        const std::int64_t r = fine_row % record::tile_size, c = fine_column % record::tile_size;
        if (r >= child->rows || c >= child->columns) continue;
        const auto i = static_cast<std::size_t>(r * child->columns + c);
        if (std::isnan(child->max[i])) continue;
        largest = std::isnan(largest) ? child->max[i] : std::max(largest, child->max[i]);
        const std::int64_t t = grid.row_begin + fine_row * fine, s = grid.column_begin + fine_column * fine;
        const std::int64_t n =
            causal_pairs(std::max(t, first_row), std::min(t + fine, length), s, std::min(s + fine, length));
        sum += static_cast<double>(child->mean[i]) * static_cast<double>(n);
        pairs += n;
      }
      const auto i = static_cast<std::size_t>(row * grid.columns + column);
      grid.max[i] = largest;
      if (pairs > 0) grid.mean[i] = static_cast<float>(sum / static_cast<double>(pairs));
    }
  }
  add_codes(grid);
  return std::make_shared<const CellGrid>(std::move(grid));
}

std::size_t size_of(const CellGrid& grid) {
  return grid.max.size() * 12 + sizeof(CellGrid);
}

std::size_t size_of(const OverlayGrid& grid) {
  return grid.hit.size() * 17 + grid.missed_mass.size() * 4 + grid.mass_codes.size() * 2 + sizeof(OverlayGrid);
}

}  // namespace

std::int64_t causal_pairs(std::int64_t row_begin, std::int64_t row_end, std::int64_t key_begin, std::int64_t key_end) {
  if (row_end <= row_begin || key_end <= key_begin) return 0;
  // Rows t < key_begin see none, rows t >= key_end - 1 all, those between t + 1 - key_begin keys.
  const std::int64_t first = std::max(row_begin, key_begin);
  const std::int64_t full = std::max(first, std::min(row_end, key_end - 1));
  std::int64_t pairs = 0;
  if (full > first) pairs += (full - first) * (first + 1 - key_begin + full - key_begin) / 2;
  if (row_end > full) pairs += (row_end - full) * (key_end - key_begin);
  return pairs;
}

GridPtr make_grid(const record::Tile& tile) {
  CellGrid grid;
  grid.cell = std::int64_t{1} << tile.address.level;
  grid.row_begin = tile.address.row * side_of(tile.address);
  grid.column_begin = tile.address.column * side_of(tile.address);
  grid.rows = tile.rows;
  grid.columns = tile.columns;
  grid.max = tile.max;
  grid.mean = tile.mean;
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(0, grid.rows * grid.columns));
  if (count == 0 || grid.max.size() != count || grid.mean.size() != count) return nullptr;  // stopped early, or damaged
  add_codes(grid);
  return std::make_shared<const CellGrid>(std::move(grid));
}

OverlayPtr make_overlay(record::OverlayTile tile) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(0, tile.rows * tile.columns));
  for (const auto* counts : {&tile.hit, &tile.missed, &tile.wasted, &tile.selected})
    if (count == 0 || counts->size() != count) return nullptr;  // stopped early, or damaged
  OverlayGrid grid;
  static_cast<record::OverlayTile&>(grid) = std::move(tile);
  grid.flags.resize(count);
  for (std::size_t i = 0; i < count; ++i)
    grid.flags[i] = static_cast<std::uint8_t>(OverlayGrid::known_cell | (grid.hit[i] ? OverlayGrid::hit_cell : 0) |
                                              (grid.missed[i] ? OverlayGrid::missed_cell : 0) |
                                              (grid.wasted[i] ? OverlayGrid::wasted_cell : 0) |
                                              (grid.selected[i] ? OverlayGrid::attended_cell : 0));
  if (grid.missed_mass.size() == count) {
    grid.mass_codes.resize(count);
    std::transform(grid.missed_mass.begin(), grid.missed_mass.end(), grid.mass_codes.begin(), mass_code);
  }
  return std::make_shared<const OverlayGrid>(std::move(grid));
}

GridPtr make_grid(const record::Thumbnail& thumbnail, std::int64_t length) {
  CellGrid grid;
  grid.cell = thumbnail.cell;
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(0, thumbnail.size * thumbnail.size));
  if (grid.cell <= 0 || count == 0 || thumbnail.max.size() != count || thumbnail.mean.size() != count) return nullptr;
  grid.rows = grid.columns = thumbnail.size;
  grid.max = thumbnail.max;
  grid.mean = thumbnail.mean;
  for (std::int64_t row = 0; row < grid.rows; ++row) {
    for (std::int64_t column = 0; column < grid.columns; ++column) {
      if (column <= row && row * grid.cell < length) continue;
      const auto i = static_cast<std::size_t>(row * grid.columns + column);
      grid.max[i] = grid.mean[i] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  add_codes(grid);
  return std::make_shared<const CellGrid>(std::move(grid));
}

TileCache::TileCache(std::size_t max_bytes, QObject* parent) : QObject(parent), max_bytes_(max_bytes) {
  pool_.setMaxThreadCount(std::max(1, QThread::idealThreadCount() - 1));  // one core stays with the window
  pool_.setThreadPriority(QThread::LowPriority);
  disk_.setMaxThreadCount(1);
  clock_.start();
  retry_.setSingleShot(true);
  retry_.setTimerType(Qt::PreciseTimer);
  connect(&retry_, &QTimer::timeout, this, [this] {
    pump();
    const qint64 now = clock_.elapsed();
    qint64 next = -1;
    for (const Failure& failure : failed_)
      if (failure.by_provider && failure.again_at > now && (next < 0 || failure.again_at < next))
        next = failure.again_at;
    if (next >= 0) retry_.start(static_cast<int>(next - now) + timer_slack_ms);
  });
}

TileCache::~TileCache() {
  for (const auto& job : running_) {
    job->stop.request_stop();
    if (job->by_provider && provider()) provider_->cancel(job->provider_request);
  }
  for (QThreadPool* pool : {&pool_, &disk_}) {
    pool->clear();
    pool->waitForDone();
  }
}

void TileCache::set_provider(TileProvider* provider) {
  if (this->provider()) {
    for (auto it = running_.begin(); it != running_.end();) {
      if (it.value()->by_provider) {
        provider_->cancel(it.value()->provider_request);
        it = running_.erase(it);
      } else {
        ++it;
      }
    }
  }
  provider_ = provider;
  provider_alive_ = provider ? provider->alive() : std::weak_ptr<const void>();
  failed_.clear();
}

bool TileCache::can_provide(const MapData& data) const {
  if (data.stream || data.has_stored_tile(record::num_levels(data.length))) return true;
  if (!provider() || !data.source.record) return false;
  return provider_->can_provide({QString::fromStdString(data.source.record->meta().run_id), data.source.method,
                                 data.source.layer, data.source.head});
}

bool TileCache::can_make(const MapData& data, record::TileAddress address) const {
  if (data.has_stored_tile(address.level)) return true;
  return data.stream ? !too_costly(data, address) : can_provide(data) && provider();
}

QString TileCache::map_key(const MapData& data, bool overlay) {
  const auto& source = data.source;
  // Data that has no record (made in memory) is told apart by its own address.
  const void* owner = source.record ? static_cast<const void*>(source.record.get()) : static_cast<const void*>(&data);
  return QStringLiteral("%1|%2|%3|%4|%5.%6|")
      .arg(reinterpret_cast<quintptr>(owner))
      .arg(source.method)
      .arg(source.layer)
      .arg(overlay ? 1 : data.ranks ? 2 : 0)
      .arg(static_cast<int>(source.head.kind))  // of overlays too: the mass that is missed is the shown heads'
      .arg(source.head.index);
}

QString TileCache::key_of(const MapData& data, record::TileAddress address, bool overlay) {
  return map_key(data, overlay) + QStringLiteral("%1.%2.%3").arg(address.level).arg(address.row).arg(address.column);
}

bool TileCache::too_costly(const MapData& data, record::TileAddress address) {
  if (!data.stream) return false;
  if (data.ranks) return record::rank_tile_work(*data.stream, data.source.head, address) > max_tile_work;
  const std::int64_t side = side_of(address), length = data.length;
  const std::int64_t pairs =
      causal_pairs(std::max(address.row * side, data.stream->query_begin), std::min((address.row + 1) * side, length),
                   address.column * side, std::min((address.column + 1) * side, length));
  using Kind = record::HeadSelector::Kind;
  double heads = 1;
  if (data.source.head.kind != Kind::head) heads = static_cast<double>(data.stream->num_q_heads);
  if (data.source.head.kind == Kind::group)
    heads /= static_cast<double>(std::max<std::int64_t>(1, data.stream->num_kv_heads));
  return static_cast<double>(pairs) * heads * static_cast<double>(data.stream->head_dim) > max_tile_work;
}

TileCache::Entry* TileCache::touch(const QString& key) {
  const auto it = index_.constFind(key);
  if (it == index_.constEnd()) return nullptr;
  entries_.splice(entries_.begin(), entries_, it.value());
  return &*it.value();
}

GridPtr TileCache::find(const MapData& data, record::TileAddress address) {
  const Entry* entry = touch(key_of(data, address, false));
  return entry ? entry->grid : nullptr;
}

OverlayPtr TileCache::find_overlay(const MapData& data, record::TileAddress address) {
  const Entry* entry = touch(key_of(data, address, true));
  return entry ? entry->overlay : nullptr;
}

void TileCache::insert(Entry entry) {
  bytes_ += entry.bytes;
  entries_.push_front(std::move(entry));
  index_.insert(entries_.front().key, entries_.begin());
  shrink();
}

void TileCache::shrink() {
  while (!held_ && bytes_ > max_bytes_ && entries_.size() > 1) {
    bytes_ -= entries_.back().bytes;
    index_.remove(entries_.back().key);
    entries_.pop_back();
  }
}

void TileCache::hold(bool held) {
  held_ = held;
  shrink();
}

QString TileCache::failure(const Request& request) const {
  const QString key = key_of(*request.data, request.address, request.overlay);
  return running_.contains(key) ? QString() : failed_.value(key).reason;
}

QString TileCache::failure_of(const MapData& data) const {
  for (auto it = failed_.constBegin(); it != failed_.constEnd(); ++it)
    for (const bool overlay : {false, true})
      if (it.key().startsWith(map_key(data, overlay)) && !running_.contains(it.key())) return it.value().reason;
  return {};
}

bool TileCache::may_ask(const QString& key) const {
  const auto failure = failed_.constFind(key);
  return failure == failed_.constEnd() || (failure->by_provider && failure->again_at <= clock_.elapsed());
}

void TileCache::remember_failure(const QString& key, const QString& reason, bool by_provider) {
  Failure& failure = failed_[key];
  failure.tries += failure.reason.isEmpty() ? 0 : 1;
  failure.reason = reason.isEmpty() ? tr("the tile could not be made") : reason;
  failure.by_provider = by_provider;
  if (!by_provider) return;
  const qint64 pause = std::min(longest_pause_ms, first_pause_ms << std::min(failure.tries - 1, 10));
  failure.again_at = clock_.elapsed() + pause;
  if (!retry_.isActive() || retry_.remainingTime() > pause) retry_.start(static_cast<int>(pause) + timer_slack_ms);
}

std::shared_ptr<const std::vector<std::uint16_t>> TileCache::difference(const GridPtr& from, const GridPtr& to,
                                                                        bool mean) {
  const QString key = QStringLiteral("-|%1|%2|%3")
                          .arg(reinterpret_cast<quintptr>(from.get()))
                          .arg(reinterpret_cast<quintptr>(to.get()))
                          .arg(mean);
  if (const Entry* entry = touch(key)) {
    if (entry->from.lock() == from && entry->to.lock() == to) return entry->codes;
    bytes_ -= entries_.front().bytes;  // touch() has put it there
    index_.remove(key);
    entries_.pop_front();
  }
  const auto& a = mean ? from->mean : from->max;
  const auto& b = mean ? to->mean : to->max;
  auto codes = std::make_shared<std::vector<std::uint16_t>>(a.size());
  if (a.size() == b.size()) std::transform(a.begin(), a.end(), b.begin(), codes->begin(), difference_code);
  Entry entry;
  entry.key = key;
  entry.codes = codes;
  entry.from = from;
  entry.to = to;
  entry.bytes = codes->size() * sizeof(std::uint16_t);
  insert(std::move(entry));
  return codes;
}

bool TileCache::busy() const {
  return !running_.isEmpty();
}

void TileCache::want(const void* client, std::vector<Request> requests) {
  // Back in view: a reader who returns to a tile means it to be there.
  if (!failed_.isEmpty()) {
    QSet<QString> before;
    for (const Request& request : wanted_.value(client))
      before.insert(key_of(*request.data, request.address, request.overlay));
    for (const Request& request : requests) {
      const QString key = key_of(*request.data, request.address, request.overlay);
      if (const auto failure = failed_.find(key);
          failure != failed_.end() && failure->by_provider && !before.contains(key))
        failure->again_at = 0;
    }
  }
  if (requests.empty())
    wanted_.remove(client);
  else
    wanted_.insert(client, std::move(requests));
  pump();
}

void TileCache::pump() {
  QSet<QString> keys;
  std::vector<std::pair<QString, Request>> queue;
  for (const auto& requests : wanted_) {
    for (const Request& request : requests) {
      const QString key = key_of(*request.data, request.address, request.overlay);
      if (keys.contains(key) || !(may_ask(key) || running_.contains(key))) continue;
      keys.insert(key);
      if (!index_.contains(key) && !running_.contains(key)) queue.emplace_back(key, request);
    }
  }
  for (auto it = running_.begin(); it != running_.end();) {
    if (keys.contains(it.key())) {
      ++it;
      continue;
    }
    it.value()->stop.request_stop();
    if (it.value()->by_provider) {
      if (provider()) provider_->cancel(it.value()->provider_request);
      it = running_.erase(it);
    } else {
      ++it;  // leaves the list when its thread has seen the stop
    }
  }
  // One more per thread is ready when one ends.
  const auto reading = std::count_if(running_.cbegin(), running_.cend(), [](const auto& job) { return job->stored; });
  auto may_read = 2 * disk_.maxThreadCount() - reading;
  auto may_compute = 2 * pool_.maxThreadCount() - (running_.size() - reading);
  for (const auto& [key, request] : queue) {
    const MapData& data = *request.data;
    const int level = request.address.level;
    const bool stored = data.source.record &&
                        (request.overlay ? data.stored.has_overlay(level) &&
                                               (data.stored.has_missed_mass(data.source.head, level) || !data.stream)
                                         : data.has_stored_tile(level));
    if ((stored ? may_read : may_compute)-- <= 0) continue;
    if (stored)
      start_stored(request, key);
    else if (request.overlay)
      start_overlay(request, key);
    else if (request.data->stream)
      start(request, key);
    else if (can_provide(*request.data))
      ask_provider(request, key);
  }
}

void TileCache::start(const Request& request, const QString& key) {
  auto job = std::make_shared<Running>();
  running_.insert(key, job);
  Children children;
  bool complete = request.address.level > 0 && !request.data->ranks;
  for (int part = 0; part < 4 && complete; ++part) {
    const record::TileAddress child{request.address.level - 1, request.address.row * 2 + part / 2,
                                    request.address.column * 2 + part % 2};
    // Above the diagonal or outside: nothing there.
    if (child.column > child.row || child.row * side_of(child) >= request.data->length) continue;
    children[static_cast<std::size_t>(part)] = find(*request.data, child);
    complete = children[static_cast<std::size_t>(part)] != nullptr;
  }
  pool_.start([this, key, job, children, complete, data = request.data, address = request.address] {
    job->begun = clock_.nsecsElapsed();
    Entry entry;
    entry.key = key;
    try {
      if (data->ranks)
        entry.grid =
            make_grid(record::compute_rank_tile(*data->stream, data->source.head, address, job->stop.get_token()));
      else if (complete)
        entry.grid = from_children(children, address, data->length, data->stream->query_begin);
      else
        entry.grid = make_grid(record::compute_tile(*data->stream, data->source.head, address, job->stop.get_token()));
    } catch (const std::exception& error) {
      entry.grid = nullptr;  // the coarser picture stays
      entry.problem = QString::fromUtf8(error.what());
    }
    if (entry.grid) entry.bytes = size_of(*entry.grid);
    QMetaObject::invokeMethod(
        this, [this, key, entry] { finished(key, entry); }, Qt::QueuedConnection);
  });
}

void TileCache::start_stored(const Request& request, const QString& key) {
  auto job = std::make_shared<Running>();
  job->stored = true;
  running_.insert(key, job);
  disk_.start([this, key, job, data = request.data, address = request.address, overlay = request.overlay] {
    job->begun = clock_.nsecsElapsed();
    Entry entry;
    entry.key = key;
    try {
      const MapSource& source = data->source;
      const std::string method = source.method.toStdString();
      if (job->stop.stop_requested()) {
      } else if (overlay) {
        if (auto tile = source.record->stored_overlay(method, source.layer, data->support_group.value_or(-1),
                                                      source.head, address)) {
          entry.overlay = make_overlay(std::move(*tile));
        }
      } else if (const auto tile = source.record->stored_tile(method, source.layer, source.head, address)) {
        entry.grid = make_grid(*tile);
      }
    } catch (const std::exception& error) {
      entry.grid = nullptr;
      entry.overlay = nullptr;
      entry.problem = QString::fromUtf8(error.what());
    }
    if (entry.grid) entry.bytes = size_of(*entry.grid);
    if (entry.overlay) entry.bytes = size_of(*entry.overlay);
    QMetaObject::invokeMethod(
        this, [this, key, entry] { finished(key, entry); }, Qt::QueuedConnection);
  });
}

void TileCache::start_overlay(const Request& request, const QString& key) {
  auto job = std::make_shared<Running>();
  running_.insert(key, job);
  pool_.start([this, key, job, data = request.data, address = request.address] {
    Entry entry;
    entry.key = key;
    try {
      if (!job->stop.stop_requested() && data->has_overlay()) {
        const MapSource& source = data->source;
        const auto counted = source.record && data->stored.has_overlay(address.level)
                                 ? source.record->stored_overlay(source.method.toStdString(), source.layer,
                                                                 data->support_group.value_or(-1), source.head, address)
                                 : std::nullopt;
        record::OverlayTile tile =
            counted ? *counted
                    : record::compute_overlay(*data->support, *data->target, data->wasted.get(), address,
                                              data->stream ? data->stream->query_begin : 0, job->stop.get_token());
        if (data->stream)
          record::add_missed_mass(tile, *data->stream, data->source.head, *data->support, *data->target, max_tile_work,
                                  job->stop.get_token());
        if (!job->stop.stop_requested()) entry.overlay = make_overlay(std::move(tile));
      }
    } catch (const std::exception& error) {
      entry.overlay = nullptr;
      entry.problem = QString::fromUtf8(error.what());
    }
    if (entry.overlay) entry.bytes = size_of(*entry.overlay);
    QMetaObject::invokeMethod(
        this, [this, key, entry] { finished(key, entry); }, Qt::QueuedConnection);
  });
}

void TileCache::ask_provider(const Request& request, const QString& key) {
  auto job = std::make_shared<Running>();
  job->by_provider = true;
  running_.insert(key, job);
  const auto& source = request.data->source;
  const MapId id{QString::fromStdString(source.record->meta().run_id), source.method, source.layer, source.head};
  job->provider_request = provider_->request(
      id, request.address, [this, key](std::shared_ptr<const record::Tile> tile, const QString& reason) {
        Entry entry;
        entry.key = key;
        entry.grid = tile ? make_grid(*tile) : nullptr;
        entry.problem = reason;
        if (entry.grid)
          entry.bytes = size_of(*entry.grid);
        else if (!reason.isEmpty())
          emit provider_failed(reason);
        finished(key, std::move(entry));
      });
}

void TileCache::finished(const QString& key, Entry entry) {
  const auto job = running_.take(key);
  if (job && entry.grid && !job->by_provider) {
    auto& list = job->stored ? taken_.stored : taken_.computed;
    if (list.size() < most_taken) list.push_back(static_cast<double>(clock_.nsecsElapsed() - job->begun) / 1e6);
  }
  if (entry.grid || entry.overlay) {
    // Served: asking for it again is the client's business. Else more than the cache holds would go round for ever.
    for (auto& requests : wanted_)
      std::erase_if(requests, [&](const Request& r) { return key_of(*r.data, r.address, r.overlay) == key; });
    failed_.remove(key);
    if (!index_.contains(key)) insert(std::move(entry));
    emit ready();
  } else if (job && !job->stop.stop_requested()) {
    remember_failure(key, entry.problem, job->by_provider);
  }
  pump();
  if (!busy()) emit idle();
}

}  // namespace headroom::views
