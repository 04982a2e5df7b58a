// SPDX-License-Identifier: GPL-3.0-or-later
// An engine for tests. HEADROOM_FAKE: normal, slow (many steps), answers (as slow, and one that grows), crash (dies in
// mid-run), garbage (unframed bytes in mid-run), noise_first (a login shell's greeting, then as normal), noise_only
// (that, and the end), noise_endless, silent, mismatch, stubborn (does not stop), flood (as fast as it can),
// no_indexer, unfetched (its model is missing until HEADROOM_FAKE_MODEL exists). HEADROOM_FAKE_RECORD: the file that a
// run "records", and whose pieces record/chunk gives. HEADROOM_FAKE_PIECES, from the second one on: changed (another
// version), shifted, empty (though not at the end), refused, dies, endless (a total that no record has).
// HEADROOM_FAKE_TILES: a number of tile requests that are refused before the first good answer, or "never": tiles are
// not answered. HEADROOM_FAKE_LOG: a file that gets a line for each cancelled request.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "protocol/framing.h"
#include "protocol/job_answer.h"
#include "protocol/messages.h"

namespace {

using namespace headroom;
using namespace headroom::protocol;

std::string mode() {
  const char* value = std::getenv("HEADROOM_FAKE");
  return value ? value : "normal";
}

void write_all(const std::string& bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const ssize_t wrote = ::write(1, bytes.data() + at, bytes.size() - at);
    if (wrote <= 0) std::_Exit(0);
    at += static_cast<std::size_t>(wrote);
  }
}
void notify(const char* method, nlohmann::json params) {
  write_all(frame_message(write_envelope(Notification{method, std::move(params)})));
}

struct Job {
  std::int64_t number = 1;
  std::string out;
  int step = 0, steps = 8;
  bool cancelled = false, distills = false;
};

std::string keep_record(const std::string& out) {
  const char* source = std::getenv("HEADROOM_FAKE_RECORD");
  if (!source || out.empty()) return {};
  std::error_code failed;
  std::filesystem::copy_file(source, out, std::filesystem::copy_options::overwrite_existing, failed);
  return failed ? std::string() : out;
}

nlohmann::json piece_of_record(const RecordChunkParams& params) {
  const char* source = std::getenv("HEADROOM_FAKE_RECORD");
  const char* fault_text = std::getenv("HEADROOM_FAKE_PIECES");
  const std::string fault = params.offset > 0 && fault_text ? fault_text : "";
  std::ifstream file(source ? source : "", std::ios::binary);
  const std::string all((std::istreambuf_iterator<char>(file)), {});
  RecordChunkResult piece;
  piece.offset = params.offset;
  piece.total_bytes = static_cast<std::int64_t>(all.size());
  piece.version = "1";
  const auto bytes = std::string_view(all).substr(static_cast<std::size_t>(params.offset)).substr(
      0, static_cast<std::size_t>(params.bytes));
  piece.data.assign(bytes.begin(), bytes.end());
  if (fault == "changed") piece.version = "2";
  if (fault == "shifted") piece.offset += 1;
  if (fault == "empty") piece.data.clear();
  if (fault == "refused") throw input_error(params.path, "the file has become shorter while it was read");
  if (fault == "dies") std::raise(SIGKILL);
  if (fault == "endless") piece.total_bytes = std::int64_t{1} << 50;
  return to_json(piece);
}

/// One step of the running job; false when it has ended.
bool work(Job& job) {
  if (job.cancelled && mode() != "stubborn") {
    notify(method::job_cancelled, to_json(JobCancelled{job.number, keep_record(job.out)}));
    return false;
  }
  // Two phases, each with a bar of its own; one for the whole.
  const bool answers = mode() == "answers" && job.step >= 10;
  const bool second = job.step * 2 >= job.steps;
  const Progress now{answers ? "oracle answer" : second ? "oracle recorded" : "dense timed 1/1",
                     job.step * 2 % job.steps, job.steps, job.step % 30, 1500};
  JobProgress progress{job.number, now, 2.5};
  progress.fraction = static_cast<double>(job.step) / job.steps;
  notify(method::job_progress, to_json(progress));
  if (answers && job.step % 2 == 0)
    notify(method::job_answer, to_json(JobAnswer{job.number, "oracle", "the garden <b>is</b> 🌱"}));
  if (job.step == 3) {
    if (mode() == "crash") std::raise(SIGKILL);
    if (mode() == "garbage") write_all(std::string("\x01\x02 not a header {\"id\":1}\r\n\r\n", 28));
    record::MethodSummary summary;
    summary.id = summary.name = "dense";
    summary.role = MethodRole::dense;
    summary.ttft = {120, 118, 125, 3};
    notify(method::job_partial, to_json(JobPartial{job.number, summary}));
  }
  if (++job.step < job.steps) return true;
  nlohmann::json result = nlohmann::json::object();
  if (job.distills) result["indexer"] = job.out;
  notify(method::job_done, to_json(JobDone{job.number, job.distills ? std::string() : keep_record(job.out), result}));
  return false;
}

/// A tile, or an error as often as HEADROOM_FAKE_TILES says.
nlohmann::json answer_tile(const TileParams& params) {
  static int refused = 0;
  const char* text = std::getenv("HEADROOM_FAKE_TILES");
  if (text && refused < std::atoi(text)) {
    ++refused;
    throw device_error("the tile cannot be made now");
  }
  TileResult result;
  result.tile.address = params.address;
  result.tile.rows = result.tile.columns = 1;
  result.tile.max = result.tile.mean = {0.5f};
  return to_json(result);
}

void log_line(const std::string& line) {
  if (const char* file = std::getenv("HEADROOM_FAKE_LOG")) std::ofstream(file, std::ios::app) << line << std::endl;
}

nlohmann::json answer(const std::string& name, const nlohmann::json& params, std::deque<Job>& jobs) {
  static std::int64_t last_number = 0;
  if (name == method::initialize) {
    InitializeResult hello;
    hello.engine_version = "0.0-fake";
    hello.devices = {{"cpu", "2 cores: Fake CPU", 8'000'000'000, 4'000'000'000}};
    hello.models = {{"smollm2", "/nowhere/smollm2.gguf"}};
    hello.folders = {"/far/home", "/far/data"};
    hello.tasks = {{"niah_single_1", "Needle in noise", "One number in noise.", false},
                   {"vt", "Variable tracking", "A chain of assignments.", false}};
    hello.methods = {{"dense", "Dense", "The unmodified model.", false, true},
                     {"oracle", "Oracle", "The k keys of the largest mass.", false, true},
                     {"indexer", "Indexer", "The k keys of the largest learned score.", true, true},
                     {"newcomer", "Newcomer", "A method that the window has never heard of.", false, false}};
    if (mode() == "mismatch") {
      hello.protocol = 99;
      hello.mismatch = "run scripts/run to build both from one source";
    }
    return to_json(hello);
  }
  if (name == method::model_inspect) {
    return {{"name", "Fake 1M"}, {"architecture", "llama"}, {"num_layers", 6},
            {"num_q_heads", 6},  {"num_kv_heads", 2},       {"context", 8192}};
  }
  const bool wants_indexer = params.contains("spec") && params["spec"].contains("methods") &&
                             params["spec"]["methods"].dump().find("indexer") != std::string::npos;
  if (mode() == "no_indexer" && wants_indexer && (name == method::run_preflight || name == method::run_start)) {
    throw input_error("smollm2", "no indexer for this model: make one with headroom distill");
  }
  if (const char* model = std::getenv("HEADROOM_FAKE_MODEL");
      mode() == "unfetched" && !std::ifstream(model ? model : "/nonexistent") && name == method::run_preflight)
    throw input_error("gemma3-270m", "this model has not been fetched: run scripts/fetch-model gemma3-270m");
  Preflight preflight;
  preflight.tokens = 600;
  preflight.context = 8192;
  preflight.memory_needed = 900'000'000;
  preflight.memory_free = 4'000'000'000;
  preflight.device = "CPU, 2 cores";
  preflight.dtype = "f32";
  preflight.methods = {"dense", "oracle-k512-g1"};
  preflight.prompt_tail = "<|im_start|>assistant\nThe magic number is";
  if (name == method::run_preflight) return to_json(preflight);
  if (name == method::run_start) {
    Job& job = jobs.emplace_back();
    job.number = ++last_number;
    job.out = run_start_params_from_json(params).spec.out.value_or("");
    if (mode() == "slow" || mode() == "stubborn" || mode() == "answers") job.steps = 100000;
    if (mode() == "flood") job.steps = 60000;
    return to_json(RunStartResult{job.number, preflight});
  }
  if (name == method::distill_start) {
    Job& job = jobs.emplace_back();
    job.number = ++last_number;
    job.distills = true;
    job.out = params.at("spec").at("out").get<std::string>();
    return {{"job", job.number}};
  }
  if (name == method::files_list) {
    const auto asked = files_list_params_from_json(params).path;
    FilesListResult list;
    list.path = asked;
    if (asked.empty()) {
      list.entries = {{"/far/home", true, 0}, {"/far/data", true, 0}};
    } else if (asked == "/far/home") {
      list.entries = {{"models", true, 0}, {"notes.txt", false, 12}};
    } else if (asked == "/far/home/models") {
      list.parent = "/far/home";
      list.entries = {{"b.gguf", false, 4'000'000'000}, {"readme.md", false, 9}};
      list.truncated = true;
    } else {
      throw input_error(asked, "cannot be listed");
    }
    return to_json(list);
  }
  if (name == method::tile) return answer_tile(tile_params_from_json(params));
  if (name == method::record_chunk) return piece_of_record(record_chunk_params_from_json(params));
  if (name == method::job_cancel) {
    const std::int64_t number = job_cancel_params_from_json(params).job;
    const auto found = std::find_if(jobs.begin(), jobs.end(), [&](const Job& job) { return job.number == number; });
    if (found != jobs.end()) found->cancelled = true;
    const bool waits = found != jobs.end() && found != jobs.begin();
    if (waits && mode() != "stubborn") {  // needs nothing of the one at work
      jobs.erase(found);
      notify(method::job_cancelled, to_json(JobCancelled{number, {}}));
    }
    return to_json(JobCancelResult{number, waits || found != jobs.end()});
  }
  throw usage_error("unknown method " + name);
}

}  // namespace

int main() {
  std::signal(SIGPIPE, SIG_IGN);
  if (mode().starts_with("noise")) write_all("Welcome to the machine\nLast login: today\r\n\r\n");
  if (mode() == "noise_only") {
    if (const char* errors = std::getenv("HEADROOM_FAKE_ERRORS")) std::fputs(errors, stderr);
    const char* code = std::getenv("HEADROOM_FAKE_EXIT");
    return code ? std::atoi(code) : 1;
  }
  while (mode() == "noise_endless") write_all(std::string(1000, 'z') + "\n");
  MessageReader reader;
  std::deque<Job> jobs;
  char buffer[65536];
  for (;;) {
    const int wait = jobs.empty() ? 1000 : mode() == "flood" ? 0 : 20;
    pollfd input{0, POLLIN, 0};
    if (::poll(&input, 1, wait) > 0) {
      const ssize_t got = ::read(0, buffer, sizeof buffer);
      if (got <= 0) return 0;
      reader.feed({buffer, static_cast<std::size_t>(got)});
      while (auto body = reader.next()) {
        if (mode() == "silent") continue;
        auto read = read_envelope(*body);
        auto* envelope = std::get_if<Envelope>(&read);
        if (auto* told = envelope ? std::get_if<Notification>(envelope) : nullptr)
          log_line(told->method + " " + told->params.dump());
        auto* request = envelope ? std::get_if<Request>(envelope) : nullptr;
        if (!request) continue;
        const char* tiles = std::getenv("HEADROOM_FAKE_TILES");
        if (request->method == method::tile && tiles && std::string_view(tiles) == "never") continue;
        Response response{request->id, {}, {}};
        try {
          response.result = answer(request->method, request->params, jobs);
        } catch (const Error& error) {
          response.error = error_info(error);
        }
        write_all(frame_message(write_envelope(response)));
      }
    } else if (!jobs.empty() && !work(jobs.front())) {
      jobs.pop_front();
    }
  }
}
