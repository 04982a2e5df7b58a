// SPDX-License-Identifier: Apache-2.0
#include "protocol/rpc.h"

#include "protocol/json_fields.h"

namespace headroom::protocol {
namespace {

nlohmann::json id_json(const std::optional<RequestId>& id) {
  if (!id) return nullptr;
  if (const auto* number = std::get_if<std::int64_t>(&*id)) return *number;
  return std::get<std::string>(*id);
}

EnvelopeError refuse(std::optional<RequestId> id, RpcCode code, std::string message, std::string expected,
                     std::string found) {
  return {std::move(id),
          {static_cast<int>(code), std::move(message), "message", std::move(expected), std::move(found)}};
}

}  // namespace

std::string ErrorInfo::line() const {
  return Error(ErrorKind::internal, message, {place, expected, found}).what();
}

ErrorInfo error_info(const Error& error) {
  return {static_cast<int>(error.kind()), error.message(), error.detail().place, error.detail().expected,
          error.detail().found};
}

Error to_error(const ErrorInfo& info) {
  const bool ours =
      info.code >= static_cast<int>(ErrorKind::internal) && info.code <= static_cast<int>(ErrorKind::cancelled);
  return Error(ours ? static_cast<ErrorKind>(info.code) : ErrorKind::internal, info.message,
               {info.place, info.expected, info.found});
}

nlohmann::json to_json(const ErrorInfo& error) {
  return {{"code", error.code},
          {"message", error.message},
          {"place", error.place},
          {"expected", error.expected},
          {"found", error.found}};
}

ErrorInfo error_info_from_json(const nlohmann::json& json) {
  Fields fields(json, "error");
  constexpr std::size_t limit = 1 << 16;
  return {static_cast<int>(fields.integer("code", -100000, 100000)), fields.string("message", limit),
          fields.string_or("place", {}, limit), fields.string_or("expected", {}, limit),
          fields.string_or("found", {}, limit)};
}

std::variant<Envelope, EnvelopeError> read_envelope(std::string_view body) {
  nlohmann::json json;
  try {
    json = parse_json(body, "message");
  } catch (const Error& error) {
    auto info = error_info(error);
    info.code = static_cast<int>(RpcCode::parse_error);
    return EnvelopeError{std::nullopt, info};
  }
  if (!json.is_object()) return refuse({}, RpcCode::invalid_request, "is not a request", "an object", describe(json));
  std::optional<RequestId> id;
  const auto id_field = json.find("id");
  const bool has_id = id_field != json.end();
  if (has_id && id_field->is_number_integer() &&
      !(id_field->is_number_unsigned() && id_field->get<std::uint64_t>() >> 62))
    id = id_field->get<std::int64_t>();
  else if (has_id && id_field->is_string() && id_field->get_ref<const std::string&>().size() <= 256)
    id = id_field->get<std::string>();
  if (const auto version = json.find("jsonrpc"); version == json.end() || *version != "2.0")
    return refuse(id, RpcCode::invalid_request, "field \"jsonrpc\" is not valid", "\"2.0\"",
                  version == json.end() ? "nothing" : describe(*version));

  const auto method = json.find("method");
  if (method == json.end()) {
    const auto error = json.find("error");
    const auto result = json.find("result");
    if ((error == json.end()) == (result == json.end()) || (!id && error == json.end()))
      return refuse(id, RpcCode::invalid_request, "is neither a request nor a response",
                    "a method, a result or an error", "none or too many of them");
    Response response{id, {}, {}};
    if (error == json.end()) {
      response.result = std::move(*result);
    } else {
      try {
        response.error = error_info_from_json(*error);
      } catch (const Error& fault) {
        auto info = error_info(fault);
        info.code = static_cast<int>(RpcCode::invalid_request);
        return EnvelopeError{id, info};
      }
    }
    return Envelope(std::move(response));
  }
  if (!method->is_string() || method->get_ref<const std::string&>().size() > 128)
    return refuse(id, RpcCode::invalid_request, "field \"method\" is not valid", "a text of at most 128 bytes",
                  describe(*method));
  nlohmann::json params = nlohmann::json::object();
  if (const auto field = json.find("params"); field != json.end()) {
    if (!field->is_object())
      return refuse(id, RpcCode::invalid_params, "field \"params\" is not valid", "an object", describe(*field));
    params = std::move(*field);
  }
  if (!has_id) return Envelope(Notification{method->get<std::string>(), std::move(params)});
  if (!id)
    return refuse(id, RpcCode::invalid_request, "field \"id\" is not valid",
                  "a whole number or a text of at most 256 bytes", describe(*id_field));
  return Envelope(Request{*id, method->get<std::string>(), std::move(params)});
}

std::string write_envelope(const Request& request) {
  return dump_json(
      {{"jsonrpc", "2.0"}, {"id", id_json(request.id)}, {"method", request.method}, {"params", request.params}});
}

std::string write_envelope(const Notification& notification) {
  return dump_json({{"jsonrpc", "2.0"}, {"method", notification.method}, {"params", notification.params}});
}

std::string write_envelope(const Response& response) {
  nlohmann::json json = {{"jsonrpc", "2.0"}, {"id", id_json(response.id)}};
  if (response.error)
    json["error"] = to_json(*response.error);
  else
    json["result"] = response.result;
  return dump_json(json);
}

}  // namespace headroom::protocol
