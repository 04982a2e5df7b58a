// SPDX-License-Identifier: Apache-2.0
// `tile`: map tiles of the last run's layers that its record does not hold, from the run's working file.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "experiment/passes/stream_store.h"
#include "protocol/messages.h"

namespace headroom::cli {

/// Safe from any thread; tiles themselves are computed on the caller's.
class TileServer {
 public:
  /// From now on tiles are of this run; the run before it is forgotten.
  void set_run(std::string run_id, std::shared_ptr<const experiment::StreamStore> store);
  /// Throws input errors: another run, a method or layer that the run did not see, a head or address outside the map.
  protocol::TileResult tile(const protocol::TileParams& params, const std::stop_token& stop);

 private:
  struct Cached {
    std::string method;
    int layer = 0;
    std::shared_ptr<const record::LayerStream> stream;
  };
  std::shared_ptr<const record::LayerStream> stream(const protocol::TileParams& params);

  std::mutex mutex_;
  std::string run_id_;
  std::shared_ptr<const experiment::StreamStore> store_;
  std::list<Cached> cache_;  ///< the last used first
};

}  // namespace headroom::cli
