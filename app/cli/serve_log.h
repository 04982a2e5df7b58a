// SPDX-License-Identifier: Apache-2.0
// What an engine remembers of its jobs, for a window that comes back: how each was started, and what was said of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "protocol/messages.h"

namespace headroom::cli {

/// Safe from any thread. Bounded: of a job its last messages, of the jobs that ended the last ones.
class JobLog {
 public:
  void begin(std::int64_t job, std::string method, nlohmann::json params);
  void at_work(std::int64_t job);
  void message(std::int64_t job, const char* method, const nlohmann::json& params);
  void ended(std::int64_t job, const char* method, const nlohmann::json& params);
  /// Of jobs that ended; a window has taken note of them.
  void forget(const std::vector<std::int64_t>& jobs);
  protocol::JobsListResult list() const;

  /// Whether `record` is what a job that ended left, and that no window has taken note of yet, or the store of a sweep
  /// whose rows windows were told of.
  bool wrote(const std::string& record) const;

  /// Writes the jobs that ended and that no window has heard of; nothing where there is none.
  void save(const std::filesystem::path& file) const;
  /// Takes over what another engine saved, numbering from `next` on, and removes the file. Returns the next free
  /// number. What cannot be read is left out.
  std::int64_t load(const std::filesystem::path& file, std::int64_t next);

 private:
  void trim();
  mutable std::mutex mutex_;
  std::map<std::int64_t, protocol::ListedJob> jobs_;
};

}  // namespace headroom::cli
