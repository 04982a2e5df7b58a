// SPDX-License-Identifier: GPL-3.0-or-later
// The queue of the tile cache. Its jobs: tile_jobs.cpp.
#include "views/map/tile_cache.h"

#include <QThread>
#include <algorithm>
#include <utility>

#include "record/rank_tile.h"
#include "views/map/map_colours.h"

namespace headroom::views {
namespace {

constexpr qint64 first_pause_ms = 1000, longest_pause_ms = 60000;  // before a provider is asked again
constexpr int timer_slack_ms = 20;  // one that is early finds nothing that may be asked for

}  // namespace

TileCache::TileCache(std::shared_ptr<TileStore> store, QObject* parent) : QObject(parent), store_(std::move(store)) {
  pool_.setMaxThreadCount(std::max(1, QThread::idealThreadCount() - 1));  // one core stays with the window
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
  hold(false);
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

TileKey TileCache::key_of(const MapData& data, record::TileAddress address, bool overlay) {
  const auto& source = data.source;
  TileKey key;
  // Data that has no record (made in memory) is told apart by its own address.
  key.owner = source.record ? static_cast<const void*>(source.record.get()) : static_cast<const void*>(&data);
  key.what = overlay ? TileKey::What::overlay : data.ranks ? TileKey::What::ranks : TileKey::What::map;
  key.head_kind = source.head.kind;  // of overlays too: the mass that is missed is the shown heads'
  key.head_index = source.head.index;
  key.layer = source.layer;
  key.level = address.level;
  key.row = address.row;
  key.column = address.column;
  key.method = source.method;
  return key;
}

bool TileCache::too_costly(const MapData& data, record::TileAddress address) {
  if (!data.stream) return false;
  if (data.ranks) return record::rank_tile_work(*data.stream, data.source.head, address) > max_tile_work;
  const std::int64_t side = tile_side(address), length = data.length;
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

GridPtr TileCache::find(const MapData& data, record::TileAddress address) {
  const TileStore::Entry* entry = store_->find(key_of(data, address, false));
  return entry ? entry->grid : nullptr;
}

OverlayPtr TileCache::find_overlay(const MapData& data, record::TileAddress address) {
  const TileStore::Entry* entry = store_->find(key_of(data, address, true));
  return entry ? entry->overlay : nullptr;
}

void TileCache::hold(bool held) {
  if (std::exchange(held_, held) != held) store_->hold(held);
}

QString TileCache::failure(const Request& request) const {
  const TileKey key = key_of(*request.data, request.address, request.overlay);
  return running_.contains(key) ? QString() : failed_.value(key).reason;
}

QString TileCache::failure_of(const MapData& data) const {
  for (auto it = failed_.constBegin(); it != failed_.constEnd(); ++it)
    for (const bool overlay : {false, true})
      if (it.key().same_map(key_of(data, {}, overlay)) && !running_.contains(it.key())) return it.value().reason;
  return {};
}

bool TileCache::may_ask(const TileKey& key) const {
  const auto failure = failed_.constFind(key);
  return failure == failed_.constEnd() || (failure->by_provider && failure->again_at <= clock_.elapsed());
}

void TileCache::remember_failure(const TileKey& key, const QString& reason, bool by_provider) {
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
  TileKey key;
  key.owner = from.get();
  key.second = to.get();
  key.what = mean ? TileKey::What::difference_of_mean : TileKey::What::difference_of_max;
  if (const TileStore::Entry* entry = store_->find(key)) return entry->codes;
  const auto& a = mean ? from->mean : from->max;
  const auto& b = mean ? to->mean : to->max;
  auto codes = std::make_shared<std::vector<std::uint16_t>>(a.size());
  if (a.size() == b.size()) std::transform(a.begin(), a.end(), b.begin(), codes->begin(), difference_code);
  TileStore::Entry entry;
  entry.key = key;
  entry.codes = codes;
  entry.owner = from;
  entry.second = to;
  entry.bytes = codes->size() * sizeof(std::uint16_t);
  store_->insert(std::move(entry));
  return codes;
}

bool TileCache::busy() const {
  return !running_.isEmpty();
}

void TileCache::want(const void* client, std::vector<Request> requests) {
  // Back in view: a reader who returns to a tile means it to be there.
  if (!failed_.isEmpty()) {
    QSet<TileKey> before;
    for (const Request& request : wanted_.value(client))
      before.insert(key_of(*request.data, request.address, request.overlay));
    for (const Request& request : requests) {
      const TileKey key = key_of(*request.data, request.address, request.overlay);
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
  QSet<TileKey> keys;
  std::vector<std::pair<TileKey, Request>> queue;
  bool served = false;
  for (auto& requests : wanted_) {
    std::erase_if(requests, [&](const Request& request) {
      const TileKey key = key_of(*request.data, request.address, request.overlay);
      const bool running = running_.contains(key);
      if (!running && store_->contains(key)) return served = true;  // another cache has made it meanwhile
      if (keys.contains(key) || !(running || may_ask(key))) return false;
      keys.insert(key);
      if (!running) queue.emplace_back(key, request);
      return false;
    });
  }
  if (served) QMetaObject::invokeMethod(this, &TileCache::ready, Qt::QueuedConnection);
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

}  // namespace headroom::views
