// SPDX-License-Identifier: Apache-2.0
#include "protocol/summary_json.h"

#include <nlohmann/json.hpp>

#include "record/record_json.h"

namespace headroom::protocol {

nlohmann::json run_result_json(const record::RunMeta& meta, std::int64_t tokens,
                               const std::vector<record::MethodSummary>& methods, const std::string& record_path) {
  nlohmann::json json = record::to_json(meta);
  json["tokens"] = tokens;
  auto& list = json["methods"] = nlohmann::json::array();
  for (const auto& method : methods) list.push_back(record::to_json(method));
  json["record"] = record_path.empty() ? nlohmann::json(nullptr) : nlohmann::json(record_path);
  return json;
}

}  // namespace headroom::protocol
