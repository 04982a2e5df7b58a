// SPDX-License-Identifier: Apache-2.0
#include "experiment/verify/verify.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "attention/attend.h"
#include "attention/registry.h"
#include "attention/reference.h"
#include "base/error.h"
#include "base/paths.h"
#include "experiment/run/memory_estimate.h"
#include "experiment/verify/decoder_reference.h"
#include "experiment/verify/delta_reference.h"
#include "experiment/verify/indexer_reference.h"
#include "experiment/verify/verify_parts.h"
#include "indexer/indexer.h"
#include "model/decoder.h"
#include "model/device.h"
#include "model/random_checkpoint.h"

namespace headroom::experiment {
namespace {

namespace reference = attention::reference;
using attention::LayerQuery;
using Scores = RowScores;

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
// Keys whose scores differ by less, relative to what a support captures, are as good as each other.
constexpr double score_slack = 1e-5;

// Every 13th key is larger than the others, so that supports mean something.
Input random_input(std::int64_t length, std::int64_t num_q, std::int64_t num_kv, std::int64_t dim,
                   c10::ScalarType dtype) {
  std::mt19937 random(static_cast<unsigned>(length * 31 + dim));
  const auto make = [&](std::vector<std::int64_t> sizes, float sigma) { return normal_values(random, sizes, sigma); };
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

constexpr std::int32_t model_input_length = 320;

/// Null where the default model is not fetched.
std::unique_ptr<checkpoint::Checkpoint> open_default_model() {
  std::filesystem::path file;
  try {
    file = resolve_model("smollm2");
  } catch (const Error&) {
    return nullptr;
  }
  return checkpoint::open_checkpoint(file);
}

/// Throws a device error where model_inputs() would not fit into the host's memory: before the checks, not among them.
void require_room_for_model_inputs() {
  const auto checkpoint = open_default_model();
  if (!checkpoint) return;
  const auto dense = attention::make_dense_policy();
  MemoryWorkload work;
  work.length = model_input_length;
  work.methods = {dense.get()};
  refuse_what_cannot_fit(*checkpoint, model::read_model_config(*checkpoint), at::kFloat, model::open_device("cpu"),
                         work);
}

// q, k and v of three layers of the default model on a text of its own vocabulary; none where it is not fetched.
std::vector<Input> model_inputs(c10::ScalarType dtype, const JobContext& job) {
  const auto checkpoint = open_default_model();
  if (!checkpoint) return {};
  const auto config = model::read_model_config(*checkpoint);
  const auto dense = attention::make_dense_policy();
  model::DecoderOptions options;
  options.dtype = dtype;
  const auto decoder = model::load_decoder(*checkpoint, config, options, {.stop = job.stop, .progress = {}});
  const auto backend = attention::make_torch_backend();
  std::vector<std::int32_t> ids;
  for (std::int32_t i = 0; i < model_input_length; ++i)
    ids.push_back((i % 80) * (i % 80) * 7 % 20000 + 300);  // with repeats, to attend to
  std::vector<Input> inputs;
  model::PrefillOptions prefill;
  prefill.policy = dense.get();
  prefill.backend = prefill.dense_backend = backend.get();
  prefill.job.stop = job.stop;
  prefill.observer = [&](const attention::PreparedLayer& layer, const at::Tensor&,
                         const std::vector<attention::SupportTile>&) {
    const LayerQuery& query = layer.query();
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

// Empty, or the first row whose support is not the reference's up to keys that are as good. `textbook`: the same scores
// in the path's precision, or null; a path's scores may be off by twice what that row's are there, so that each
// exchanged key costs at most twice as much again. A mass budget may take one key more or less.
std::string compare_supports(const reference::Supports& found, const Scores& scores, const Scores* textbook,
                             const attention::PolicySettings& settings) {
  if (found.size() != scores.size()) return "the tiles cover " + std::to_string(found.size()) + " rows";
  const auto expected = reference::select(scores, *settings.budget, settings.granularity);
  const bool by_mass = settings.budget->kind == BudgetKind::mass;
  for (std::size_t row = 0; row < found.size(); ++row) {
    const auto &got = found[row], &best = expected[row];
    if (got == best) continue;
    const std::string where = "row " + std::to_string(row) + ": ";
    if (!std::is_sorted(got.begin(), got.end()) || got.empty() || got.front() < 0 ||
        got.back() > static_cast<std::int64_t>(row))
      return where + "positions out of order or out of range";
    if (!by_mass && got.size() != best.size()) return where + "wrong number of keys";
    const auto number = static_cast<std::int64_t>(row);
    const auto shared = reference::shared_scores(scores, number, settings.granularity);
    double error = 0;
    if (textbook) {
      const auto other = reference::shared_scores(*textbook, number, settings.granularity);
      for (std::size_t key = 0; key < shared.size(); ++key) error = std::max(error, std::abs(other[key] - shared[key]));
    }
    std::vector<std::int64_t> exchanged;
    std::set_symmetric_difference(got.begin(), got.end(), best.begin(), best.end(), std::back_inserter(exchanged));
    const double captured = reference::captured_mass(shared, got), most = reference::captured_mass(shared, best);
    double spare = 0;  // the best support's last key
    if (by_mass)
      spare = most - reference::captured_mass(shared, reference::top_k(shared, std::ssize(best) - 1));
    const double allowed = 4 * error * static_cast<double>(exchanged.size()) + score_slack * std::abs(most) + spare;
    if (std::abs(captured - most) > allowed)
      return where + "not the best keys: " + std::to_string(got.size()) + " of " + std::to_string(captured) +
             " in place of " + std::to_string(best.size()) + " of " + std::to_string(most) + ", allowed " +
             std::to_string(allowed);
  }
  return {};
}

/// Of the layer, or of each query head.
std::vector<Scores> mass_scores(const reference::Inputs& in, SupportScope scope) {
  std::vector<Scores> groups(static_cast<std::size_t>(scope == SupportScope::layer ? 1 : in.num_q_heads));
  for (std::size_t group = 0; group < groups.size(); ++group)
    for (std::int64_t row = 0; row < in.length; ++row)
      groups[group].push_back(scope == SupportScope::layer
                                  ? reference::mass(in, row)
                                  : reference::probabilities(in, static_cast<std::int64_t>(group), row));
  return groups;
}

/// A layer's own stream in place of a dense run's.
class OwnStream final : public attention::StreamSource {
 public:
  explicit OwnStream(const LayerQuery& query) : layer_{query.q, query.k} {}
  const attention::StreamLayer* find_layer(int) const override { return &layer_; }

 private:
  attention::StreamLayer layer_;
};

class Verification {
 public:
  Verification(c10::Device device, const JobContext& job, VerifyReport& report,
               const std::function<void(const VerifyRow&)>& on_row)
      : device_(device), job_(job), report_(report), on_row_(on_row) {}

  void input(const Input& input) {
    const reference::Inputs in = reference::inputs_of(input.query);
    const LayerQuery query = on_device(input.query, device_);
    const auto dtype = query.q.scalar_type();
    const std::vector<reference::Supports> keys = {all_keys(in.length)};
    const auto dense = reference::dense(in);
    const std::int64_t head_dims[] = {query.head_dim()};
    const auto backends = attention::make_backends(device_, dtype, head_dims);
    const auto unmodified = attention::make_dense_policy();
    for (const auto& backend : backends)
      policy("dense, " + backend->id(), input, query, *unmodified, *backend,
             [&](VerifyRow& row, const at::Tensor& out, const auto&) {
               row.error = largest_difference(out, dense.out);
               row.allowed = 2 * largest_difference(textbook(query, keys), dense.out) + rounding_slack(dense.out);
             });
    const RunCheck check = [&](const std::string& path, const std::function<void(VerifyRow&)>& work) {
      job_.check();
      VerifyRow row;
      row.path = path;
      row.shape = input.shape;
      row.dtype = dtype_text(dtype);
      finish(row, work);
    };
    if (device_.is_cpu())
      verify_kernels(input.query, check);
    else if (backends.front()->id() == "headroom")
      verify_record(query, input.query, *backends.front(), check);
    const auto mass = mass_scores(in, SupportScope::layer), head_mass = mass_scores(in, SupportScope::q_head);
    constexpr int layers[] = {0, 14, 29};
    const auto made = indexer::random_indexer(query.x.size(1), index_dim, layers);
    const auto& weights = made->layers.at(query.layer);
    const std::vector<Scores> learned = {indexer_scores(input.query, weights, made->metadata)};
    const Scores learned_textbook = textbook_indexer_scores(query, weights, made->metadata);
    for (const auto& backend : backends) {
      if (!backend->selects_its_own()) continue;  // it differs in dense attention alone
      for (const attention::PolicyEntry& entry : attention::policies()) {
        const attention::PolicyTraits& traits = entry.traits;
        if (traits.is_dense()) continue;
        const bool by_mass = traits.score == ScoreKind::mass && traits.scope != SupportScope::kv_head;
        const bool by_index = traits.score == ScoreKind::index;
        for (const char* budget : {"24", "20%", "p0.9"}) {
          attention::PolicySettings settings;
          settings.budget = parse_budget(budget);
          settings.index = made;
          settings.dense_stream = std::make_shared<OwnStream>(query);
          if (settings.budget->kind == BudgetKind::mass && !traits.takes_mass_budget) continue;
          // A budget in percent is one in tokens: once for each kind of selection is enough.
          if (settings.budget->kind == BudgetKind::fraction &&
              (traits.scope != SupportScope::layer || traits.needs_dense_stream || traits.score == ScoreKind::other))
            continue;
          for (const std::int64_t granularity : {1, 16}) {
            if (granularity > 1 && (!traits.takes_granularity || granularity < traits.least_granularity)) continue;
            settings.granularity = traits.takes_granularity ? std::max(granularity, traits.least_granularity) : 1;
            const auto one = entry.make(traits, settings);
            const auto& of_mass = traits.scope == SupportScope::layer ? mass : head_mass;
            sparse(input, query, in, *one, *backend, by_mass ? &of_mass : by_index ? &learned : nullptr,
                   by_index ? &learned_textbook : nullptr);
          }
        }
      }
    }
  }

  void selection(c10::ScalarType dtype) {
    for (const SelectionCase& test : selection_cases()) {
      const LayerQuery query = on_device(random_input(test.length, 1, 1, 64, dtype).query, device_);
      const std::int64_t head_dims[] = {query.head_dim()};
      for (const auto& backend : attention::make_backends(device_, dtype, head_dims)) {
        if (!backend->selects_its_own()) continue;
        job_.check();
        VerifyRow row;
        row.path = "select, " + backend->id() + ": " + test.text();
        row.dtype = dtype_text(dtype);
        row.shape = "L " + std::to_string(test.length);
        finish(row, [&](VerifyRow& checked) { checked.note = judge_selection(*backend->prepare(query, job_), test); });
      }
    }
  }

  /// On a GPU, whose kernels for them round as the textbook does; the CPU computes them by LibTorch alone.
  void linear_layers() {
    if (!device_.is_cuda()) return;
    for (const DeltaCase& test : delta_cases()) {
      job_.check();
      VerifyRow row;
      row.path = "linear layer, headroom";
      row.shape = test.text();
      row.dtype = dtype_text(at::kBFloat16);
      const attention::CudaModule module = attention::open_cuda_module(device_, at::kBFloat16);
      row.ran = module.kernels != nullptr && module.kernels->delta_net;
      finish(row, [&](VerifyRow& checked) {
        if (checked.ran)
          judge_delta(test, *module.kernels, device_, checked);
        else
          checked.note = module.why_not;
      });
    }
  }

  void windows(c10::ScalarType dtype) {
    verify_windows(device_, dtype, [&](const std::string& path, const std::function<void(VerifyRow&)>& work) {
      job_.check();
      VerifyRow row;
      row.path = path;
      row.dtype = dtype_text(dtype);
      finish(row, work);
    });
  }

  void decoder(c10::ScalarType dtype) {
    model::ModelConfig config;
    config.architecture = "llama";
    config.name = "a small random model";
    config.width = 64;
    model::LayerSpec layer;
    layer.attention.num_q_heads = 4;
    layer.attention.num_kv_heads = 2;
    layer.attention.head_dim = layer.attention.rope.dims = 32;
    layer.attention.scale = 1 / std::sqrt(32.0);
    layer.mlp.width = 96;
    config.layers.assign(2, layer);
    config.vocabulary = 200;
    config.context_length = 64;
    config.tied_output = true;
    model::RandomCheckpoint file(config, 3);
    file.be_the_same_everywhere();  // the reference reads it on the host
    std::vector<std::int32_t> ids;
    for (std::int32_t i = 0; i < 40; ++i) ids.push_back(i * i * 11 % 200);
    const auto expected = reference_logits(file, config, ids);
    const double allowed =
        2 * largest_difference(textbook_logits(file, config, ids, dtype, device_), expected) + rounding_slack(expected);
    const auto check = [&](const char* path, const auto& work) {
      job_.check();
      VerifyRow row;
      row.path = path;
      row.shape = "L 40, 2 layers of width 64";
      row.dtype = dtype_text(dtype);
      row.allowed = allowed;
      finish(row, work);
    };
    const std::vector<double> last(expected.end() - config.vocabulary, expected.end());
    model::DecoderOptions options;
    options.parts = model::on_one_device(device_);
    options.dtype = dtype;
    const auto decoder = model::load_decoder(file, config, options, {});
    const auto dense = attention::make_dense_policy();
    const auto backend = attention::make_backends(device_, dtype, full_head_dims(config)).front();
    model::PrefillOptions prefill;
    prefill.policy = dense.get();
    prefill.backend = prefill.dense_backend = backend.get();
    prefill.extra_capacity = 10;
    check("decoder, prefill",
          [&](VerifyRow& row) { row.error = largest_difference(decoder->prefill(ids, prefill).last_logits, last); });
    check("decoder, all logits",
          [&](VerifyRow& row) { row.error = largest_difference(decoder->logits(ids, {}), expected); });
    check("decoder, cache", [&](VerifyRow& row) {
      auto result = decoder->prefill(std::span(ids).first(30), prefill);
      at::Tensor logits;
      for (std::size_t i = 30; i < ids.size(); ++i) logits = decoder->decode(result.state, ids[i]);
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
              const attention::Backend& backend, const auto& judge) {
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
          const at::Tensor out = attention::attend(policy, backend, query, clock, keep, {});
          judge(checked, out, tiles);
          if (checked.note.empty() && !at::equal(attention::attend(policy, backend, query, clock, {}, {}), out))
            checked.note = "a second call gives other bits";
        },
        path == "dense, fa2" || path == "dense, cudnn");
  }

  void sparse(const Input& input, const LayerQuery& query, const reference::Inputs& in, const attention::Policy& made,
              const attention::Backend& backend, const std::vector<Scores>* scores, const Scores* in_precision) {
    const attention::PolicySettings& settings = made.settings();
    std::string path = std::string(made.traits().name) + " " + to_string(*settings.budget);
    if (settings.granularity > 1) path += ", " + std::to_string(settings.granularity) + " rows a block";
    path += ", " + backend.id();
    policy(path, input, query, made, backend,
           [&](VerifyRow& row, const at::Tensor& out, const std::vector<attention::SupportTile>& tiles) {
             std::vector<reference::Supports> supports;
             const auto groups = num_support_groups(made.traits().scope, in.num_q_heads, in.num_kv_heads);
             // A layer that the method leaves dense has no tiles.
             for (std::int64_t group = 0; !tiles.empty() && group < groups; ++group) {
               supports.push_back(supports_of(tiles, group));
               if (scores && row.note.empty())
                 row.note = compare_supports(supports.back(), (*scores)[static_cast<std::size_t>(group)], in_precision,
                                             settings);
               if (static_cast<std::int64_t>(supports.back().size()) != in.length)
                 row.note = "the tiles do not cover every row once";
             }
             if (tiles.empty()) supports = {all_keys(in.length)};
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
  const auto choice = model::open_one_device(device, "verify");
  require_room_for_model_inputs();
  const at::NoGradGuard no_grad;
  VerifyReport report;
  report.device = choice.description;
  report.device_note = choice.note;
  Verification verification(choice.device, job, report, on_row);
  verification.linear_layers();
  for (const c10::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    verification.decoder(dtype);
    verification.windows(dtype);
    verification.selection(dtype);
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
