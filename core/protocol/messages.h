// SPDX-License-Identifier: Apache-2.0
// The messages between window and engine (docs: protocol), each a plain struct with JSON both ways. Reading checks
// type, size and range of every field and throws input errors; unknown fields are ignored, so that newer peers may add
// some. → goes to the engine, ← comes from it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/progress.h"
#include "protocol/rpc.h"
#include "protocol/run_spec.h"
#include "record/tiles.h"
#include "record/types.h"

namespace headroom::protocol {

inline constexpr int protocol_version = 1;
inline constexpr std::int64_t max_chunk_bytes = 4 << 20;
inline constexpr std::size_t max_listed_jobs = 256;

namespace method {
inline constexpr const char* initialize = "initialize";        // →
inline constexpr const char* model_inspect = "model/inspect";  // →
inline constexpr const char* files_list = "files/list";        // →
inline constexpr const char* run_preflight = "run/preflight";  // → the preflight alone, nothing is started
inline constexpr const char* run_start = "run/start";          // →
inline constexpr const char* distill_start = "distill/start";  // →
inline constexpr const char* sweep_preflight = "sweep/preflight";  // → {"spec"}; answered with SweepNeeds
inline constexpr const char* sweep_start = "sweep/start";          // → {"spec"}
inline constexpr const char* job_row = "job/row";                  // ← a sweep has finished a row (JobRow)
inline constexpr const char* job_prepared = "job/prepared";    // ← model and prompt are ready, the first pass begins
inline constexpr const char* job_notice = "job/notice";        // ← in a sentence, what a user should know
inline constexpr const char* job_progress = "job/progress";    // ←
inline constexpr const char* job_partial = "job/partial";      // ←
inline constexpr const char* job_done = "job/done";            // ←
inline constexpr const char* job_failed = "job/failed";        // ←
inline constexpr const char* job_cancelled = "job/cancelled";  // ←
inline constexpr const char* job_cancel = "job/cancel";        // →
inline constexpr const char* record_chunk = "record/chunk";    // →
inline constexpr const char* tile = "tile";                    // →
inline constexpr const char* request_cancel =
    "request/cancel";  // → notification: {"id"}; the answer is not wanted any more
inline constexpr const char* session_keep = "session/keep";    // → jobs go on after the end of input, or no longer
inline constexpr const char* session_taken = "session/taken";  // ← another window has this engine now; the last message
inline constexpr const char* jobs_list = "jobs/list";          // → jobs of this engine with what was said of them
inline constexpr const char* jobs_forget = "jobs/forget";  // → {"jobs": [number]}: ended ones that a window knows of
inline constexpr const char* shutdown = "shutdown";            // → answered, then the engine ends as at end of input
}  // namespace method

struct InitializeParams {
  int protocol = protocol_version;
  int record_schema = record::schema_version;
  std::string client;  ///< "headroom-gui 0.1.0"
};
struct DeviceInfo {
  std::string id;    ///< "cpu", "cuda:0"
  std::string name;  ///< "2 cores: AMD EPYC …"
  std::int64_t total_bytes = 0, free_bytes = 0;
};
struct KnownModel {
  std::string name;  ///< short name
  std::string path;
};
/// A method that this engine can run (attention::PolicyTraits).
struct MethodInfo {
  std::string name;        ///< as RunSpec::methods has it
  std::string title;       ///< for people
  std::string definition;  ///< one sentence
  bool needs_index = false;
  bool is_default = false;  ///< runs where no method is named
};
/// A task that this engine can generate (tasks::TaskInfo).
struct TaskChoice {
  std::string name;        ///< as RunSpec::task has it
  std::string title;       ///< for people
  std::string definition;  ///< one or two sentences, where it comes from included
  bool takes_haystack = false;
};
struct InitializeResult {
  int protocol = protocol_version;
  int record_schema = record::schema_version;
  std::string engine_version;
  std::vector<DeviceInfo> devices;
  std::vector<KnownModel> models;
  std::vector<std::string> folders;  ///< where files/list may browse
  std::string mismatch;              ///< empty, or one sentence with the command that mends it
  std::string device_note;           ///< why "auto" means the CPU here; empty where it does not, or was asked for
  std::vector<MethodInfo> methods;   ///< in the order that people should see
  std::vector<TaskChoice> tasks;     ///< likewise; engines of earlier versions tell none
  bool keeps_jobs = false;           ///< its jobs outlive this connection (serve --attach, session/keep)
  std::string session;               ///< of this engine process; job numbers of two sessions have nothing in common
};

struct ModelInspectParams {
  std::string model;  ///< path or short name; the answer is what `headroom info --json` prints
  std::optional<std::string> adapter = {};
};

struct FilesListParams {
  std::string path;  ///< empty: the folders the engine was given
};
struct FileEntry {
  std::string name;
  bool folder = false;
  std::int64_t bytes = 0;
};
struct FilesListResult {
  std::string path;
  std::string parent;  ///< empty at the top of a given folder
  std::vector<FileEntry> entries;
  bool truncated = false;
};

/// What a run will need and leave, known before it starts.
struct Preflight {
  std::int64_t tokens = 0, context = 0;
  /// Bytes on the device (the CPU's are the host's), weights that are loaded already left out; 0 = not known.
  std::int64_t memory_needed = 0, memory_free = 0;
  std::int64_t host_needed = 0, host_free = 0;   ///< beside a GPU: bytes on its host; 0 = not known, or no GPU
  std::int64_t record_bytes = 0, disk_free = 0;  ///< 0 where no record is asked for
  double seconds = 0;                            ///< rough; 0 = not known
  std::string device, dtype;
  std::vector<std::string> methods;   ///< ids, in the order they run
  std::string keeps;                  ///< in words: what the record will hold
  std::string prompt_tail;            ///< the last characters of the rendered prompt
  std::vector<std::string> warnings;  ///< e.g. "needs 41 GB, 22 free: …"
};

struct RunStartParams {
  RunSpec spec;
};
struct RunStartResult {
  std::int64_t job = 0;
  Preflight preflight;
};

struct JobPrepared {
  std::int64_t job = 0;
  record::RunMeta meta;
  std::int64_t tokens = 0;
};
struct JobNotice {
  std::int64_t job = 0;
  std::string text;
};
struct JobProgress {
  std::int64_t job = 0;
  Progress progress;
  double eta_s = -1;     ///< -1 = not known
  double fraction = -1;  ///< of the whole job, over all its phases; never falls; -1 = not known
};
struct JobPartial {
  std::int64_t job = 0;
  record::MethodSummary method;
};
struct JobDone {
  std::int64_t job = 0;
  std::string record;                                ///< path; empty where none was asked for
  nlohmann::json result = nlohmann::json::object();  ///< a run's: what `headroom run --json` prints
};
struct JobFailed {
  std::int64_t job = 0;
  ErrorInfo error;
};
struct JobCancelled {
  std::int64_t job = 0;
  std::string record;  ///< path of the incomplete record; empty where nothing was kept
};
struct JobCancelParams {
  std::int64_t job = 0;
};
struct JobCancelResult {
  std::int64_t job = 0;
  bool known = false;  ///< false: no such job, or it has ended already
};

struct SessionKeepParams {
  bool keep = true;
};
/// A job as an engine remembers it for a window that comes back.
struct ListedJob {
  std::int64_t job = 0;
  std::string method;                                            ///< that started it, e.g. "run/start"
  nlohmann::json params = nlohmann::json::object();              ///< of that request
  std::string state;                                             ///< "waiting", "running", "ended"
  std::vector<std::pair<std::string, nlohmann::json>> messages;  ///< method and parameters, oldest first; the last
                                                                 ///< progress only
};
struct JobsListResult {
  std::vector<ListedJob> jobs;
};

/// Resumable transfer: ask for the next offset until it equals total_bytes. `version` changes when the file does.
struct RecordChunkParams {
  std::string path;
  std::int64_t offset = 0;
  std::int64_t bytes = max_chunk_bytes;
};
struct RecordChunkResult {
  std::int64_t offset = 0, total_bytes = 0;
  std::string version;
  std::vector<std::uint8_t> data;
};

/// For layers that the record does not hold, while the model of that run is loaded.
struct TileParams {
  std::string run_id;  ///< RunMeta::run_id of the record on screen
  std::string method;  ///< stream, e.g. "oracle-k512-g1"
  int layer = 0;
  record::HeadSelector head;
  record::TileAddress address;
};
struct TileResult {
  record::Tile tile;
};

// clang-format off
nlohmann::json to_json(const InitializeParams&);   InitializeParams initialize_params_from_json(const nlohmann::json&);
nlohmann::json to_json(const InitializeResult&);   InitializeResult initialize_result_from_json(const nlohmann::json&);
nlohmann::json to_json(const ModelInspectParams&); ModelInspectParams model_inspect_params_from_json(const nlohmann::json&);
nlohmann::json to_json(const FilesListParams&);    FilesListParams files_list_params_from_json(const nlohmann::json&);
nlohmann::json to_json(const FilesListResult&);    FilesListResult files_list_result_from_json(const nlohmann::json&);
nlohmann::json to_json(const Preflight&);          Preflight preflight_from_json(const nlohmann::json&);
nlohmann::json to_json(const RunStartParams&);     RunStartParams run_start_params_from_json(const nlohmann::json&);
nlohmann::json to_json(const RunStartResult&);     RunStartResult run_start_result_from_json(const nlohmann::json&);
nlohmann::json to_json(const JobPrepared&);        JobPrepared job_prepared_from_json(const nlohmann::json&);
nlohmann::json to_json(const JobNotice&);          JobNotice job_notice_from_json(const nlohmann::json&);
nlohmann::json to_json(const JobProgress&);        JobProgress job_progress_from_json(const nlohmann::json&);
nlohmann::json to_json(const JobPartial&);         JobPartial job_partial_from_json(const nlohmann::json&);
nlohmann::json to_json(const JobDone&);            JobDone job_done_from_json(const nlohmann::json&);
nlohmann::json to_json(const JobFailed&);          JobFailed job_failed_from_json(const nlohmann::json&);
nlohmann::json to_json(const JobCancelled&);       JobCancelled job_cancelled_from_json(const nlohmann::json&);
nlohmann::json to_json(const JobCancelParams&);    JobCancelParams job_cancel_params_from_json(const nlohmann::json&);
nlohmann::json to_json(const JobCancelResult&);    JobCancelResult job_cancel_result_from_json(const nlohmann::json&);
nlohmann::json to_json(const SessionKeepParams&);  SessionKeepParams session_keep_params_from_json(const nlohmann::json&);
nlohmann::json to_json(const JobsListResult&);     JobsListResult jobs_list_result_from_json(const nlohmann::json&);
nlohmann::json to_json(const RecordChunkParams&);  RecordChunkParams record_chunk_params_from_json(const nlohmann::json&);
nlohmann::json to_json(const RecordChunkResult&);  RecordChunkResult record_chunk_result_from_json(const nlohmann::json&);
nlohmann::json to_json(const TileParams&);         TileParams tile_params_from_json(const nlohmann::json&);
nlohmann::json to_json(const TileResult&);         TileResult tile_result_from_json(const nlohmann::json&);
// clang-format on

}  // namespace headroom::protocol
