// SPDX-License-Identifier: Apache-2.0
// Attention streams of any model, taken by another program, become a record: dense attention, oracle and other policies
// that need only q and k, curves, maps, and the model's own selection where the file says it. Static: every layer's
// stream is the unmodified model's own, whatever a method selects in the layers before (METHOD.md, "Words": oracle).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiment/run/methods.h"
#include "experiment/run/run.h"

namespace headroom::experiment {

struct ImportSpec {
  std::string streams;  ///< path of the safetensors file (docs/import.md)
  std::string out;      ///< path of the record
  MethodRequest methods;  ///< no names: dense, the references, and the model's own selection where there is one
  std::vector<int> keep_layers;
  std::int64_t keep_queries = 0;  ///< of exact maps, so many last rows; 0: all
  std::int64_t record_limit = std::int64_t{256} << 20;
  std::string device = "auto";
};

/// Name of the model's own selection among methods.
inline constexpr const char* selected_method = "selected";

/// Throws usage errors (methods that need what streams do not hold, budgets), input errors (Streams) and what a run
/// throws. Cancelled or failed after a method: the record is kept, marked incomplete.
RunOutcome import_streams(const ImportSpec& spec, const JobContext& job, const RunCallbacks& callbacks = {});

}  // namespace headroom::experiment
