// SPDX-License-Identifier: Apache-2.0
#include "experiment/verify.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "attention/policy.h"
#include "attention/reference.h"
#include "base/error.h"
#include "base/paths.h"
#include "experiment/decoder_reference.h"
#include "experiment/dense_baselines.h"
#include "experiment/verify_parts.h"
#include "indexer/indexer.h"
#include "model/decoder.h"
#include "model/device.h"
#include "model/random_checkpoint.h"

namespace headroom::experiment {
namespace {

namespace reference = attention::reference;
using attention::LayerQuery;
using attention::PolicyOptions;
using Scores = std::vector<std::vector<double>>;

struct Input {
  std::string shape;
  LayerQuery query;  ///< on the CPU
};

std::string shape_text(const LayerQuery& query, const std::string& source) {
  return source + "L " + std::to_string(query.length()) + ", heads " + std::to_string(query.num_q_heads()) + ":" +
         std::to_string(query.num_kv_heads()) + " of " + std::to_string(query.head_dim());
}

const char* dtype_text(c10::ScalarType dtype) {
  return dtype == at::kBFloat16 ? "bf16" : "f32";
}

constexpr std::int64_t index_dim = 32, small_width = 48;

// Every 13th key is larger than the others, so that supports mean something.
Input random_input(std::int64_t length, std::int64_t num_q, std::int64_t num_kv, std::int64_t dim,
                   c10::ScalarType dtype) {
  std::mt19937 random(static_cast<unsigned>(length * 31 + dim));
  std::normal_distribution<float> normal;
  const auto make = [&](std::vector<std::int64_t> sizes, float sigma) {
    const at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(at::kFloat));
    for (std::int64_t i = 0; i < tensor.numel(); ++i) tensor.mutable_data_ptr<float>()[i] = sigma * normal(random);
    return tensor;
  };
  LayerQuery query;
  query.scale = 1 / std::sqrt(static_cast<double>(dim));
  query.rope_base = 10000;
  query.x = make({length, small_width}, 1).to(dtype);
  query.q = make({num_q, length, dim}, 1.4f).to(dtype);
  const at::Tensor k = make({num_kv, length, dim}, 1.2f);
  for (std::int64_t key = 0; key < length; key += 13) k.select(1, key).mul_(2);
  query.k = k.to(dtype);
  query.v = make({num_kv, length, dim}, 1).to(dtype);
  return {shape_text(query, ""), query};
}

// q, k and v of three layers of the default model on a text of its own vocabulary; none where it is not fetched.
std::vector<Input> model_inputs(c10::ScalarType dtype, const JobContext& job) {
  std::filesystem::path file;
  try {
    file = resolve_model("smollm2");
  } catch (const Error&) {
    return {};
  }
  model::DecoderOptions options;
  options.dtype = dtype;
  const auto decoder =
      model::load_decoder(*checkpoint::open_checkpoint(file), options, {.stop = job.stop, .progress = {}});
  const auto dense = attention::make_policy({});
  std::vector<std::int32_t> ids;
  for (std::int32_t i = 0; i < 320; ++i)
    ids.push_back((i % 80) * (i % 80) * 7 % 20000 + 300);  // with repeats, to attend to
  std::vector<Input> inputs;
  model::PrefillOptions prefill;
  prefill.policy = prefill.dense_policy = dense.get();
  prefill.job.stop = job.stop;
  prefill.observer = [&](const LayerQuery& query, const at::Tensor&, const std::vector<attention::SupportTile>&) {
    if (query.layer != 0 && query.layer != 14 && query.layer != 29) return;
    inputs.push_back({shape_text(query, "SmolLM2 layer " + std::to_string(query.layer) + ", "), query});
  };
  decoder->prefill(ids, prefill);
  return inputs;
}

LayerQuery on_device(LayerQuery query, c10::Device device) {
  for (at::Tensor* tensor : {&query.x, &query.q, &query.k, &query.v}) *tensor = tensor->to(device);
  return query;
}

reference::Supports supports_of(const std::vector<attention::SupportTile>& tiles) {
  reference::Supports supports;
  for (const auto& tile : tiles) {
    const at::Tensor indices = tile.indices.to(at::kCPU).contiguous(), counts = tile.counts.to(at::kCPU).contiguous();
    for (std::int64_t row = 0; row < counts.size(0); ++row) {
      const std::int32_t* keys = indices.const_data_ptr<std::int32_t>() + row * indices.size(1);
      supports.emplace_back(keys, keys + counts.const_data_ptr<std::int32_t>()[row]);
    }
  }
  return supports;
}

// Empty, or the first row whose support is not the reference's up to scores that differ by less than 1e-5.
std::string compare_supports(const reference::Supports& found, const Scores& scores, const PolicyOptions& options) {
  if (found.size() != scores.size()) return "the tiles cover " + std::to_string(found.size()) + " rows";
  const auto expected = reference::select(scores, *options.budget, options.granularity, options.forced);
  for (std::size_t row = 0; row < found.size(); ++row) {
    if (found[row] == expected[row]) continue;
    const std::string where = "row " + std::to_string(row) + ": ";
    const auto shared = reference::shared_scores(scores, static_cast<std::int64_t>(row), options.granularity);
    if (!std::is_sorted(found[row].begin(), found[row].end()) || found[row].empty() || found[row].front() < 0 ||
        found[row].back() > static_cast<std::int64_t>(row))
      return where + "positions out of order or out of range";
    const double got = reference::captured_mass(shared, found[row]),
                 best = reference::captured_mass(shared, expected[row]);
    if (options.budget->kind != BudgetKind::mass && found[row].size() != expected[row].size())
      return where + "wrong number of keys";
    // Swapping keys of nearly equal score changes the sum by less than that; a mass budget may take one key more or
    // less.
    const double spare =
        options.budget->kind == BudgetKind::mass ? shared[static_cast<std::size_t>(found[row].back())] : 0;
    if (std::abs(got - best) > 1e-5 * std::abs(best) + spare) return where + "not the best keys";
  }
  return {};
}

Scores mass_scores(const reference::Inputs& in) {
  Scores rows;
  for (std::int64_t row = 0; row < in.length; ++row) rows.push_back(reference::mass(in, row));
  return rows;
}

// In a bf16 model q_I or k_I rounded: the path's own values, once each is within a unit in the last place of `exact`.
// Rounding fp64 values here would fall on the other side of a tie now and then and move whole scores.
at::Tensor rounded(const at::Tensor& exact, const at::Tensor& found) {
  const at::Tensor values = found.to(at::kCPU).to(at::kDouble).contiguous();
  const double excess = values.sub(exact).abs().sub(exact.abs().div(128)).max().item<double>();
  if (!(excess < 1e-4)) throw Error(ErrorKind::internal, "the indexer's projections are not those of METHOD.md");
  return values;
}

// softmax(I) in fp64 from METHOD's definition of the indexer.
Scores indexer_scores(const LayerQuery& query, const indexer::LayerWeights& weights, const indexer::Metadata& metadata,
                      c10::Device device) {
  const at::Tensor x = query.x.to(at::kDouble);
  const auto project = [&](const at::Tensor& matrix) { return at::matmul(x, matrix.to(at::kDouble).t()).contiguous(); };
  at::Tensor q = project(weights.q_proj), k = project(weights.k_proj);
  const at::Tensor norm = weights.k_norm.to(at::kDouble).contiguous();
  const std::int64_t length = query.length(), half = index_dim / 2;
  for (std::int64_t t = 0; t < length; ++t) {
    double* kt = k.mutable_data_ptr<double>() + t * index_dim;
    double squares = 0;
    for (std::int64_t i = 0; i < index_dim; ++i) squares += kt[i] * kt[i];
    for (std::int64_t i = 0; i < index_dim; ++i)
      kt[i] *= norm.const_data_ptr<double>()[i] /
               std::sqrt(squares / static_cast<double>(index_dim) + metadata.norm_epsilon);
    for (double* row : {q.mutable_data_ptr<double>() + t * index_dim, kt}) {
      for (std::int64_t i = 0; i < half; ++i) {
        const double angle = static_cast<double>(t) *
                             std::pow(query.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(index_dim));
        const double a = row[i], b = row[i + half];
        row[i] = a * std::cos(angle) - b * std::sin(angle);
        row[i + half] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
  }
  if (query.x.scalar_type() == at::kBFloat16) {
    const indexer::Projections found = indexer::project(weights, metadata, on_device(query, device));
    q = rounded(q, found.q);
    k = rounded(k, found.k);
  }
  const at::Tensor scores = at::matmul(q, k.t()).div(std::sqrt(static_cast<double>(index_dim)));
  Scores rows;
  for (std::int64_t t = 0; t < length; ++t) {
    const at::Tensor row = at::softmax(scores[t].narrow(0, 0, t + 1), 0).contiguous();
    rows.emplace_back(row.const_data_ptr<double>(), row.const_data_ptr<double>() + t + 1);
  }
  return rows;
}

std::shared_ptr<const indexer::Indexer> random_indexer(std::int64_t width) {
  auto made = std::make_shared<indexer::Indexer>();
  made->metadata.index_dim = index_dim;
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 2 / std::sqrt(static_cast<float>(width)));
  const auto make = [&](std::vector<std::int64_t> sizes, bool ones) {
    const at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(at::kFloat));
    for (std::int64_t i = 0; i < tensor.numel(); ++i)
      tensor.mutable_data_ptr<float>()[i] = ones ? 1.0f : normal(random);
    return tensor;
  };
  for (const int layer : {0, 14, 29})
    made->layers[layer] = {make({index_dim, width}, false), make({index_dim, width}, false), make({index_dim}, true)};
  return made;
}

class Verification {
 public:
  Verification(c10::Device device, const JobContext& job, VerifyReport& report,
               const std::function<void(const VerifyRow&)>& on_row)
      : device_(device), job_(job), report_(report), on_row_(on_row) {}

  void input(const Input& input) {
    const reference::Inputs in = reference::inputs_of(input.query);
    const LayerQuery query = on_device(input.query, device_);
    const auto dtype = query.q.scalar_type();
    const auto keys = all_keys(in.length);
    const auto dense = reference::dense(in);
    for (const auto& baseline : dense_baselines(device_, dtype))
      policy("dense, " + baseline.backend, input, query, *baseline.policy,
             [&](VerifyRow& row, const at::Tensor& out, const auto&) {
               row.error = largest_difference(out, dense.out);
               row.allowed = 2 * largest_difference(textbook(query, keys), dense.out) + rounding_slack(dense.out);
             });
    if (device_.is_cpu()) {
      verify_kernels(input.query, [&](const std::string& path, const std::function<void(VerifyRow&)>& work) {
        job_.check();
        VerifyRow row;
        row.path = path;
        row.shape = input.shape;
        row.dtype = dtype_text(dtype);
        finish(row, work);
      });
    }
    const Scores mass = mass_scores(in);
    const auto made = random_indexer(query.x.size(1));
    const Scores learned = indexer_scores(input.query, made->layers.at(query.layer), made->metadata, device_);
    for (const char* budget : {"24", "20%", "p0.9"}) {
      for (const std::int64_t granularity : {1, 16}) {
        PolicyOptions options;
        options.budget = parse_budget(budget);
        options.granularity = granularity;
        options.name = "oracle";
        sparse(input, query, in, *attention::make_policy(options), options, &mass);
        options.name = "indexer";
        sparse(input, query, in, *indexer::make_indexer_policy(made, options), options, &learned);
      }
    }
    for (const char* name : {"sink_window", "random"}) {
      PolicyOptions options;
      options.budget = parse_budget("24");
      options.name = name;
      sparse(input, query, in, *attention::make_policy(options), options, nullptr);
    }
  }

  void decoder(c10::ScalarType dtype) {
    checkpoint::ModelConfig config;
    config.architecture = "llama";
    config.name = "a small random model";
    config.num_layers = 2;
    config.layers.assign(2, checkpoint::LayerKind::full);
    config.width = 64;
    config.num_q_heads = 4;
    config.num_kv_heads = 2;
    config.head_dim = 32;
    config.mlp_width = 96;
    config.vocabulary = 200;
    config.context_length = 64;
    config.tied_output = true;
    const model::RandomCheckpoint file(config, 3);
    std::vector<std::int32_t> ids;
    for (std::int32_t i = 0; i < 40; ++i) ids.push_back(i * i * 11 % 200);
    const auto expected = reference_logits(file, config, ids, dtype == at::kBFloat16);
    double size = 0;
    for (const double value : expected) size = std::max(size, std::abs(value));
    const auto check = [&](const char* path, const auto& work) {
      job_.check();
      VerifyRow row;
      row.path = path;
      row.shape = "L 40, 2 layers of width 64";
      row.dtype = dtype_text(dtype);
      // No same-precision decoder but this one: a few roundings of the largest logit.
      row.allowed = size * (dtype == at::kBFloat16 ? 0.04 : 2e-5);
      finish(row, work);
    };
    const std::vector<double> last(expected.end() - config.vocabulary, expected.end());
    model::DecoderOptions options;
    options.device = device_;
    options.dtype = dtype;
    const auto decoder = model::load_decoder(file, config, options, {});
    const auto dense = attention::make_policy({});
    model::PrefillOptions prefill;
    prefill.policy = prefill.dense_policy = dense.get();
    prefill.extra_capacity = 10;
    check("decoder, prefill",
          [&](VerifyRow& row) { row.error = largest_difference(decoder->prefill(ids, prefill).last_logits, last); });
    check("decoder, all logits",
          [&](VerifyRow& row) { row.error = largest_difference(decoder->logits(ids, {}), expected); });
    check("decoder, cache", [&](VerifyRow& row) {
      auto result = decoder->prefill(std::span(ids).first(30), prefill);
      at::Tensor logits;
      for (std::size_t i = 30; i < ids.size(); ++i) logits = decoder->decode(result.cache, ids[i]);
      row.error = largest_difference(logits, last);
    });
  }

 private:
  // `may_refuse`: a backend of LibTorch's that does not take every shape.
  void finish(VerifyRow& row, const auto& work, bool may_refuse = false) {
    try {
      work(row);
      if (!(row.error <= row.allowed) && row.note.empty()) row.note = "the error is too large";
      row.passed = row.note.empty();
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::cancelled) throw;
      row.note = error.what();
      row.passed = false;
    } catch (const c10::Error& error) {
      const std::string text = error.what_without_backtrace();
      row.note = text.substr(0, text.find('\n')).substr(0, 200);
      row.passed = false;
      row.ran = !may_refuse;
    }
    if (on_row_) on_row_(row);
    report_.rows.push_back(std::move(row));
  }

  // `judge` fills error and allowed from the output and the tiles.
  void policy(const std::string& path, const Input& input, const LayerQuery& query, const attention::Policy& policy,
              const auto& judge) {
    job_.check();
    VerifyRow row;
    row.path = path;
    row.shape = input.shape;
    row.dtype = dtype_text(query.q.scalar_type());
    finish(
        row,
        [&](VerifyRow& checked) {
          StageClock clock;
          std::vector<attention::SupportTile> tiles;
          const auto keep = [&](const attention::SupportTile& tile) { tiles.push_back(tile); };
          const at::Tensor out = policy.attend(query, clock, keep, {});
          judge(checked, out, tiles);
          if (checked.note.empty() && !at::equal(policy.attend(query, clock, {}, {}), out))
            checked.note = "a second call gives other bits";
        },
        path == "dense, fa2" || path == "dense, cudnn");
  }

  void sparse(const Input& input, const LayerQuery& query, const reference::Inputs& in, const attention::Policy& made,
              const PolicyOptions& options, const Scores* scores) {
    std::string path = options.name + " " + to_string(*options.budget);
    if (options.granularity > 1) path += ", " + std::to_string(options.granularity) + " rows a block";
    policy(path, input, query, made,
           [&](VerifyRow& row, const at::Tensor& out, const std::vector<attention::SupportTile>& tiles) {
             const auto supports = supports_of(tiles);
             if (scores) row.note = compare_supports(supports, *scores, options);
             if (static_cast<std::int64_t>(supports.size()) != in.length)
               row.note = "the tiles do not cover every row once";
             if (!row.note.empty()) return;
             const auto expected = reference::sparse(in, supports);
             row.error = largest_difference(out, expected.out);
             row.allowed =
                 2 * largest_difference(textbook(query, supports), expected.out) + rounding_slack(expected.out);
           });
  }

  c10::Device device_;
  const JobContext& job_;
  VerifyReport& report_;
  const std::function<void(const VerifyRow&)>& on_row_;
};

}  // namespace

bool VerifyReport::passed() const {
  return std::all_of(rows.begin(), rows.end(), [](const VerifyRow& row) { return row.passed || !row.ran; });
}

VerifyReport verify(const std::string& device, const JobContext& job,
                    const std::function<void(const VerifyRow&)>& on_row) {
  const auto choice = model::open_device(device);
  const at::NoGradGuard no_grad;
  VerifyReport report;
  report.device = choice.description;
  report.device_note = choice.note;
  Verification verification(choice.device, job, report, on_row);
  for (const c10::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    verification.decoder(dtype);
    // 300 rows are several tiles; 1 and 33 are odd ones; 128 and 256 are the widest heads.
    verification.input(random_input(300, 9, 3, 64, dtype));
    verification.input(random_input(33, 4, 4, 128, dtype));
    verification.input(random_input(130, 4, 1, 256, dtype));
    verification.input(random_input(1, 3, 1, 64, dtype));
    for (const Input& input : model_inputs(dtype, job)) {
      report.model_used = true;
      verification.input(input);
    }
  }
  return report;
}

nlohmann::json to_json(const VerifyReport& report) {
  nlohmann::json rows = nlohmann::json::array();
  for (const VerifyRow& row : report.rows) {
    // JSON has no infinity; an error that is not finite is a failed row with null.
    rows.push_back({{"path", row.path},
                    {"shape", row.shape},
                    {"dtype", row.dtype},
                    {"error", std::isfinite(row.error) ? nlohmann::json(row.error) : nlohmann::json()},
                    {"allowed", std::isfinite(row.allowed) ? nlohmann::json(row.allowed) : nlohmann::json()},
                    {"note", row.note},
                    {"ran", row.ran},
                    {"passed", row.passed}});
  }
  return {{"device", report.device},
          {"device_note", report.device_note},
          {"model_used", report.model_used},
          {"passed", report.passed()},
          {"rows", rows}};
}

}  // namespace headroom::experiment
