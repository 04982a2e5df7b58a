// SPDX-License-Identifier: Apache-2.0
#include "protocol/job_answer.h"

#include <nlohmann/json.hpp>

#include "protocol/json_fields.h"

namespace headroom::protocol {

nlohmann::json to_json(const JobAnswer& message) {
  return {{"job", message.job}, {"method", message.method}, {"text", message.text}};
}

JobAnswer job_answer_from_json(const nlohmann::json& value) {
  Fields fields(value, method::job_answer);
  JobAnswer answer;
  answer.job = fields.integer("job", 1, std::int64_t{1} << 52);
  answer.method = fields.string("method", 256);
  answer.text = fields.string("text", shown_answer_bytes);
  return answer;
}

}  // namespace headroom::protocol
