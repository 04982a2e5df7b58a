// SPDX-License-Identifier: Apache-2.0
// job/answer: the text that a method of a running job generates, while it grows. For whoever looks on: it is not kept
// for a window that comes back, and at most 20 a second are sent; the whole answer stands in the method's summary.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace headroom::protocol {

namespace method {
inline constexpr const char* job_answer = "job/answer";  // ←
}

inline constexpr std::size_t shown_answer_bytes = 1000;

struct JobAnswer {
  std::int64_t job = 0;
  std::string method;  ///< the id of the one that answers
  std::string text;    ///< so far; of a longer one its end. Whole characters, not more than shown_answer_bytes
};

nlohmann::json to_json(const JobAnswer& message);
JobAnswer job_answer_from_json(const nlohmann::json& value);

}  // namespace headroom::protocol
