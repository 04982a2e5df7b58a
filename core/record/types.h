// SPDX-License-Identifier: Apache-2.0
// What a recorded run holds, as plain data. One stream per method, since on-policy streams differ.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/stage_clock.h"
#include "base/support_bitmap.h"

namespace headroom::record {

inline constexpr int schema_version = 1;

struct Quartiles {  ///< milliseconds
  double median = 0;
  double q1 = 0;
  double q3 = 0;
  int repeats = 0;
};

struct RunMeta {
  std::string run_id;   ///< 16 hexadecimal digits, unique to the run
  std::string created;  ///< ISO 8601, UTC
  std::string program_version;
  std::string spec_json;  ///< the RunSpec as given (protocol/run_spec.h)
  std::string model_name, model_sha256, architecture;
  std::string model_path;    ///< name of the model's file or folder, without the folders above it
  std::string device;        ///< "CPU, 2 cores: AMD EPYC …", "NVIDIA H100 80GB HBM3"
  std::string dtype;         ///< "bf16" or "f32"
  std::int64_t context = 0;  ///< the model's context length
  std::int64_t num_layers = 0, num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  std::vector<std::string> layer_kinds;      ///< "full", "sliding", "linear"
  double scale = 0;                          ///< of q.k
  std::string indexer_path, indexer_sha256;  ///< file name and hash; empty where no indexer ran
  std::int64_t indexer_trained_length = 0;
  std::string task, task_reference;  ///< task name and the reference answers joined by '\n'; may be empty
  std::int64_t warmups = 0;
  std::int64_t curve_rows = 0;  ///< 64 once curves are there
  std::string kept_note;        ///< in words: what the record limit kept and left out
  bool complete = true;
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
};

/// The same method executed by something else, timed alone, in the same run.
struct TimedBaseline {
  std::string backend;  ///< "libtorch"
  Quartiles ttft;
};

/// Everything about one method that the summary line, the tables and `run --json` need.
struct MethodSummary {
  std::string id;    ///< "oracle-k512-g1", "dense"
  std::string name;  ///< "dense", "oracle", "indexer", "sink_window", "random"
  std::optional<Budget> budget;
  std::int64_t budget_tokens = 0;  ///< k for this prompt; 0 for dense and mass budgets
  std::int64_t granularity = 1;
  double density = 1;  ///< causal pairs attended / all causal pairs, over full layers
  /// `plan`: how the timed passes ran, in words: "dense in 2 of 30 layers: 0, 1"; label: see attention::PolicyInfo.
  std::string backend, label, plan;
  bool causal = true;
  std::optional<TimingPlan> timing_plan;  ///< none in records of earlier versions, which knew no plans
  std::vector<TimedBaseline> baselines;
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
  std::vector<double> output_l2_per_layer;  ///< relative L2 distance of the layer's output to dense's; empty for dense
  std::vector<std::int32_t> answer_ids;
  std::string answer;
  std::optional<double> task_score;  ///< 0 to 100
  std::int64_t peak_bytes = 0;
  bool complete = true;
};

/// Per layer and head, for all layers, of one method's stream.
struct HeadStatistics {
  std::vector<std::string> names;      ///< e.g. "entropy", "keys_for_95", …
  std::int64_t layers = 0, heads = 0;  ///< heads = Hq + 1, the last one is the head mean
  std::vector<float> values;           ///< [layers, heads, names]; NaN for layers that are not full
  float at(std::int64_t layer, std::int64_t head, std::size_t name) const {
    return values[static_cast<std::size_t>((layer * heads + head) * static_cast<std::int64_t>(names.size())) + name];
  }
};

/// Share of the mass that the k keys of most head-averaged mass capture, against k ("mass recall", never a measurement
/// of quality).
struct MassCurves {
  std::vector<std::int64_t> budgets;   ///< [64] ascending
  std::int64_t layers = 0, heads = 0;  ///< heads = Hq + 1, the last one is the head mean
  std::vector<float> values;           ///< [layers, heads, 3 (mean, p10, min), budgets]
  const float* at(std::int64_t layer, std::int64_t head, int statistic) const {
    return values.data() + ((layer * heads + head) * 3 + statistic) * static_cast<std::int64_t>(budgets.size());
  }
};

/// q, k and log-sum-exp of one layer of one stream: p(t, s) = exp(scale * q_t.k_s - lse_t), exact without the model.
struct LayerStream {
  std::int64_t length = 0;       ///< L
  std::int64_t query_begin = 0;  ///< first query row that is kept (--keep-queries)
  std::int64_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  double scale = 0;
  std::vector<float> q;    ///< [Hq, L - query_begin, d]
  std::vector<float> k;    ///< [Hkv, L, d]
  std::vector<float> lse;  ///< [Hq, L - query_begin]
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
  bool supports = false;  ///< bitmaps
  bool thumbnails = false;
};

}  // namespace headroom::record
