// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/map/tile_store.h"

namespace headroom::views {

size_t qHash(const TileKey& key, size_t seed) {
  return qHashMulti(seed, key.owner, key.second, static_cast<int>(key.what), static_cast<int>(key.head_kind),
                    key.head_index, key.layer, key.level, key.row, key.column, key.method);
}

std::shared_ptr<TileStore> TileStore::shared() {
  static std::weak_ptr<TileStore> store;
  std::shared_ptr<TileStore> here = store.lock();
  if (!here) store = here = std::make_shared<TileStore>();
  return here;
}

TileStore::Index::iterator TileStore::look(const TileKey& key) {
  const auto found = index_.find(key);
  if (found == index_.end()) return found;
  const Entry& entry = *found.value();
  const bool lost = entry.owner.expired() || (key.second && entry.second.expired());
  if (!lost) return found;
  erase(found.value());
  return index_.end();
}

const TileStore::Entry* TileStore::find(const TileKey& key) {
  const auto found = look(key);
  if (found == index_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found.value());
  entries_.front().used = ++clock_;
  return &entries_.front();
}

void TileStore::insert(Entry entry) {
  // What records leave behind that are closed goes first.
  for (auto at = entries_.begin(); at != entries_.end();) {
    const Place place = at++;
    if (place->owner.expired()) erase(place);
  }
  if (const auto old = look(entry.key); old != index_.end()) erase(old.value());
  bytes_ += entry.bytes;
  entry.used = ++clock_;
  entries_.push_front(std::move(entry));
  index_.insert(entries_.front().key, entries_.begin());
  shrink();
}

void TileStore::erase(Place place) {
  bytes_ -= place->bytes;
  index_.remove(place->key);
  entries_.erase(place);
}

void TileStore::shrink() {
  const auto may_go = [&](const Entry& entry) { return holders_ == 0 || entry.used <= held_since_; };
  while (bytes_ > max_bytes_ && entries_.size() > 1 && may_go(entries_.back())) erase(std::prev(entries_.end()));
}

void TileStore::hold(bool held) {
  if (held && holders_ == 0) held_since_ = clock_;
  holders_ += held ? 1 : -1;
  shrink();
}

}  // namespace headroom::views
