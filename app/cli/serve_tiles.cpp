// SPDX-License-Identifier: Apache-2.0
#include "serve_tiles.h"

#include "base/error.h"

namespace headroom::cli {
namespace {

constexpr std::size_t cached_bytes = 512u << 20;

std::size_t bytes_of(const record::LayerStream& stream) {
  return (stream.q.size() + stream.k.size() + stream.lse.size()) * sizeof(float);
}

void check_address(const record::LayerStream& stream, const protocol::TileParams& params) {
  using Kind = record::HeadSelector::Kind;
  const auto heads = params.head.kind == Kind::head ? stream.num_q_heads : stream.num_kv_heads;
  if (params.head.kind != Kind::mean && params.head.index >= heads)
    throw input_error("tile", "there is no such head", "0 to " + std::to_string(heads - 1),
                      std::to_string(params.head.index));
  const auto& address = params.address;
  const int levels = record::num_levels(stream.length);
  if (address.level >= levels)
    throw input_error("tile", "there is no such level", "0 to " + std::to_string(levels - 1),
                      std::to_string(address.level));
  const auto side = record::tile_size << address.level;
  const auto tiles = (stream.length + side - 1) / side;
  if (address.row >= tiles || address.column >= tiles)
    throw input_error("tile", "lies outside the map", "rows and columns below " + std::to_string(tiles),
                      std::to_string(address.row) + ", " + std::to_string(address.column));
}

}  // namespace

void TileServer::set_run(std::string run_id, std::shared_ptr<const experiment::StreamStore> store) {
  const std::lock_guard lock(mutex_);
  run_id_ = std::move(run_id);
  store_ = std::move(store);
  cache_.clear();
}

std::shared_ptr<const record::LayerStream> TileServer::stream(const protocol::TileParams& params) {
  const std::lock_guard lock(mutex_);
  if (!store_ || params.run_id != run_id_)
    throw input_error("tile", "the engine does not hold this run: only the last one that it ran",
                      run_id_.empty() ? "a run of this engine" : run_id_, params.run_id);
  for (auto entry = cache_.begin(); entry != cache_.end(); ++entry) {
    if (entry->method != params.method || entry->layer != params.layer) continue;
    cache_.splice(cache_.begin(), cache_, entry);
    return cache_.front().stream;
  }
  auto loaded = store_->stream(params.method, params.layer);
  if (!loaded)
    throw input_error("tile", "the run has not seen this layer", "a full layer of a method that ran",
                      params.method + ", layer " + std::to_string(params.layer));
  auto shared = std::make_shared<const record::LayerStream>(std::move(*loaded));
  cache_.push_front({params.method, params.layer, shared});
  std::size_t bytes = 0;
  for (const auto& entry : cache_) bytes += bytes_of(*entry.stream);
  while (cache_.size() > 1 && bytes > cached_bytes) {
    bytes -= bytes_of(*cache_.back().stream);
    cache_.pop_back();
  }
  return shared;
}

protocol::TileResult TileServer::tile(const protocol::TileParams& params, const std::stop_token& stop) {
  const auto layer = stream(params);
  check_address(*layer, params);
  protocol::TileResult result{record::compute_tile(*layer, params.head, params.address, stop)};
  if (stop.stop_requested()) throw cancelled_error();
  return result;
}

}  // namespace headroom::cli
