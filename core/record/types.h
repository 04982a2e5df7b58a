// SPDX-License-Identifier: Apache-2.0
// What a recorded run holds, as plain data. One stream per method, since on-policy streams differ.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/machine_load.h"
#include "base/method.h"
#include "base/stage_clock.h"
#include "base/support_bitmap.h"

namespace headroom::record {

inline constexpr int schema_version = 5;

struct Quartiles {  ///< milliseconds
  double median = 0;
  double q1 = 0;
  double q3 = 0;
  int repeats = 0;
};

/// One layer of the model. Layers that are not full run unchanged in every method and have no statistics, maps or
/// supports; sizes that their kind does not know are 0.
struct LayerMeta {
  std::string kind = "full";  ///< "full", "sliding", "linear"
  std::int64_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  std::int64_t window = 0;  ///< keys that a query sees; 0: the whole history
  double scale = 0;         ///< of q.k
  bool operator==(const LayerMeta&) const = default;
  bool is_full() const { return kind == "full"; }
  /// Query heads that share a KV head.
  std::int64_t group_size() const { return num_kv_heads > 0 ? num_q_heads / num_kv_heads : 1; }
};

struct RunMeta {
  std::string run_id;   ///< 16 hexadecimal digits, unique to the run
  std::string created;  ///< ISO 8601, UTC
  std::string program_version;
  std::string spec_json;  ///< the RunSpec as given (protocol/run_spec.h)
  std::string model_name, model_sha256, architecture;
  std::string model_path;    ///< name of the model's file or folder, without the folders above it
  /// Of a base with an adapter, whose pair model_sha256 names: the adapter's folder and both hashes; else empty.
  std::string adapter_name, adapter_sha256, base_sha256;
  std::string device;        ///< "CPU, 2 cores: AMD EPYC …", "NVIDIA H100 80GB HBM3"
  std::string dtype;         ///< "bf16" or "f32"
  std::int64_t threads = 0;  ///< of the CPU that worked; 0: not known
  std::int64_t context = 0;  ///< the model's context length
  std::vector<LayerMeta> layers;
  std::string indexer_path, indexer_sha256;  ///< file name and hash; empty where no indexer ran
  std::int64_t indexer_trained_length = 0;
  std::string task, task_reference;  ///< task name and the reference answers joined by '\n'; may be empty
  std::int64_t warmups = 0;
  bool timed_in_turn = false;  ///< each round timed every method once: passes of equal number belong together
  std::string kept_note;        ///< in words: what the record limit kept and left out
  std::optional<bool> chat;     ///< whether a chat template rendered the prompt; not known in earlier records
  std::vector<std::string> warnings;  ///< what should be known of the prompt, in sentences
  bool complete = true;

  std::int64_t num_layers() const { return static_cast<std::int64_t>(layers.size()); }
  bool has_layer(std::int64_t layer) const { return layer >= 0 && layer < num_layers(); }
  /// `layer` must be one of the model's.
  const LayerMeta& layer(std::int64_t layer) const { return layers[static_cast<std::size_t>(layer)]; }
  bool is_full(std::int64_t layer) const { return has_layer(layer) && this->layer(layer).is_full(); }
  /// Of the full layer with the most query heads; 0 where no layer is full.
  std::int64_t max_q_heads() const {
    std::int64_t most = 0;
    for (const LayerMeta& one : layers)
      if (one.is_full()) most = std::max(most, one.num_q_heads);
    return most;
  }
};

struct TokenTable {
  std::string text;  ///< the rendered prompt, UTF-8
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> begin, end;  ///< byte range of each token in `text`
};

enum class LayerRun { other, dense, sparse };  ///< other: the layer has no full attention

/// One layer of a plan. Milliseconds of score, selection and attention; NaN where they are not known.
struct LayerPlan {
  LayerRun run = LayerRun::other;
  double dense_ms = std::numeric_limits<double>::quiet_NaN();
  double sparse_ms = std::numeric_limits<double>::quiet_NaN();
};

/// How each layer ran in the timed passes. Quality never uses it: recorded passes run the method as defined, sparse in
/// every layer that is not listed as dense.
struct TimingPlan {
  std::string source;             ///< "defined": as the recorded pass; "automatic": by the cost model; "file": replayed
  std::string times;              ///< what the layers' times are: "predicted", "measured" or empty where there are none
  std::string machine;            ///< where they were taken, as RunMeta::device; with them dtype and threads
  std::string dtype;              ///< "bf16" or "f32"
  std::int64_t threads = 0;       ///< 0: not known
  std::string dense_backend;      ///< what ran the dense layers of a sparse method: "libtorch" or "headroom"
  double density = 1;             ///< causal pairs attended in the timed passes / all causal pairs, over full layers
  std::vector<LayerPlan> layers;  ///< [layers]

  /// How many layers ran `run` in the timed passes.
  std::int64_t count(LayerRun run) const {
    return std::count_if(layers.begin(), layers.end(), [run](const LayerPlan& layer) { return layer.run == run; });
  }
  /// Every layer with full attention ran dense: nothing sparse was timed, and there is no speedup to speak of.
  bool dense_throughout() const { return count(LayerRun::dense) > 0 && count(LayerRun::sparse) == 0; }
};

/// What one of several devices did in a pass. Over all of them `ms` and `transfer_ms` add up to the pass's stages: the
/// crossings are in `transfer_ms` alone.
struct DeviceShare {
  std::string device;            ///< "cuda:1"
  std::int64_t first_layer = 0;  ///< its layers begin here
  std::int64_t weight_bytes = 0, peak_bytes = 0;
  double ms = 0;           ///< median: its layers, on the first device also embedding and output
  double transfer_ms = 0;  ///< median: the hidden states' way to it; to the first, back from the last
};

/// The same method executed by something else, timed alone, in the same run.
struct TimedBaseline {
  std::string backend;  ///< "libtorch"
  Quartiles ttft;
  std::optional<MachineLoad> load = {};  ///< as MethodSummary::load
};

/// A token that might have come next, and how likely each of the two found it.
struct TokenChoice {
  std::int32_t id = 0;
  std::string text;      ///< its bytes as UTF-8; a part of a character is U+FFFD
  double dense = 0;      ///< probability by dense
  double method = 0;     ///< … by the method
  bool operator==(const TokenChoice&) const = default;
};

/// What dense and a method would say at one position of dense's greedy answer, which both were fed up to there.
struct AnswerPosition {
  std::int64_t position = 0;            ///< 0: the answer's first token
  std::vector<TokenChoice> candidates;  ///< the likeliest tokens of either, dense's likeliest first

  /// The likeliest by dense, by the method; null where there is none.
  const TokenChoice* by_dense() const { return likeliest(&TokenChoice::dense); }
  const TokenChoice* by_method() const { return likeliest(&TokenChoice::method); }
  bool operator==(const AnswerPosition&) const = default;

 private:
  const TokenChoice* likeliest(double TokenChoice::* by) const {
    const auto at = std::max_element(candidates.begin(), candidates.end(),
                                     [by](const TokenChoice& a, const TokenChoice& b) { return a.*by < b.*by; });
    return at == candidates.end() ? nullptr : &*at;
  }
};

/// How many of the likeliest tokens of either are kept, and of how many positions of an answer; the first position at
/// which the two differ is kept in any case.
inline constexpr int kept_candidates = 10;
inline constexpr std::int64_t kept_answer_positions = 64;

/// A method's predictions along dense's greedy answer, teacher-forced (METHOD.md, "Quality"): position 0 is the
/// prompt's last, the others follow the answer's tokens.
struct ForcedComparison {
  std::int64_t positions = 0;
  double kl_mean = 0, kl_p95 = 0;                ///< KL(dense || method), nats
  std::int64_t top1_flips = 0;                   ///< positions whose likeliest token is another
  std::optional<std::int64_t> first_divergence;  ///< the first of them
  /// The candidates there; none in records of earlier versions.
  std::optional<AnswerPosition> first_difference = {};
};

/// A task's reference answer, teacher-forced inside the sparse pass: prompt and answer are prefilled as one, so that
/// the answer's rows see the keys that the method selects for them and no others (decoding is dense). For causal
/// methods.
struct ReferenceAnswer {
  std::int64_t tokens = 0;
  double nll_mean = 0;           ///< nats a token
  std::int64_t top1_agrees = 0;  ///< tokens that were the likeliest ones
};

/// Everything about one method that the summary line, the tables and `run --json` need.
struct MethodSummary {
  std::string id;     ///< "oracle-k512-g1", "dense"
  std::string name;   ///< of the policy, as `--methods` takes it; nothing is decided by it
  std::string title;  ///< "Oracle top-k"
  MethodRole role = MethodRole::deployable;
  SupportScope scope = SupportScope::layer;  ///< who shares a support
  ScoreKind score = ScoreKind::none;         ///< what it ranks keys by
  int look = 0;                              ///< colour and mark in pictures, 0 … num_method_looks - 1
  /// Every parameter of the policy with its value as text, defaults filled in, and their hash (hexadecimal; empty in
  /// records of schema 1).
  std::map<std::string, std::string> parameters;
  std::string fingerprint;
  std::optional<Budget> budget;
  std::int64_t budget_tokens = 0;  ///< k for this prompt; 0 for dense and mass budgets
  std::int64_t granularity = 1;
  double density = 1;  ///< causal pairs attended / all causal pairs, over full layers
  /// `plan`: how the timed passes ran, in words: "dense in 2 of 30 layers: 0, 1"; label: what to say of it beside every
  /// time.
  std::string backend, label, plan;
  bool causal = true;
  std::optional<TimingPlan> timing_plan;  ///< none in records of earlier versions, which knew no plans
  std::vector<TimedBaseline> baselines;
  /// What other work did with the processors during the timed passes; none where the system does not say.
  std::optional<MachineLoad> load;
  Quartiles ttft;
  std::vector<double> ttft_samples;                          ///< ms, in order
  std::array<Quartiles, num_stages> stages;                  ///< by Stage
  std::vector<std::array<double, num_stages>> layer_stages;  ///< [layers] median ms by Stage
  double captured_mass_mean = 1, captured_mass_min = 1;
  std::vector<double> captured_mass_per_layer;  ///< NaN for layers that are not full
  std::optional<double> oracle_recall_mean, oracle_recall_95_mean;
  std::vector<double> oracle_recall_per_layer;  ///< empty for dense
  std::optional<double> kl_to_dense;            ///< nats, last position; none for dense
  std::optional<bool> top1_agrees;
  std::optional<ForcedComparison> forced;   ///< none for dense
  std::optional<ReferenceAnswer> reference_answer;  ///< of a task, dense's too; none for methods that are not causal
  /// Distance of the layer's output to dense's; empty for dense. l2: mean over rows with history > k (mass budgets: all
  /// but the first) of the row's distance over the norm of dense's row. frobenius: the same of the whole matrix, which
  /// the first position's norm dominates in middle layers.
  std::vector<double> output_l2_per_layer, output_frobenius_per_layer;
  std::vector<std::int32_t> answer_ids;
  std::string answer;
  bool answer_cut = false;           ///< the answer ended at its limit or at the context's end, not by an end token
  std::optional<double> task_score;  ///< 0 to 100
  std::int64_t peak_bytes = 0;                  ///< of all devices, each at its own peak
  std::vector<std::int64_t> device_peak_bytes;  ///< by device; empty in older records
  std::vector<DeviceShare> devices;             ///< where there are several; empty for one and in older records
  bool complete = true;

  bool is_dense() const { return role == MethodRole::dense; }
  /// KL(dense || method), nats: the mean over the positions of dense's answer, or that of the prompt's last position in
  /// records that hold no other. A single position moves by a fifth between bf16 and fp32.
  std::optional<double> answer_kl() const { return forced ? std::optional(forced->kl_mean) : kl_to_dense; }
};

/// Per layer and head, for all layers, of one method's stream. Layers may differ in their number of heads: `heads` is
/// RunMeta::max_q_heads() + 1, the last one is the head mean.
struct HeadStatistics {
  std::vector<std::string> names;  ///< e.g. "entropy", "keys_for_95", …
  std::int64_t layers = 0, heads = 0;
  std::vector<float> values;  ///< [layers, heads, names]; NaN for layers that are not full and heads they do not have
  float at(std::int64_t layer, std::int64_t head, std::size_t name) const {
    return values[static_cast<std::size_t>((layer * heads + head) * static_cast<std::int64_t>(names.size())) + name];
  }
};

/// Share of the mass that the k keys of most head-averaged mass capture, none of them forced, against k ("mass recall",
/// never a measurement of quality).
struct MassCurves {
  std::vector<std::int64_t> budgets;   ///< ascending
  std::int64_t layers = 0, heads = 0;  ///< as in HeadStatistics
  std::vector<float> values;           ///< [layers, heads, 3 (mean, p10, min), budgets], NaN likewise
  const float* at(std::int64_t layer, std::int64_t head, int statistic) const {
    return values.data() + ((layer * heads + head) * 3 + statistic) * static_cast<std::int64_t>(budgets.size());
  }
};

class StreamWindow;

/// q, k and log-sum-exp of one full layer of one stream: p(t, s) = exp(scale * q_t.k_s - lse_t), exact without the
/// model.
struct LayerStream {
  std::int64_t length = 0;       ///< L
  std::int64_t query_begin = 0;  ///< first query row that is kept (--keep-queries)
  std::int64_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  double scale = 0;
  std::vector<float> q;    ///< [Hq, L - query_begin, d]
  std::vector<float> k;    ///< [Hkv, L, d]
  std::vector<float> lse;  ///< [Hq, L - query_begin]
  /// Set where the stream is too large to be held: then q, k and lse are empty, and the functions of tiles.h read the
  /// rows that they need (stream_window.h).
  std::shared_ptr<const StreamWindow> window = {};
};

/// Small maps of one head over the whole prompt: a cell covers `cell` x `cell` pairs. A record keeps 8 bits of
/// mantissa.
struct Thumbnail {
  std::int64_t size = 0, cell = 0;
  std::vector<float> max, mean;  ///< [size, size], queries down
};

enum class SupportKind { support, target, wasted };

/// Per layer: what is in the record.
struct LayerAvailability {
  bool stream = false;    ///< LayerStream
  bool supports = false;  ///< bitmaps or lists
  bool thumbnails = false;
  bool pyramid = false;  ///< stored tiles (pyramid.h)
};

}  // namespace headroom::record
