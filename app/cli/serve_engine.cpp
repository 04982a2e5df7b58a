// SPDX-License-Identifier: Apache-2.0
#include "serve_engine.h"

#include <random>

#include "attention/registry.h"
#include "base/named_model.h"
#include "base/version.h"
#include "model_info.h"
#include "protocol/json_fields.h"
#include "serve_distill.h"
#include "tasks/task.h"

namespace headroom::cli {
namespace {

using nlohmann::json;

std::vector<protocol::DeviceInfo> device_list(const model::DeviceChoice& device) {
  std::vector<protocol::DeviceInfo> list;
  const auto add = [&](const model::DeviceChoice& choice) {
    list.push_back({choice.device.is_cpu() ? "cpu" : choice.device.str(), choice.description, choice.total_bytes,
                    choice.free_bytes});
  };
  if (!device.device.is_cpu())
    for (const auto& choice : each_of(device)) add(choice);
  add(model::open_device("cpu"));
  return list;
}

std::vector<protocol::KnownModel> known_models() {
  std::vector<protocol::KnownModel> list;
  std::vector<std::string> names = {"smollm2", "gemma3-270m"};
  for (std::string& name : shipped_model_names()) names.push_back(std::move(name));
  for (const std::string& name : names) {
    try {
      list.push_back({name, find_named_model(name).path.string()});
    } catch (const Error&) {  // has not been fetched
    }
  }
  return list;
}

std::string mismatch_text(const protocol::InitializeParams& params) {
  if (params.protocol == protocol::protocol_version && params.record_schema == record::schema_version) return {};
  const bool window_is_newer =
      params.protocol > protocol::protocol_version || params.record_schema > record::schema_version;
  return "This engine (" + std::string(program_version()) + ") speaks protocol " +
         std::to_string(protocol::protocol_version) + " with record schema " + std::to_string(record::schema_version) +
         ", the window protocol " + std::to_string(params.protocol) + " with schema " +
         std::to_string(params.record_schema) +
         (window_is_newer ? ": run scripts/run --engine-only in an up-to-date copy on the engine's machine."
                          : ": run scripts/run in an up-to-date copy on the window's machine.");
}

std::string new_session() {
  std::random_device random;
  std::string text;
  for (int i = 0; i < 16; ++i) text += "0123456789abcdef"[random() % 16];
  return text;
}

protocol::ErrorInfo rpc_error(protocol::RpcCode code, std::string message, std::string expected, std::string found) {
  return {static_cast<int>(code), std::move(message), "message", std::move(expected), std::move(found)};
}

}  // namespace

ServeEngine::ServeEngine(ServeChannel& channel, model::DeviceChoice device, ServedFolders folders)
    : channel_(channel),
      device_(std::move(device)),
      folders_(std::move(folders)),
      runs_(device_, tiles_, [this] { return jobs_.busy(); }),
      jobs_(channel) {
  session_ = new_session();
  add_job_kind(runs_.kind());
  add_job_kind(make_distill_kind(device_));
}

ServeEngine::~ServeEngine() {
  new_client();
  jobs_.stop_all();
}

void ServeEngine::new_client() {
  const std::lock_guard lock(tiles_mutex_);
  for (auto& [id, source] : tiles_asked_) source.request_stop();
  tiles_asked_.clear();
}

void ServeEngine::add_job_kind(JobKind kind) {
  const auto method = kind.start_method;
  kinds_[method] = std::move(kind);
}

void ServeEngine::handle(const std::string& body) {
  auto message = protocol::read_envelope(body);
  if (auto* error = std::get_if<protocol::EnvelopeError>(&message)) {
    channel_.respond_error(channel_.client(), error->id, error->error);
    return;
  }
  auto& envelope = std::get<protocol::Envelope>(message);
  // Notifications and answers to questions that were never asked need no reply.
  if (auto* request = std::get_if<protocol::Request>(&envelope)) handle_request(std::move(*request));
  if (const auto* told = std::get_if<protocol::Notification>(&envelope);
      told && told->method == protocol::method::request_cancel)
    cancel_request(told->params);
}

void ServeEngine::cancel_request(const json& params) {
  const auto id = params.find("id");
  if (id == params.end()) return;
  const std::lock_guard lock(tiles_mutex_);
  // The answer still comes, as an error that nobody waits for: every request gets one.
  const auto found = id->is_number_integer() ? tiles_asked_.find(id->get<std::int64_t>())
                     : id->is_string()       ? tiles_asked_.find(id->get<std::string>())
                                             : tiles_asked_.end();
  if (found != tiles_asked_.end()) found->second.request_stop();
}

void ServeEngine::handle_request(protocol::Request request) {
  namespace method = protocol::method;
  const std::string name = request.method;
  if (name == method::initialize) {
    answer(nullptr, std::move(request), [this](const json& params) { return initialize(params); });
    return;
  }
  if (name == method::shutdown) {
    finished_ = true;
    channel_.respond(channel_.client(), request.id, json::object());
    return;
  }
  if (!initialized_) {
    channel_.respond_error(channel_.client(), request.id,
                           rpc_error(protocol::RpcCode::invalid_request,
                                     mismatch_.empty() ? "initialize comes first" : mismatch_, "initialize", name));
    return;
  }
  if (const auto kind = kinds_.find(name); kind != kinds_.end()) {
    start_job(std::move(request), kind->second);
  } else if (name == method::job_cancel) {
    answer(nullptr, std::move(request), [this](const json& params) {
      const auto job = protocol::job_cancel_params_from_json(params).job;
      return protocol::to_json(protocol::JobCancelResult{job, jobs_.cancel(job)});
    });
  } else if (name == method::run_preflight) {
    answer(&inspector_, std::move(request), [this](const json& params) {
      return protocol::to_json(runs_.preflight(protocol::run_start_params_from_json(params).spec));
    });
  } else if (name == method::model_inspect) {
    answer(&inspector_, std::move(request), [](const json& params) {
      const auto wanted = protocol::model_inspect_params_from_json(params);
      return model_info(find_named_model(wanted.model, wanted.adapter));
    });
  } else if (name == method::files_list) {
    answer(&disk_, std::move(request), [this](const json& params) {
      return protocol::to_json(folders_.list(protocol::files_list_params_from_json(params)));
    });
  } else if (name == method::record_chunk) {
    answer(&disk_, std::move(request), [this](const json& params) {
      const auto wanted = protocol::record_chunk_params_from_json(params);
      return protocol::to_json(folders_.chunk(wanted, jobs_.log().wrote(wanted.path)));
    });
  } else if (name == method::tile) {
    answer_tile(std::move(request));
  } else if (name == method::session_keep) {
    answer(nullptr, std::move(request), [this](const json& params) {
      keep(protocol::session_keep_params_from_json(params).keep);
      return json::object();
    });
  } else if (name == method::jobs_list) {
    answer(nullptr, std::move(request), [this](const json&) { return protocol::to_json(jobs_.log().list()); });
  } else if (name == method::jobs_forget) {
    answer(nullptr, std::move(request), [this](const json& params) {
      forget_jobs(params);
      return json::object();
    });
  } else {
    channel_.respond_error(channel_.client(), request.id,
                           rpc_error(protocol::RpcCode::method_not_found, "this engine does not know the request",
                                     "a request of protocol " + std::to_string(protocol::protocol_version), name));
  }
}

void ServeEngine::answer(TaskThread* thread, protocol::Request request, Answer answer) {
  auto work = [this, client = channel_.client(), request = std::move(request), answer = std::move(answer)] {
    if (client != channel_.client()) return;
    try {
      channel_.respond(client, request.id, answer(request.params));
    } catch (...) {
      channel_.respond_error(client, request.id, describe_exception(std::current_exception()));
    }
  };
  if (thread)
    thread->post(std::move(work));
  else
    work();
}

void ServeEngine::answer_tile(protocol::Request request) {
  const auto id = request.id;
  std::stop_token stop;
  {
    const std::lock_guard lock(tiles_mutex_);
    stop = (tiles_asked_[id] = std::stop_source()).get_token();
  }
  answer(&tile_maker_, std::move(request), [this, id, stop](const json& params) {
    struct Done {
      ServeEngine& engine;
      const protocol::RequestId& id;
      const std::stop_token& stop;
      ~Done() {
        const std::lock_guard lock(engine.tiles_mutex_);
        const auto found = engine.tiles_asked_.find(id);
        // Another window may have asked with the same number.
        if (found != engine.tiles_asked_.end() && found->second.get_token() == stop) engine.tiles_asked_.erase(found);
      }
    } const done{*this, id, stop};
    if (stop.stop_requested()) throw cancelled_error();
    return protocol::to_json(tiles_.tile(protocol::tile_params_from_json(params), stop));
  });
}

void ServeEngine::start_job(protocol::Request request, const JobKind& kind) {
  inspector_.post([this, client = channel_.client(), request = std::move(request), &kind] {
    try {
      auto plan = kind.plan(request.params);
      if (client != channel_.client()) return;  // nobody would know of it
      const auto job = jobs_.reserve(kind.start_method, request.params);
      plan.answer["job"] = job;
      channel_.respond(client, request.id, plan.answer);
      jobs_.start(job, std::move(plan));
    } catch (...) {
      channel_.respond_error(client, request.id, describe_exception(std::current_exception()));
    }
  });
}

void ServeEngine::keep(bool on) {
  if (!keeper_) throw device_error("this engine cannot keep its jobs");
  keeper_(on);
  keeps_jobs_ = on;
}

void ServeEngine::forget_jobs(const json& params) {
  protocol::Fields fields(params, protocol::method::jobs_forget);
  jobs_.log().forget(fields.integers("jobs", protocol::max_listed_jobs, 1, std::int64_t{1} << 52));
}

nlohmann::json ServeEngine::initialize(const json& params) {
  const auto window = protocol::initialize_params_from_json(params);
  protocol::InitializeResult result;
  result.engine_version = program_version();
  result.devices = device_list(device_);
  result.models = known_models();
  for (const auto& folder : folders_.folders()) result.folders.push_back(folder.string());
  result.device_note = device_.note;
  result.keeps_jobs = keeps_jobs_;
  result.session = session_;
  for (const attention::PolicyEntry& entry : attention::policies()) {
    const attention::PolicyTraits& traits = entry.traits;
    result.methods.push_back({std::string(traits.name), std::string(traits.title), std::string(traits.definition),
                              traits.needs_index, traits.is_default});
  }
  for (const tasks::TaskInfo& task : tasks::task_infos())
    result.tasks.push_back({task.name, task.title, task.definition + " " + task.source + ".", task.takes_haystack});
  result.mismatch = mismatch_ = mismatch_text(window);
  initialized_ = mismatch_.empty();
  return protocol::to_json(result);
}

}  // namespace headroom::cli
