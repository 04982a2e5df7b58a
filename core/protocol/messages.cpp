// SPDX-License-Identifier: Apache-2.0
#include "protocol/messages.h"

#include <limits>

#include "protocol/base64.h"
#include "protocol/json_fields.h"
#include "record/record_json.h"

namespace headroom::protocol {
namespace {

using nlohmann::json;

constexpr std::int64_t any_count = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t max_job = 1LL << 52;
constexpr std::size_t max_entries = 10'000;

std::int64_t job_of(Fields& fields) {
  return fields.integer("job", 1, max_job);
}

std::string head_kind(record::HeadSelector::Kind kind) {
  using Kind = record::HeadSelector::Kind;
  return kind == Kind::head ? "head" : kind == Kind::mean ? "mean" : "group";
}

json address_json(const record::TileAddress& address) {
  return {{"level", address.level}, {"row", address.row}, {"column", address.column}};
}

record::TileAddress address_from_json(const json& value) {
  Fields fields(value, "tile.address");
  record::TileAddress address;
  address.level = static_cast<int>(fields.integer("level", 0, 32));
  address.row = fields.integer("row", 0, 1 << 24);
  address.column = fields.integer("column", 0, 1 << 24);
  return address;
}

}  // namespace

json to_json(const InitializeParams& params) {
  return {{"protocol", params.protocol}, {"record_schema", params.record_schema}, {"client", params.client}};
}
InitializeParams initialize_params_from_json(const json& value) {
  Fields fields(value, "initialize");
  InitializeParams params;
  params.protocol = static_cast<int>(fields.integer("protocol", 0, 1'000'000));
  params.record_schema = static_cast<int>(fields.integer("record_schema", 0, 1'000'000));
  params.client = fields.string_or("client", {}, 256);
  return params;
}

json to_json(const InitializeResult& result) {
  auto devices = json::array();
  for (const auto& device : result.devices)
    devices.push_back({{"id", device.id},
                       {"name", device.name},
                       {"total_bytes", device.total_bytes},
                       {"free_bytes", device.free_bytes}});
  auto models = json::array();
  for (const auto& model : result.models) models.push_back({{"name", model.name}, {"path", model.path}});
  auto methods = json::array();
  for (const auto& entry : result.methods)
    methods.push_back({{"name", entry.name},
                       {"title", entry.title},
                       {"definition", entry.definition},
                       {"needs_index", entry.needs_index},
                       {"is_default", entry.is_default}});
  auto tasks = json::array();
  for (const auto& task : result.tasks)
    tasks.push_back({{"name", task.name},
                     {"title", task.title},
                     {"definition", task.definition},
                     {"takes_haystack", task.takes_haystack}});
  return {{"protocol", result.protocol},
          {"tasks", tasks},
          {"record_schema", result.record_schema},
          {"engine_version", result.engine_version},
          {"devices", devices},
          {"models", models},
          {"folders", result.folders},
          {"device_note", result.device_note},
          {"methods", methods},
          {"keeps_jobs", result.keeps_jobs},
          {"session", result.session},
          {"mismatch", result.mismatch}};
}
InitializeResult initialize_result_from_json(const json& value) {
  Fields fields(value, "initialize");
  InitializeResult result;
  result.protocol = static_cast<int>(fields.integer("protocol", 0, 1'000'000));
  result.record_schema = static_cast<int>(fields.integer("record_schema", 0, 1'000'000));
  result.engine_version = fields.string("engine_version", 256);
  for (const auto& entry : fields.array("devices", 256)) {
    Fields device(entry, "initialize.devices");
    result.devices.push_back({device.string("id", 32), device.string("name"),
                              device.integer_or("total_bytes", 0, 0, any_count),
                              device.integer_or("free_bytes", 0, 0, any_count)});
  }
  for (const auto& entry : fields.array("models", max_entries)) {
    Fields model(entry, "initialize.models");
    result.models.push_back({model.string("name"), model.string("path")});
  }
  if (fields.has("folders")) result.folders = fields.strings("folders", 256);
  result.device_note = fields.string_or("device_note", {});
  result.keeps_jobs = fields.boolean_or("keeps_jobs", false);
  result.session = fields.string_or("session", {}, 64);
  if (fields.has("methods")) {  // engines of record schema 1 have none, and a mismatch to tell
    for (const auto& entry : fields.array("methods", 256)) {
      Fields known(entry, "initialize.methods");
      result.methods.push_back({known.string("name", 256), known.string("title", 256), known.string("definition"),
                                known.boolean_or("needs_index", false), known.boolean_or("is_default", false)});
    }
  }
  if (fields.has("tasks")) {
    for (const auto& entry : fields.array("tasks", 256)) {
      Fields task(entry, "initialize.tasks");
      result.tasks.push_back({task.string("name", 64), task.string("title", 256), task.string("definition"),
                              task.boolean_or("takes_haystack", false)});
    }
  }
  result.mismatch = fields.string_or("mismatch", {});
  return result;
}

json to_json(const ModelInspectParams& params) {
  json object = {{"model", params.model}};
  if (params.adapter) object["adapter"] = *params.adapter;
  return object;
}
ModelInspectParams model_inspect_params_from_json(const json& value) {
  Fields fields(value, method::model_inspect);
  ModelInspectParams params{fields.string("model"), fields.optional_string("adapter")};
  fields.refuse_unknown();
  return params;
}

json to_json(const FilesListParams& params) {
  return {{"path", params.path}};
}
FilesListParams files_list_params_from_json(const json& value) {
  Fields fields(value, method::files_list);
  return {fields.string_or("path", {})};
}

json to_json(const FilesListResult& result) {
  auto entries = json::array();
  for (const auto& entry : result.entries)
    entries.push_back({{"name", entry.name}, {"folder", entry.folder}, {"bytes", entry.bytes}});
  return {{"path", result.path}, {"parent", result.parent}, {"entries", entries}, {"truncated", result.truncated}};
}
FilesListResult files_list_result_from_json(const json& value) {
  Fields fields(value, method::files_list);
  FilesListResult result;
  result.path = fields.string("path");
  result.parent = fields.string_or("parent", {});
  for (const auto& item : fields.array("entries", max_entries)) {
    Fields entry(item, "files/list.entries");
    result.entries.push_back(
        {entry.string("name"), entry.boolean("folder"), entry.integer_or("bytes", 0, 0, any_count)});
  }
  result.truncated = fields.boolean_or("truncated", false);
  return result;
}

json to_json(const Preflight& preflight) {
  return {{"tokens", preflight.tokens},
          {"context", preflight.context},
          {"memory_needed", preflight.memory_needed},
          {"memory_free", preflight.memory_free},
          {"host_needed", preflight.host_needed},
          {"host_free", preflight.host_free},
          {"record_bytes", preflight.record_bytes},
          {"disk_free", preflight.disk_free},
          {"seconds", preflight.seconds},
          {"device", preflight.device},
          {"dtype", preflight.dtype},
          {"methods", preflight.methods},
          {"keeps", preflight.keeps},
          {"prompt_tail", preflight.prompt_tail},
          {"warnings", preflight.warnings}};
}
Preflight preflight_from_json(const json& value) {
  Fields fields(value, "preflight");
  Preflight preflight;
  preflight.tokens = fields.integer("tokens", 0, any_count);
  preflight.context = fields.integer("context", 0, any_count);
  preflight.memory_needed = fields.integer_or("memory_needed", 0, 0, any_count);
  preflight.memory_free = fields.integer_or("memory_free", 0, 0, any_count);
  preflight.host_needed = fields.integer_or("host_needed", 0, 0, any_count);
  preflight.host_free = fields.integer_or("host_free", 0, 0, any_count);
  preflight.record_bytes = fields.integer_or("record_bytes", 0, 0, any_count);
  preflight.disk_free = fields.integer_or("disk_free", 0, 0, any_count);
  preflight.seconds = fields.number_or("seconds", 0, 0, 1e12);
  preflight.device = fields.string_or("device", {});
  preflight.dtype = fields.string_or("dtype", {}, 16);
  if (fields.has("methods")) preflight.methods = fields.strings("methods", max_entries, 128);
  preflight.keeps = fields.string_or("keeps", {}, 1 << 16);
  preflight.prompt_tail = fields.string_or("prompt_tail", {}, 1 << 16);
  if (fields.has("warnings")) preflight.warnings = fields.strings("warnings", 256);
  return preflight;
}

json to_json(const RunStartParams& params) {
  return {{"spec", to_json(params.spec)}};
}
RunStartParams run_start_params_from_json(const json& value) {
  Fields fields(value, method::run_start);
  return {run_spec_from_json(fields.object("spec"))};
}

json to_json(const RunStartResult& result) {
  return {{"job", result.job}, {"preflight", to_json(result.preflight)}};
}
RunStartResult run_start_result_from_json(const json& value) {
  Fields fields(value, method::run_start);
  return {job_of(fields), preflight_from_json(fields.object("preflight"))};
}

json to_json(const JobPrepared& message) {
  return {{"job", message.job}, {"meta", record::to_json(message.meta)}, {"tokens", message.tokens}};
}
JobPrepared job_prepared_from_json(const json& value) {
  Fields fields(value, method::job_prepared);
  return {job_of(fields), record::run_meta_from_json(fields.object("meta")), fields.integer("tokens", 0, any_count)};
}

json to_json(const JobNotice& message) {
  return {{"job", message.job}, {"text", message.text}};
}
JobNotice job_notice_from_json(const json& value) {
  Fields fields(value, method::job_notice);
  return {job_of(fields), fields.string("text")};
}

json to_json(const JobProgress& message) {
  const auto& progress = message.progress;
  json value = {{"job", message.job},      {"phase", progress.phase}, {"done", progress.done},
                {"total", progress.total}, {"layer", progress.layer}, {"tokens_per_s", progress.tokens_per_s}};
  value["eta_s"] = message.eta_s >= 0 ? json(message.eta_s) : json(nullptr);
  value["fraction"] = message.fraction >= 0 ? json(message.fraction) : json(nullptr);
  return value;
}
JobProgress job_progress_from_json(const json& value) {
  Fields fields(value, method::job_progress);
  JobProgress message;
  message.job = job_of(fields);
  message.progress.phase = fields.string("phase", 256);
  message.progress.done = fields.integer_or("done", 0, 0, any_count);
  message.progress.total = fields.integer_or("total", 0, 0, any_count);
  message.progress.layer = static_cast<int>(fields.integer_or("layer", -1, -1, 4095));
  message.progress.tokens_per_s = fields.number_or("tokens_per_s", 0, 0, 1e15);
  message.eta_s = fields.number_or("eta_s", -1, 0, 1e12);
  message.fraction = fields.number_or("fraction", -1, 0, 1);
  return message;
}

json to_json(const JobPartial& message) {
  return {{"job", message.job}, {"method", record::to_json(message.method)}};
}
JobPartial job_partial_from_json(const json& value) {
  Fields fields(value, method::job_partial);
  return {job_of(fields), record::method_summary_from_json(fields.object("method"))};
}

json to_json(const JobDone& message) {
  json value = {{"job", message.job}, {"result", message.result}};
  value["record"] = message.record.empty() ? json(nullptr) : json(message.record);
  return value;
}
JobDone job_done_from_json(const json& value) {
  Fields fields(value, method::job_done);
  return {job_of(fields), fields.string_or("record", {}), fields.object("result")};
}

json to_json(const JobFailed& message) {
  return {{"job", message.job}, {"error", to_json(message.error)}};
}
JobFailed job_failed_from_json(const json& value) {
  Fields fields(value, method::job_failed);
  return {job_of(fields), error_info_from_json(fields.object("error"))};
}

json to_json(const JobCancelled& message) {
  json value = {{"job", message.job}};
  value["record"] = message.record.empty() ? json(nullptr) : json(message.record);
  return value;
}
JobCancelled job_cancelled_from_json(const json& value) {
  Fields fields(value, method::job_cancelled);
  return {job_of(fields), fields.string_or("record", {})};
}

json to_json(const JobCancelParams& params) {
  return {{"job", params.job}};
}
JobCancelParams job_cancel_params_from_json(const json& value) {
  Fields fields(value, method::job_cancel);
  return {job_of(fields)};
}

json to_json(const JobCancelResult& result) {
  return {{"job", result.job}, {"known", result.known}};
}
JobCancelResult job_cancel_result_from_json(const json& value) {
  Fields fields(value, method::job_cancel);
  return {job_of(fields), fields.boolean("known")};
}

json to_json(const SessionKeepParams& params) {
  return {{"keep", params.keep}};
}
SessionKeepParams session_keep_params_from_json(const json& value) {
  Fields fields(value, method::session_keep);
  return {fields.boolean("keep")};
}

json to_json(const JobsListResult& result) {
  auto jobs = json::array();
  for (const auto& job : result.jobs) {
    auto messages = json::array();
    for (const auto& [name, params] : job.messages) messages.push_back({{"method", name}, {"params", params}});
    jobs.push_back({{"job", job.job},
                    {"method", job.method},
                    {"params", job.params},
                    {"state", job.state},
                    {"messages", std::move(messages)}});
  }
  return {{"jobs", std::move(jobs)}};
}
JobsListResult jobs_list_result_from_json(const json& value) {
  Fields fields(value, method::jobs_list);
  JobsListResult result;
  for (const auto& item : fields.array("jobs", max_listed_jobs)) {
    Fields entry(item, "jobs/list.jobs");
    ListedJob job;
    job.job = job_of(entry);
    job.method = entry.string("method", 128);
    job.params = entry.object("params");
    job.state = entry.string("state", 16);
    if (job.state != "waiting" && job.state != "running" && job.state != "ended")
      entry.fail("state", "waiting, running or ended", job.state);
    for (const auto& told : entry.array("messages", max_entries)) {
      Fields message(told, "jobs/list.messages");
      job.messages.emplace_back(message.string("method", 128), message.object("params"));
    }
    result.jobs.push_back(std::move(job));
  }
  return result;
}

json to_json(const RecordChunkParams& params) {
  return {{"path", params.path}, {"offset", params.offset}, {"bytes", params.bytes}};
}
RecordChunkParams record_chunk_params_from_json(const json& value) {
  Fields fields(value, method::record_chunk);
  return {fields.string("path"), fields.integer("offset", 0, any_count),
          fields.integer_or("bytes", max_chunk_bytes, 1, max_chunk_bytes)};
}

json to_json(const RecordChunkResult& result) {
  return {{"offset", result.offset},
          {"total_bytes", result.total_bytes},
          {"version", result.version},
          {"data", base64_encode(result.data)}};
}
RecordChunkResult record_chunk_result_from_json(const json& value) {
  Fields fields(value, method::record_chunk);
  RecordChunkResult result;
  result.offset = fields.integer("offset", 0, any_count);
  result.total_bytes = fields.integer("total_bytes", 0, any_count);
  result.version = fields.string("version", 128);
  result.data =
      base64_decode(fields.string("data", static_cast<std::size_t>(max_chunk_bytes) * 2), "record/chunk.data");
  return result;
}

json to_json(const TileParams& params) {
  return {{"run_id", params.run_id},
          {"method", params.method},
          {"layer", params.layer},
          {"head", {{"kind", head_kind(params.head.kind)}, {"index", params.head.index}}},
          {"address", address_json(params.address)}};
}
TileParams tile_params_from_json(const json& value) {
  Fields fields(value, method::tile);
  TileParams params;
  params.run_id = fields.string("run_id", 64);
  params.method = fields.string("method", 128);
  params.layer = static_cast<int>(fields.integer("layer", 0, 4095));
  Fields head(fields.object("head"), "tile.head");
  const auto kind = head.string("kind", 16);
  using Kind = record::HeadSelector::Kind;
  if (kind != "head" && kind != "mean" && kind != "group") head.fail("kind", "head, mean or group", kind);
  params.head.kind = kind == "head" ? Kind::head : kind == "mean" ? Kind::mean : Kind::group;
  params.head.index = static_cast<int>(head.integer_or("index", 0, 0, 4095));
  params.address = address_from_json(fields.object("address"));
  return params;
}

json to_json(const TileResult& result) {
  return {{"address", address_json(result.tile.address)},
          {"rows", result.tile.rows},
          {"columns", result.tile.columns},
          {"max", encode_floats(result.tile.max)},
          {"mean", encode_floats(result.tile.mean)}};
}
TileResult tile_result_from_json(const json& value) {
  Fields fields(value, method::tile);
  TileResult result;
  result.tile.address = address_from_json(fields.object("address"));
  result.tile.rows = fields.integer("rows", 0, record::tile_size);
  result.tile.columns = fields.integer("columns", 0, record::tile_size);
  const auto count = static_cast<std::size_t>(result.tile.rows * result.tile.columns);
  constexpr std::size_t limit = record::tile_size * record::tile_size * 6;
  result.tile.max = decode_floats(fields.string("max", limit), count, "tile.max");
  result.tile.mean = decode_floats(fields.string("mean", limit), count, "tile.mean");
  return result;
}

}  // namespace headroom::protocol
