// SPDX-License-Identifier: Apache-2.0
#include "experiment/streams/import.h"

#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <nlohmann/json.hpp>

#include "attention/attend.h"
#include "attention/registry.h"
#include "attention/stream_source.h"
#include "base/json_fields.h"
#include "experiment/passes/recorded_pass.h"
#include "experiment/passes/torch_errors.h"
#include "experiment/run/indexer_choice.h"
#include "experiment/run/memory_estimate.h"
#include "experiment/run/new_meta.h"
#include "experiment/run/progress_plan.h"
#include "experiment/run/record_builder.h"
#include "experiment/streams/streams.h"
#include "model/device.h"
#include "record/static_stream.h"

namespace headroom::experiment {
namespace {

constexpr std::chrono::milliseconds import_write_after_cancel{400};
constexpr std::int64_t import_bitmap_limits = 4;  // bitmaps shrink in the record

/// What the model itself chose, as a policy that knows it beforehand.
class OwnSelection final : public attention::Policy {
 public:
  OwnSelection(const Streams& streams, std::int64_t most)
      : Policy(traits_of(streams), {Budget{BudgetKind::tokens, static_cast<double>(most)}, 1, {}, nullptr}),
        streams_(streams) {}

  attention::Selection select(const attention::PreparedLayer& layer, StageClock&, const JobContext&) const override {
    const auto bitmaps = std::make_shared<const std::vector<SupportBitmap>>(streams_.selection(layer.query().layer));
    attention::WrittenKeys keys;
    keys.most = settings().budget->tokens_for(streams_.length());
    keys.groups = std::ssize(*bitmaps);
    keys.write = attention::WrittenKeys::by_row([bitmaps](std::int64_t group, std::int64_t row, std::int32_t* to) {
      const SupportBitmap& bitmap = (*bitmaps)[static_cast<std::size_t>(group)];
      std::int64_t count = 0;
      for (std::int64_t key = 0; key <= row; ++key)
        if (bitmap.test(row, key)) to[count++] = static_cast<std::int32_t>(key);
      return count;
    });
    return keys;
  }

 private:
  static attention::PolicyTraits traits_of(const Streams& streams) {
    attention::PolicyTraits traits;
    traits.name = selected_method;
    traits.title = "The model's own selection";
    traits.definition = "The keys that the model itself attended to, as the imported file says.";
    traits.source = "the imported file";
    traits.scope = streams.selection_scope();
    traits.score = ScoreKind::other;
    traits.look = 6;
    traits.takes_granularity = false;
    return traits;
  }

  const Streams& streams_;
};

/// What methods read that choose by a dense run's q and k: the imported ones are a dense run's, layer by layer.
class LayerInHand final : public attention::StreamSource {
 public:
  void hold(const attention::LayerQuery& query) {
    layer_ = {query.q, query.k};
    number_ = query.layer;
  }
  const attention::StreamLayer* find_layer(int layer) const override { return layer == number_ ? &layer_ : nullptr; }

 private:
  attention::StreamLayer layer_;
  int number_ = -1;
};

/// How many keys the rows of the model's own selection have.
struct SelectionSize {
  std::int64_t most = 0;
  bool even = true;  ///< every row has min(most, its history)
};
SelectionSize selection_size(const Streams& streams, const JobContext& job) {
  SelectionSize size;
  std::vector<std::int64_t> least(static_cast<std::size_t>(streams.length()), std::numeric_limits<std::int64_t>::max());
  for (int layer = 0; layer < streams.config().num_layers(); ++layer) {
    if (!streams.config().is_full(layer)) continue;
    job.check();
    for (const SupportBitmap& bitmap : streams.selection(layer))
      for (std::int64_t row = 0; row < streams.length(); ++row) {
        const auto count = bitmap.count(row, 0, row + 1);
        size.most = std::max(size.most, count);
        auto& fewest = least[static_cast<std::size_t>(row)];
        fewest = std::min(fewest, count);
      }
  }
  for (std::int64_t row = 0; row < streams.length(); ++row)
    size.even = size.even && least[static_cast<std::size_t>(row)] == std::min(size.most, row + 1);
  return size;
}

class Import {
 public:
  Import(const ImportSpec& spec, const JobContext& job, const RunCallbacks& callbacks)
      : spec_(spec),
        job_(job),
        callbacks_(callbacks),
        device_(model::open_one_device(spec.device, "import")),
        out_(spec.out, OutputKind::file),
        streams_(spec.streams),
        backends_(attention::make_backends(device_.device, streams_.dtype(), full_head_dims(streams_.config()))) {
    out_.must_not_be(std::vector<std::filesystem::path>{spec.streams});
    check_full_layers(spec.keep_layers, "--keep-layers", streams_.config());
    refuse_what_cannot_fit();
    list();
  }

  RunOutcome operator()() {
    outcome_.tokens = streams_.length();
    outcome_.meta = meta();
    StreamStore store(out_.folder(), import_bitmap_limits * spec_.record_limit);
    ProgressPlan progress(job_, streams_.length(), streams_.config().num_layers(), std::ssize(methods_));
    RecordBuilder builder({streams_.config(), streams_.tokens(), streams_.dtype(), spec_.keep_layers,
                           spec_.keep_queries, spec_.record_limit, std::ssize(methods_)},
                          out_, outcome_.meta, store);
    try {
      translate_errors([&] { methods(store, builder, progress); });
    } catch (const Error&) {
      outcome_.meta.complete = false;
      if (!outcome_.methods.empty()) write(builder, progress, import_write_after_cancel);
      throw;
    }
    write(builder, progress, {});
    job_.check();
    return std::move(outcome_);
  }

 private:
  /// One layer at a time: q, k and v as they are read, in fp32 and as the analysis packs them, q and k once more where
  /// a method reads a dense run's; bitmaps of a method's supports, of the best choice, of what is wasted, and their
  /// copies.
  void refuse_what_cannot_fit() const {
    const std::int64_t length = streams_.length();
    std::int64_t values = 0;
    for (int layer = 0; layer < streams_.config().num_layers(); ++layer) {
      const auto& sizes = streams_.config().layer(layer).attention;
      if (streams_.config().is_full(layer))
        values = std::max(values, (sizes.num_q_heads + 2 * sizes.num_kv_heads) * length * sizes.head_dim);
    }
    const std::int64_t bitmap = length * ((length + 7) / 8);
    const auto host = host_memory(device_.device);
    const auto needed = resident_program_bytes(device_.device) + 16 * values +
                        (6 + 2 * streams_.selection_groups()) * bitmap + host.mapped_only;
    refuse_memory("this machine", {needed, host.free, host.limit, "fewer tokens would fit"});
  }

  void list() {
    MethodRequest request = spec_.methods;
    const bool chosen = !request.names.empty();
    bool own = !chosen && streams_.has_selection();
    if (const auto found = std::ranges::find(request.names, selected_method); found != request.names.end()) {
      if (!streams_.has_selection())
        throw input_error(streams_.path().string(), "the file does not say what the model selected",
                          "tensors 'layers.N.selected'", "none");
      request.names.erase(found);
      own = true;
    }
    if (!chosen)
      for (const std::string& name : default_methods(false)) request.names.push_back(name);
    const auto no_index = []() -> std::shared_ptr<const attention::IndexSource> {
      throw usage_error(
          "--methods: an indexer reads the layers' inputs, which imported streams do not hold; found indexer, expected "
          "methods that need q and k alone");
    };
    methods_ = list_methods(request, no_index, in_hand_);
    for (const Method& method : methods_) {
      method.policy->check_length(streams_.length());
      if (method.policy->traits().needs_values && !streams_.has_values())
        throw usage_error(
            "--methods: " + std::string(method.policy->traits().name) +
            " reads the layers' values, which this file does not hold; expected methods that need q and k "
            "alone");
    }
    if (!own) return;
    const auto size = selection_size(streams_, job_);
    even_selection_ = size.even;
    methods_.push_back({selected_method, std::make_shared<OwnSelection>(streams_, size.most)});
  }

  record::RunMeta meta() const {
    record::RunMeta meta = new_meta();
    const auto file = std::filesystem::path(spec_.streams).filename().string();
    nlohmann::json said = {{"import", file}, {"record_limit", spec_.record_limit}};
    meta.spec_json = dump_json(said);
    meta.model_name = streams_.config().name;
    meta.model_path = file;
    meta.model_sha256 = streams_.hash(job_);
    meta.architecture = streams_.config().architecture;
    meta.device = device_.description;
    meta.dtype = streams_.dtype() == c10::ScalarType::BFloat16 ? "bf16" : "f32";
    meta.context = streams_.length();
    meta.layers = streams_.layers();
    meta.warnings.push_back("Imported from " + file +
                            ": q and k of the unmodified model in every layer (static), so nothing here says how a "
                            "method changes the layers behind it; no times and no answers.");
    const auto omitted = std::ranges::count(meta.layers, "omitted", &record::LayerMeta::kind);
    if (omitted > 0)
      meta.warnings.push_back("Of the model's layers " + std::to_string(omitted) + " were left out of the file.");
    if (streams_.has_values())
      meta.warnings.push_back(
          "Drift is the distance of each layer's attention output to the dense one, layer by layer.");
    return meta;
  }

  void methods(StreamStore& store, RecordBuilder& builder, ProgressPlan& progress) {
    const c10::InferenceMode guard;
    if (callbacks_.prepared) callbacks_.prepared(outcome_.meta, outcome_.tokens);
    RecordedPass recorded(streams_.config(), streams_.length(), store, true);
    for (const Method& method : methods_) {
      MethodData data;
      data.summary = describe(method, *backends_.front(), streams_.length());
      data.summary.label = record::static_label;
      data.summary.plan = "not timed";
      if (method.id == selected_method && !even_selection_) data.summary.budget_tokens = 0;
      model::PrefillOptions pass;
      pass.policy = method.policy.get();
      pass.backend = pass.dense_backend = backends_.front().get();
      pass.job = progress.begin(method.id, true);
      recorded.run(pass, [this](const auto& options) { return layers(options); }, data);
      progress.end();
      outcome_.methods.push_back(data.summary);
      if (callbacks_.method_finished) callbacks_.method_finished(data.summary);
      builder.add(data);
      model::release_unused_memory();
    }
  }

  model::PrefillResult layers(const model::PrefillOptions& options) const {
    StageClock untimed;
    for (int number = 0; number < streams_.config().num_layers(); ++number) {
      if (!streams_.config().is_full(number)) continue;
      options.job.check();
      options.job.report({{}, number, streams_.config().num_layers(), number});
      attention::LayerQuery query = streams_.layer(number);
      for (at::Tensor* part : {&query.x, &query.q, &query.k, &query.v}) *part = part->to(device_.device);
      in_hand_->hold(query);
      const auto prepared = options.backend->prepare(query, options.job);
      std::vector<attention::SupportTile> tiles;
      const at::Tensor output = attention::attend(
          *options.policy, *prepared, untimed, [&](const auto& tile) { tiles.push_back(tile); }, options.job);
      options.observer(*prepared, output, tiles);
      if (streams_.has_values())
        options.hidden_observer(number, output.transpose(0, 1).reshape({streams_.length(), -1}));
    }
    return {};
  }

  void write(RecordBuilder& builder, ProgressPlan& progress, std::optional<std::chrono::milliseconds> deadline) {
    const auto written = builder.finish(outcome_.meta, progress, job_, deadline);
    outcome_.record_path = written.string();
    if (written != out_.asked() && callbacks_.notice)
      callbacks_.notice("this record is " + describe_output(out_.asked(), written));
    if (callbacks_.record_written) callbacks_.record_written(outcome_.meta, outcome_.record_path);
  }

  const ImportSpec& spec_;
  const JobContext& job_;
  const RunCallbacks& callbacks_;
  model::DeviceChoice device_;
  OutputPlace out_;
  Streams streams_;
  std::vector<std::shared_ptr<const attention::Backend>> backends_;
  std::shared_ptr<LayerInHand> in_hand_ = std::make_shared<LayerInHand>();
  std::vector<Method> methods_;
  bool even_selection_ = true;
  RunOutcome outcome_;
};

}  // namespace

RunOutcome import_streams(const ImportSpec& spec, const JobContext& job, const RunCallbacks& callbacks) {
  return Import(spec, job, callbacks)();
}

}  // namespace headroom::experiment
