// SPDX-License-Identifier: Apache-2.0
// What the checks of `headroom verify` share, and those of the CPU attention kernels. Internal to verify.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "attention/backend.h"
#include "attention/policy.h"
#include "attention/reference.h"
#include "experiment/verify/verify.h"

namespace headroom::experiment {

/// fp32 on the CPU, normally distributed.
at::Tensor normal_values(std::mt19937& random, const std::vector<std::int64_t>& sizes, float sigma);
/// Infinity where sizes differ or a value is no number.
double largest_difference(const at::Tensor& found, const std::vector<double>& expected);
/// A few roundings to fp32 of the largest value: where inputs are small the textbook computation may hit by luck.
double rounding_slack(const std::vector<double>& expected);
/// The textbook computation in the query's own precision, on its device; the supports are those of each head group.
at::Tensor textbook(const attention::LayerQuery& query, const std::vector<attention::reference::Supports>& groups);
attention::reference::Supports all_keys(std::int64_t length);

/// The rows' keys of one head group.
attention::reference::Supports supports_of(const std::vector<attention::SupportTile>& tiles, std::int64_t group = 0);

/// A selection whose outcome is known exactly: `k` of scores of one kind, the same list for every row.
enum class ScoreList { distinct, few, equal, odd };  ///< odd: NaN, -infinity, 0 and -0 among others
struct SelectionCase {
  ScoreList kind = ScoreList::distinct;
  std::int64_t length = 0, k = 0, sinks = 0, local = 1;
  std::string text() const;
};
std::vector<SelectionCase> selection_cases();
/// What is wrong with the last rows that the layer selects, or nothing. The layer's query has test.length rows.
std::string judge_selection(const attention::PreparedLayer& layer, const SelectionCase& test);

/// Runs one check: its name, and what fills error, allowed and, where something else is wrong, the note.
using RunCheck = std::function<void(const std::string& path, const std::function<void(VerifyRow&)>& work)>;
/// Dense, mass and sparse (gather, union tile) of core/kernels/cpu/attention/attention.h for every instruction set that
/// this machine runs. `query` is on the CPU, heads of a multiple of 8.
void verify_kernels(const attention::LayerQuery& query, const RunCheck& check);
/// Attention over a past and in windows (model/window_attention.h) on the device: lengths around a window, a past before
/// the rows, one row, learned sinks.
void verify_windows(c10::Device device, c10::ScalarType dtype, const RunCheck& check);
/// What a record holds of a layer on a GPU, against analyse_layer() of the same layer on the host; the error is the
/// largest difference as a share of what is tolerated.
void verify_record(const attention::LayerQuery& here, const attention::LayerQuery& on_host,
                   const attention::Backend& backend, const RunCheck& check);

}  // namespace headroom::experiment
