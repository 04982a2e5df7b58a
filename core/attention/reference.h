// SPDX-License-Identifier: Apache-2.0
// The root of trust: attention, mass, supports and what they capture in fp64, as plain loops over METHOD.md's
// definitions. Slow on purpose; used by tests and `headroom verify`, never by a run.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/policy.h"

namespace headroom::attention::reference {

/// One full layer: q [Hq, L, d], k and v [Hkv, L, d], row-major.
struct Inputs {
  std::int64_t length = 0, num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  double scale = 0;
  std::vector<double> q, k, v;
  std::vector<double> sinks = {};  ///< [Hq], or empty: a logit that joins each row's softmax
};
/// The stored values of a layer query, exactly.
Inputs inputs_of(const LayerQuery& query);

struct Outputs {
  std::vector<double> out;  ///< [Hq, L, d]
  std::vector<double> lse;  ///< [Hq, L] log-sum-exp of scale * q.k over the attended keys, and the sink
};
/// Key positions a row, ascending.
using Supports = std::vector<std::vector<std::int64_t>>;

/// softmax over keys 0 … row of one query head: row + 1 values.
std::vector<double> probabilities(const Inputs& in, std::int64_t head, std::int64_t row);
/// Attention mass m_row: the mean over heads, row + 1 values.
std::vector<double> mass(const Inputs& in, std::int64_t row);
Outputs dense(const Inputs& in);
Outputs sparse(const Inputs& in, const Supports& supports);
/// Where head groups have supports of their own: 1, Hkv or Hq of them.
Outputs sparse(const Inputs& in, const std::vector<Supports>& groups);

/// Scores of a row as its block of `granularity` neighbouring rows shares them: for each key the sum over those rows
/// of the block that see it. rows[t] has t + 1 values; so has the result.
std::vector<double> shared_scores(const std::vector<std::vector<double>>& rows, std::int64_t row,
                                  std::int64_t granularity);
/// min(k, n) positions of `scores` (keys 0 … n - 1, the last is the row's own). The own key first, then other forced
/// keys from the lowest position, then the largest scores, ties to the lower position.
std::vector<std::int64_t> top_k(const std::vector<double>& scores, std::int64_t k, const ForcedKeys& forced = {});
/// The forced keys, then the largest scores until `share` of the sum is reached.
std::vector<std::int64_t> fewest_for_mass(const std::vector<double>& scores, double share,
                                          const ForcedKeys& forced = {});
/// Supports from any rows of scores (rows[t] has t + 1 values) under a budget.
Supports select(const std::vector<std::vector<double>>& rows, const Budget& budget, std::int64_t granularity,
                const ForcedKeys& forced = {});
Supports oracle_supports(const Inputs& in, const Budget& budget, std::int64_t granularity,
                         const ForcedKeys& forced = {});

/// Sum of `row_mass` over the support.
double captured_mass(const std::vector<double>& row_mass, const std::vector<std::int64_t>& support);
/// |S ∩ T| / |T|; 1 for an empty T.
double recall(const std::vector<std::int64_t>& support, const std::vector<std::int64_t>& target);

}  // namespace headroom::attention::reference
