// SPDX-License-Identifier: Apache-2.0
#include "serve_log.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "base/output_file.h"
#include "protocol/json_fields.h"

namespace headroom::cli {
namespace {

constexpr std::size_t kept_messages = 200;  // of one job, its end not counted
constexpr std::size_t kept_ended = 32;
constexpr std::uintmax_t max_saved_bytes = 16u << 20;

}  // namespace

void JobLog::begin(std::int64_t job, std::string method, nlohmann::json params) {
  const std::lock_guard lock(mutex_);
  jobs_[job] = {job, std::move(method), std::move(params), "waiting", {}};
}

void JobLog::at_work(std::int64_t job) {
  const std::lock_guard lock(mutex_);
  if (const auto found = jobs_.find(job); found != jobs_.end()) found->second.state = "running";
}

void JobLog::message(std::int64_t job, const char* method, const nlohmann::json& params) {
  const std::lock_guard lock(mutex_);
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return;
  auto& messages = found->second.messages;
  // Where it stands now is what matters of its progress.
  const std::string_view name = method;
  if (name == protocol::method::job_progress || name == protocol::method::job_row)
    std::erase_if(messages, [&](const auto& told) { return told.first == name; });
  if (messages.size() < kept_messages) messages.emplace_back(method, params);
}

void JobLog::ended(std::int64_t job, const char* method, const nlohmann::json& params) {
  const std::lock_guard lock(mutex_);
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return;
  found->second.state = "ended";
  found->second.messages.emplace_back(method, params);
  trim();
}

void JobLog::trim() {
  auto count = static_cast<std::size_t>(
      std::count_if(jobs_.begin(), jobs_.end(), [](const auto& entry) { return entry.second.state == "ended"; }));
  for (auto entry = jobs_.begin(); entry != jobs_.end() && count > kept_ended;) {
    if (entry->second.state != "ended") {
      ++entry;
      continue;
    }
    entry = jobs_.erase(entry);
    --count;
  }
}

void JobLog::forget(const std::vector<std::int64_t>& jobs) {
  const std::lock_guard lock(mutex_);
  for (const std::int64_t job : jobs)
    if (const auto found = jobs_.find(job); found != jobs_.end() && found->second.state == "ended") jobs_.erase(found);
}

protocol::JobsListResult JobLog::list() const {
  const std::lock_guard lock(mutex_);
  protocol::JobsListResult result;
  for (const auto& [number, job] : jobs_)
    if (result.jobs.size() < protocol::max_listed_jobs) result.jobs.push_back(job);
  return result;
}

bool JobLog::wrote(const std::string& record) const {
  const std::lock_guard lock(mutex_);
  return !record.empty() && std::any_of(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
    const protocol::ListedJob& job = entry.second;
    for (const auto& [name, params] : job.messages)
      if (name == protocol::method::job_row && params.is_object() && params.value("store", "") == record) return true;
    if (job.state != "ended" || job.messages.empty()) return false;
    const nlohmann::json& end = job.messages.back().second;
    return end.is_object() && end.contains("record") && end["record"] == record;
  });
}

void JobLog::save(const std::filesystem::path& file) const {
  auto result = list();
  std::erase_if(result.jobs, [](const auto& job) { return job.state != "ended"; });
  if (result.jobs.empty()) return;
  OutputPlace place(file, OutputKind::file);
  write_output(place, protocol::dump_json(protocol::to_json(result)));
}

std::int64_t JobLog::load(const std::filesystem::path& file, std::int64_t next) {
  std::error_code error;
  const auto bytes = std::filesystem::file_size(file, error);
  if (error) return next;
  protocol::JobsListResult saved;
  try {
    if (bytes > max_saved_bytes) throw input_error(file.string(), "is too large");
    std::ifstream stream(file, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(stream)), {});
    saved = protocol::jobs_list_result_from_json(protocol::parse_json(text, file.string()));
  } catch (const Error&) {
    saved = {};
  }
  std::filesystem::remove(file, error);
  const std::lock_guard lock(mutex_);
  for (auto& job : saved.jobs) {
    if (job.state != "ended") continue;
    job.job = next++;
    for (auto& [method, params] : job.messages)
      if (params.is_object()) params["job"] = job.job;
    jobs_[job.job] = std::move(job);
  }
  trim();
  return next;
}

}  // namespace headroom::cli
