// SPDX-License-Identifier: Apache-2.0
// From method names, budgets and granularities to the list of methods that run, and the indexer they need.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "attention/policy.h"
#include "base/budget.h"
#include "experiment/passes/dense_streams.h"
#include "experiment/run/session.h"
#include "indexer/indexer.h"
#include "protocol/run_spec.h"
#include "record/types.h"

namespace headroom::experiment {

struct Method {
  std::string id;  ///< "dense", "oracle-k512-g1"
  std::shared_ptr<const attention::Policy> policy;

  bool is_dense() const { return policy->is_dense(); }
  bool is_reference() const { return policy->traits().role == MethodRole::reference; }
};

/// What a run or a benchmark asks for.
struct MethodRequest {
  std::vector<std::string> names;  ///< "oracle", "sink_window:sinks=8"
  std::vector<Budget> budgets;
  std::vector<std::int64_t> granularities = {1};
  std::optional<LayerBudgets> layer_budgets;       ///< beside `budgets`: one more setting of each method
  std::optional<std::int64_t> sinks, local, seed;  ///< parameters of these names, for all methods that have them
};
/// Names x (budgets and the budgets by layer) x granularities, dense once and first, since the others are compared with
/// it; a setting that is there already is left out. `index` is called where a method needs one. Throws usage errors
/// (unknown method or parameter, no budget, a kind of budget that a method refuses, sinks or local where no method
/// takes them). Methods without a granularity of their own run once, those with a least one at that where less is asked
/// for. `dense_stream`: filled by whoever runs the methods; where there is none, methods that need it are refused.
std::vector<Method> list_methods(const MethodRequest& request,
                                 const std::function<std::shared_ptr<const attention::IndexSource>()>& index,
                                 const std::shared_ptr<const attention::StreamSource>& dense_stream = {});

struct MethodSet {
  std::vector<Method> methods;
  std::set<int> dense_layers;
  std::filesystem::path indexer_path;  ///< empty where no indexer runs
  std::shared_ptr<const indexer::Indexer> indexer;
  std::shared_ptr<DenseStreams> dense_streams;  ///< null where no method needs a dense run before it
};

/// Without names dense, the references, and what needs an index where a shipped one fits the model. Throws as
/// list_methods and input errors (no indexer for this model: names `headroom distill`; an indexer of another model;
/// layers that the model does not have or that have no full attention).
MethodSet make_methods(const protocol::RunSpec& spec, const Session& session);

/// "dense, oracle, …": all that can be asked for.
std::string method_names();
/// The methods that run where none are named.
std::vector<std::string> default_methods(bool has_index);

/// What a record and a table say of a method before it has run. `backend` and `label`: as sparse or dense attention of
/// `backend` has them.
record::MethodSummary describe(const Method& method, const attention::Backend& backend, std::int64_t length);

/// Tells a method's cost from others' (cost_model.h): its id and, for the indexer, the width of its vectors.
std::string cost_tag(const Method& method);

}  // namespace headroom::experiment
