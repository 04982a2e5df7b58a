// SPDX-License-Identifier: Apache-2.0
// A policy says which keys each query attends to; a backend (backend.h) computes what it asks for and attends. A policy
// is one file in policies/: traits (its definition, source and parameters as data) and a function from a prepared layer
// to a Selection. It knows no device and no model. The build collects the files (registry.h).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "attention/index_source.h"
#include "attention/layer_query.h"
#include "attention/stream_source.h"
#include "base/budget.h"
#include "base/layer_budgets.h"
#include "base/method.h"
#include "base/progress.h"
#include "base/stage_clock.h"
#include "kernels/cpu/select/supports.h"

namespace headroom::attention {

class PreparedLayer;

struct ForcedKeys {
  std::int64_t sinks = 0;  ///< first n positions, always in the support
  std::int64_t local = 1;  ///< last n positions up to and with the query itself
};

/// How scores become supports. Every row t gets exactly min(k, t + 1) keys, its own among them: the best of the scores
/// that its block shares, restricted to keys <= t (METHOD.md leaves open whether a shared set is cut by causality
/// instead, which would leave rows short of their budget).
struct SelectionRule {
  Budget budget;
  std::int64_t granularity = 1;  ///< B: rows of a block share the sum of their scores
  ForcedKeys forced;

  /// Whether scores are added (blocks, mass budgets), so that they must be probabilities; else any order will do.
  bool adds_scores() const { return granularity > 1 || budget.kind == BudgetKind::mass; }
  /// k for a prompt of `length` tokens, at most `length`; 0 for mass budgets.
  std::int64_t tokens(std::int64_t length) const;
  /// Whether every row of such a prompt keeps its whole history: k covers it, or all mass is wanted.
  bool keeps_all(std::int64_t length) const {
    return budget.kind == BudgetKind::mass ? budget.value >= 1 : tokens(length) >= length;
  }
};

/// Scores of a layer's rows, one set for each head group. Immutable; several threads may ask at once.
class RowScores {
 public:
  virtual ~RowScores() = default;
  virtual std::int64_t groups() const { return 1; }
  /// fp32 [groups, end - begin, end] on the layer's device, contiguous; entries with key > row are ignored. Not negative
  /// where they are added. Must not depend on how rows are tiled.
  virtual at::Tensor scores(std::int64_t begin, std::int64_t end) const = 0;
};

/// A Selection is one of these four.
struct WholeHistory {};  ///< dense
struct RankedKeys {      ///< the best of each row's scores
  std::shared_ptr<const RowScores> scores;
  SelectionRule rule;
};
struct WrittenKeys {  ///< keys that are known without scoring them
  /// Writes the keys of some rows for a head group, ascending, each in 0 … row. Called from several threads at once; must
  /// not depend on how rows are split into calls.
  using Writer = std::function<void(std::int64_t group, const kernels::cpu::RowSupports& rows)>;
  Writer write;
  std::int64_t most = 0;         ///< keys a row at most
  std::int64_t whole_rows = 0;   ///< rows 0 … whole_rows - 1 attend to their whole history
  std::int64_t shared_rows = 1;  ///< SupportTile::shared_rows
  std::int64_t groups = 1;
  /// Where what `write` writes are the first `sinks` keys and the newest ones, `most` in all (whole histories up to
  /// there): devices then need not ask the host.
  std::optional<ForcedKeys> window = {};

  /// A writer that goes row by row: `keys_of` writes a row's keys and returns their number.
  static Writer by_row(std::function<std::int64_t(std::int64_t group, std::int64_t row, std::int32_t* keys)> keys_of);
};
struct BlockPattern {  ///< blocks of keys for blocks of queries, cut by causality
  std::int64_t block = 64;  ///< rows and keys a block
  /// The key blocks that a block of queries attends to, in any order. Its own block is always in. Called from several
  /// threads at once.
  std::function<std::vector<std::int32_t>(std::int64_t group, std::int64_t query_block)> key_blocks;
  std::int64_t groups = 1;
};
using Selection = std::variant<WholeHistory, RankedKeys, WrittenKeys, BlockPattern>;

/// A number that a policy takes, by name.
struct PolicyParameter {
  std::string_view name;
  double value = 0;  ///< unless told otherwise
  double least = 0, most = 0;
  std::string_view meaning;
  bool whole = false;  ///< a whole number
};

/// What is known of a policy before it runs.
struct PolicyTraits {
  std::string_view name;        ///< in ids and on the command line: "oracle"
  std::string_view title;       ///< for people: "Oracle"
  std::string_view definition;  ///< one sentence
  std::string_view source;      ///< where it comes from
  std::string_view cost = {};   ///< of choosing keys in one layer, beside attending to them
  MethodRole role = MethodRole::deployable;
  SupportScope scope = SupportScope::layer;
  ScoreKind score = ScoreKind::none;
  int look = num_method_looks - 1;
  bool takes_mass_budget = false;  ///< p-budgets; all but dense take tokens and percent
  bool takes_granularity = true;   ///< false: rows of a block have nothing to share, so that only 1 is run
  std::int64_t least_granularity = 1;  ///< the smallest block that the method is defined for
  bool shares_scores = false;      ///< rows of a block add their scores: not causal where granularity > 1
  bool whole_prompt = false;       ///< looks at the whole layer before rows are attended to: never causal
  bool needs_index = false;        ///< reads PolicySettings::index
  bool needs_dense_stream = false; ///< reads PolicySettings::dense_stream
  bool needs_values = false;       ///< reads the layer's v to choose
  bool is_default = false;         ///< runs where no method is named
  std::vector<PolicyParameter> parameters = {};

  bool is_dense() const { return role == MethodRole::dense; }
};

/// Values for a policy. Parameters that are not named have their defaults.
struct PolicySettings {
  std::optional<Budget> budget;  ///< none for dense
  std::int64_t granularity = 1;
  std::map<std::string, double, std::less<>> parameters;
  std::shared_ptr<const IndexSource> index;
  std::shared_ptr<const StreamSource> dense_stream = {};
  /// A budget in tokens for each full layer that selects keys; `budget` is then their mean. For any method but dense.
  std::shared_ptr<const LayerBudgets> layer_budgets = {};
};

class Policy {
 public:
  /// Throws usage errors: budget missing, out of range or of a refused kind; granularity not in {1, 4, 8, 16, 32, 64,
  /// 128}, below the method's least, or not 1 where it means nothing; a parameter that is unknown, out of range or not
  /// whole; no index or no dense run where one is needed.
  Policy(PolicyTraits traits, PolicySettings settings);
  virtual ~Policy() = default;
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;

  /// Which keys the rows of a layer attend to. May use everything that `layer` offers; times that as score on `clock`
  /// and polls `job`.
  virtual Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext& job) const = 0;

  const PolicyTraits& traits() const { return traits_; }
  const PolicySettings& settings() const { return settings_; }
  bool is_dense() const { return traits_.is_dense(); }
  /// False where a row's support depends on later tokens (METHOD.md, "No leakage").
  bool causal() const { return !traits_.whole_prompt && !(traits_.shares_scores && settings_.granularity > 1); }
  /// The budget of a layer: its own where the policy has one for each. Must not be dense.
  Budget budget_of(int layer) const;
  /// Keys a row of a layer for a prompt of `length` tokens; 0 for dense and mass budgets.
  std::int64_t tokens_of(int layer, std::int64_t length) const;
  /// The largest of those over all layers.
  std::int64_t most_tokens(std::int64_t length) const;
  /// Throws a usage error where the keys that are forced in exceed the budget of a prompt of `length` tokens.
  void check_length(std::int64_t length) const;
  /// The parameters "sinks" and "local", where the policy has them.
  ForcedKeys forced_keys() const;
  /// Forced keys of the best choice that this policy could have made (T): the user's where it ranks keys, the row's own
  /// alone where sinks and window are what it is.
  ForcedKeys target_forced_keys() const { return traits_.score == ScoreKind::none ? ForcedKeys{} : forced_keys(); }
  /// The setting or the default; the name must be one of the traits' parameters.
  double parameter(std::string_view name) const;
  /// All parameters by name, as text: "4", "0.5"; "layer_budgets" ("0:128 1:96") where each layer has its own.
  std::map<std::string, std::string> parameter_texts() const;
  /// "oracle-k512-g1"; parameters that differ from their defaults follow: "sink_window-k512-g1-sinks8".
  std::string id() const;
  /// Hexadecimal; equal for equal name, budget, granularity, parameters and index.
  std::string fingerprint() const;

 protected:
  /// The layer's budget, granularity and forced_keys().
  SelectionRule rule(const LayerQuery& query) const;
  /// A budget of everything: every row attends to its whole history, for each of the head groups.
  Selection all_keys(const LayerQuery& query) const;

 private:
  PolicyTraits traits_;
  PolicySettings settings_;
};

/// The parameters that forced_keys() reads.
PolicyParameter sinks_parameter(double value = 0);
PolicyParameter local_parameter(double value = 1);

}  // namespace headroom::attention
