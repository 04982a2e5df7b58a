// SPDX-License-Identifier: Apache-2.0
// From a RunSpec's method names, budgets and granularities to the list of methods that run, and the indexer they need.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "attention/policy.h"
#include "experiment/session.h"
#include "indexer/indexer.h"
#include "protocol/run_spec.h"

namespace headroom::experiment {

struct Method {
  std::string id;  ///< "dense", "oracle-k512-g1"
  attention::PolicyOptions options;
  std::shared_ptr<const attention::Policy> policy;
};

struct MethodSet {
  std::vector<Method> methods;  ///< dense first where it runs, since the others are compared with it
  std::set<int> dense_layers;
  std::filesystem::path indexer_path;  ///< empty where no indexer runs
  std::string indexer_sha256;
  std::shared_ptr<const indexer::Indexer> indexer;
};

/// Methods x budgets x granularities, dense once; without names dense, oracle, and the indexer where a shipped one fits
/// the model. Throws usage errors (unknown method, p-budget where refused) and input errors (no indexer for this model:
/// names `headroom distill`; an indexer of another model; layers that the model does not have).
MethodSet make_methods(const protocol::RunSpec& spec, const Session& session, c10::DeviceType device);

/// Tells a method's cost from others' (cost_model.h): its id and, for the indexer, the width of its vectors.
std::string cost_tag(const Method& method, const MethodSet& set);

}  // namespace headroom::experiment
