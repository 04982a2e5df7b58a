// SPDX-License-Identifier: Apache-2.0
// Writes a plausible run record without a model: attention with sinks, a local band and stripes, made from q and k, so
// that everything in the record (log-sum-exp, supports, statistics, curves, thumbnails) follows from the stored
// streams.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "record/pyramid.h"
#include "record/types.h"

namespace headroom::test {

struct SyntheticOptions {
  std::int64_t tokens = 600;
  std::int64_t layers = 6, num_q_heads = 6, num_kv_heads = 2, head_dim = 32;
  /// Ids: "dense", "oracle-k<N>-g1", "indexer-k<N>-g1", "kv_topk-k<N>-g1" (a support for each KV head),
  /// "head_topk-k<N>-g1" (for each query head); anything may follow ("oracle-k<N>-g1-b") and is then a parameter.
  std::vector<std::string> methods = {"dense", "oracle-k64-g1", "indexer-k64-g1"};
  std::set<int> sliding_layers = {};                   ///< not full: no statistics, no streams
  std::map<int, record::LayerMeta> other_layers = {};  ///< kind and sizes of layers that are not as said above
  std::set<int> keep_layers = {};                      ///< whole streams kept for these; empty: all full layers
  std::int64_t query_begin = 0;                        ///< first query row kept in streams
  std::uint64_t seed = 1;
  bool complete = true;
  /// Sparse methods but the oracle have candidates of an answer of four tokens that changes at its third.
  bool choices = false;
  std::string spec_json = {};  ///< the job; empty: one that cannot be run
  bool lists = false;                         ///< supports as lists of keys whatever the length
  record::PyramidLevels pyramid_levels = {};  ///< stored tiles from these levels on; none as a rule
  bool float16 = true;  ///< q and k values that float16 holds exactly
};

/// The same options give the same record but for its creation time.
void write_synthetic_record(const std::filesystem::path& file, const SyntheticOptions& options = {});

/// A record of a long prompt (a multiple of 8192 tokens) in minutes: everything follows from q and k, too, but those
/// are made so that probabilities need not be summed pair by pair (long_record.cpp). Statistics and curves are those of
/// every 4096th row; a support's target is that of the middle query of its 64. Methods: "dense", "indexer-k<N>-g1".
/// Layers outside of keep_layers have stored tiles and no stream.
void write_long_record(const std::filesystem::path& file, const SyntheticOptions& options);

record::RunMeta synthetic_meta(const SyntheticOptions& options);
/// Times, names and budget of a method; no figures of quality.
record::MethodSummary synthetic_summary(const SyntheticOptions& options, const std::string& method);
record::LayerMeta synthetic_layer(const SyntheticOptions& options, int layer);
/// The q, k and log-sum-exp of one layer of one method's stream, as written.
record::LayerStream synthetic_stream(const SyntheticOptions& options, const std::string& method, int layer);
/// English prose with several lines, a needle and some characters beyond ASCII, one of them split between two tokens.
record::TokenTable synthetic_tokens(std::int64_t tokens, std::uint64_t seed);

}  // namespace headroom::test
