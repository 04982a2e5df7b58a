// SPDX-License-Identifier: Apache-2.0
#include "serve_engine.h"

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
  add_job_kind(runs_.kind());
  add_job_kind(make_distill_kind(device_));
}

ServeEngine::~ServeEngine() {
  closing_.request_stop();
  jobs_.stop_all();
}

void ServeEngine::add_job_kind(JobKind kind) {
  const auto method = kind.start_method;
  kinds_[method] = std::move(kind);
}

void ServeEngine::handle(const std::string& body) {
  auto message = protocol::read_envelope(body);
  if (auto* error = std::get_if<protocol::EnvelopeError>(&message)) {
    channel_.respond_error(error->id, error->error);
    return;
  }
  auto& envelope = std::get<protocol::Envelope>(message);
  // Notifications and answers to questions that were never asked need no reply.
  if (auto* request = std::get_if<protocol::Request>(&envelope)) handle_request(std::move(*request));
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
    channel_.respond(request.id, json::object());
    return;
  }
  if (!initialized_) {
    channel_.respond_error(request.id,
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
      return protocol::to_json(folders_.chunk(protocol::record_chunk_params_from_json(params)));
    });
  } else if (name == method::tile) {
    answer(&tile_maker_, std::move(request), [this](const json& params) {
      return protocol::to_json(tiles_.tile(protocol::tile_params_from_json(params), closing_.get_token()));
    });
  } else {
    channel_.respond_error(request.id,
                           rpc_error(protocol::RpcCode::method_not_found, "this engine does not know the request",
                                     "a request of protocol " + std::to_string(protocol::protocol_version), name));
  }
}

void ServeEngine::answer(TaskThread* thread, protocol::Request request, Answer answer) {
  auto work = [this, request = std::move(request), answer = std::move(answer)] {
    try {
      channel_.respond(request.id, answer(request.params));
    } catch (...) {
      channel_.respond_error(request.id, describe_exception(std::current_exception()));
    }
  };
  if (thread)
    thread->post(std::move(work));
  else
    work();
}

void ServeEngine::start_job(protocol::Request request, const JobKind& kind) {
  inspector_.post([this, request = std::move(request), &kind] {
    try {
      auto plan = kind.plan(request.params);
      const auto job = jobs_.reserve();
      plan.answer["job"] = job;
      channel_.respond(request.id, plan.answer);
      jobs_.start(job, std::move(plan));
    } catch (...) {
      channel_.respond_error(request.id, describe_exception(std::current_exception()));
    }
  });
}

nlohmann::json ServeEngine::initialize(const json& params) {
  const auto window = protocol::initialize_params_from_json(params);
  protocol::InitializeResult result;
  result.engine_version = program_version();
  result.devices = device_list(device_);
  result.models = known_models();
  for (const auto& folder : folders_.folders()) result.folders.push_back(folder.string());
  result.device_note = device_.note;
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
