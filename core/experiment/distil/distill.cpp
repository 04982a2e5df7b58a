// SPDX-License-Identifier: Apache-2.0
#include "experiment/distil/distill.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>

#include "attention/registry.h"
#include "base/output_file.h"
#include "checkpoint/adapter.h"
#include "checkpoint/safetensors_file.h"
#include "experiment/distil/training_text.h"
#include "experiment/run/memory_estimate.h"
#include "experiment/run/session.h"
#include "indexer/training.h"
#include "model/adapted_checkpoint.h"
#include "model/decoder.h"
#include "model/device.h"
#include "protocol/json_fields.h"
#include "tokenizer/chat_template.h"

namespace headroom::experiment {
namespace fs = std::filesystem;
using nlohmann::json;
namespace {

constexpr double norm_epsilon = 1e-6;
constexpr std::int64_t max_rows_per_step = 1024;

/// Training prompts are wrapped as the model's chat format is, where that is ChatML.
bool speaks_chatml(const checkpoint::Checkpoint& checkpoint) {
  return tokenizer::find_chat_template(checkpoint) == tokenizer::ChatTemplate::known;
}

double learning_rate(const DistillSpec& spec, std::int64_t step) {
  if (step < spec.warmup) return spec.learning_rate * static_cast<double>(step + 1) / static_cast<double>(spec.warmup);
  const double span = static_cast<double>(std::max<std::int64_t>(1, spec.steps - spec.warmup));
  const double progress = static_cast<double>(step - spec.warmup) / span;
  return spec.learning_rate * (0.01 + 0.99 * 0.5 * (1 + std::cos(std::numbers::pi * progress)));
}

/// Of those behind the first quarter.
std::int64_t sampled_rows(std::int64_t length, double fraction) {
  const std::int64_t available = length - length / 4;
  return std::clamp<std::int64_t>(std::llround(fraction * static_cast<double>(available)), 1,
                                  std::min(available, max_rows_per_step));
}

/// Ascending row numbers, a share of those behind the first quarter.
at::Tensor sample_rows(std::int64_t length, double fraction, std::uint64_t seed, c10::Device device) {
  const std::int64_t first = length / 4, wanted = sampled_rows(length, fraction);
  std::mt19937_64 random(seed * 0x9e3779b97f4a7c15ull + 2);
  std::vector<std::int64_t> rows;
  // Selection sampling: each row is taken with probability (still wanted) / (still there).
  for (std::int64_t row = first; row < length; ++row)
    if (static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(length - row)) <
        wanted - static_cast<std::int64_t>(rows.size()))
      rows.push_back(row);
  return at::from_blob(rows.data(), {static_cast<std::int64_t>(rows.size())}, at::kLong).clone().to(device);
}

class Distillation {
 public:
  Distillation(const DistillSpec& spec, const JobContext& job, const DistillCallbacks& callbacks)
      : spec_(spec),
        callbacks_(callbacks),
        out_(spec.out, OutputKind::file),
        state_(spec.out + ".state", OutputKind::file),
        choice_(open_device(spec.device)),
        device_(choice_.device),
        checkpoint_(model::open_model(spec.model, spec.adapter, job)),
        tokenizer_(tokenizer::make_tokenizer(*checkpoint_, model::read_model_config(*checkpoint_).vocabulary)),
        text_(*tokenizer_, split_texts(read_inputs()), speaks_chatml(*checkpoint_)),
        dense_(attention::make_dense_policy()),
        decoder_(load(job)),
        backend_(attention::make_torch_backend()) {
    const auto& config = decoder_->config();
    for (std::size_t layer = 0; layer < config.layers.size(); ++layer)
      if (config.layers[layer].kind == model::LayerKind::full)
        trainers_.emplace(static_cast<int>(layer), indexer::LayerTrainer(config.width, spec.index_dim, norm_epsilon,
                                                                         spec.seed * 1000 + layer, device_));
    for (const std::int64_t budget : spec.recall_budgets)
      if (const auto k = std::min(budget, spec.length / 2); std::ranges::find(budgets_, k) == budgets_.end())
        budgets_.push_back(k);
    if (const auto passed_over = text_.split().passed_over; passed_over > 0)
      notice("--text: passed over, as no UTF-8 text of 200 bytes to 16 MB: " + std::to_string(passed_over) +
             " of the files");
  }

  DistillFigures train(const JobContext& job) {
    if (spec_.resume) load_state();
    std::int64_t saved_at = step_;
    try {
      while (step_ < spec_.steps) {
        job.check();
        train_step(job);
        tell_left_out();
        if (step_ % spec_.eval_every == 0 || step_ == spec_.steps) {
          figures_ = evaluate(job);
          save();
          saved_at = step_;
          if (callbacks_.evaluated) callbacks_.evaluated(figures_);
        }
      }
      if (figures_.together.layers.empty()) figures_ = evaluate(job);  // resumed at its end
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::cancelled && step_ > saved_at) save();
      throw;
    }
    save();
    return figures_;
  }

 private:
  /// Once, as soon as it is known: such bytes are in every sequence that holds them, and missing from it.
  void tell_left_out() {
    if (told_left_out_ || text_.left_out_bytes() == 0) return;
    told_left_out_ = true;
    notice("--text: bytes without a token in this model's vocabulary are left out, " +
           std::to_string(text_.left_out_bytes()) + " of those that were drawn so far");
  }

  void notice(const std::string& text) const {
    if (callbacks_.notice) callbacks_.notice(text);
  }

  /// The text; what is written must be none of what is read.
  Texts read_inputs() const {
    Texts texts = read_texts({spec_.texts.begin(), spec_.texts.end()});
    auto inputs = checkpoint_->files();
    inputs.insert(inputs.end(), texts.paths.begin(), texts.paths.end());
    out_.must_not_be(inputs);
    state_.must_not_be(inputs);
    return texts;
  }

  model::DeviceChoice open_device(const std::string& request) const {
    auto choice = model::open_one_device(request, "distill");
    if (!choice.note.empty()) notice(choice.note);
    return choice;
  }

  std::unique_ptr<model::Decoder> load(const JobContext& job) const {
    checkpoint_->hash(job);  // it stands in what is saved
    const auto config = model::read_model_config(*checkpoint_);
    model::require_full_layer(config);
    if (spec_.length > config.context_length)
      throw usage_error("--length " + std::to_string(spec_.length) + " is past the model's context of " +
                        std::to_string(config.context_length));
    model::DecoderOptions options;
    options.parts = model::on_one_device(device_);
    options.dtype = resolve_dtype(spec_.dtype, device_);
    MemoryWorkload work;
    work.length = spec_.length;
    work.methods = {dense_.get()};
    work.own = [&](std::int64_t length) { return training_bytes(config, length); };
    refuse_what_cannot_fit(*checkpoint_, config, *options.dtype, choice_, work);
    return model::load_decoder(*checkpoint_, config, options, job);
  }

  /// Of the layers' weights with both moments, and of the largest layer's step (indexer/training.cpp): the mass of the
  /// sampled rows with one KV head's probabilities in three steps, scores beside it, x and its projections in fp32.
  std::int64_t training_bytes(const model::ModelConfig& config, std::int64_t length) const {
    const std::int64_t rows = sampled_rows(length, spec_.row_fraction), pairs = rows * length;
    std::int64_t values = 0, step = 0;
    for (const auto& layer : config.layers) {
      if (layer.kind != model::LayerKind::full) continue;
      values += 3 * (2 * config.width + 1) * spec_.index_dim;
      const auto group = layer.attention.num_q_heads / layer.attention.num_kv_heads;
      step = std::max(step, pairs * (2 + std::max<std::int64_t>(3 * group, 4)) +
                                (length + rows) * (config.width + 4 * spec_.index_dim));
    }
    return 4 * (values + step);
  }

  /// Runs the frozen model densely and shows every full layer's q, k, x to `visit`.
  void prefill(const std::vector<std::int32_t>& ids, const JobContext& job,
               const std::function<void(int, const attention::LayerQuery&)>& visit) const {
    model::PrefillOptions options;
    options.policy = dense_.get();
    options.backend = options.dense_backend = backend_.get();
    options.observer = [&](const attention::PreparedLayer& layer, const at::Tensor&, const auto&) {
      visit(layer.query().layer, layer.query());
    };
    options.job = {job.stop, {}};
    decoder_->prefill(ids, options);
  }

  void train_step(const JobContext& job) {
    const auto started = std::chrono::steady_clock::now();
    const auto seed = static_cast<std::uint64_t>(step_);
    const auto ids = text_.sequence(Part::training, spec_.length, seed);
    const at::Tensor rows = sample_rows(spec_.length, spec_.row_fraction, seed, device_);
    const double rate = learning_rate(spec_, step_);
    at::Tensor kl = at::zeros({}, at::TensorOptions(at::kFloat).device(device_));
    prefill(ids, job, [&](int layer, const attention::LayerQuery& query) {
      kl.add_(trainers_.at(layer).step(query, rows, rate, {}));
    });
    last_kl_ = kl.item<double>() / static_cast<double>(trainers_.size());
    if (!std::isfinite(last_kl_))
      throw Error(ErrorKind::internal,
                  "the loss is not finite at step " + std::to_string(step_) + "; the last save is intact");
    ++step_;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
    char phase[96];
    std::snprintf(phase, sizeof phase, "step %lld/%lld · KL %.3f", static_cast<long long>(step_),
                  static_cast<long long>(spec_.steps), last_kl_);
    std::string text = phase;
    if (!figures_.together.layers.empty()) {
      std::snprintf(phase, sizeof phase, " · held-out recall %.3f", figures_.together.mean.budgets.front().recall);
      text += phase;
    }
    job.report({text, step_, spec_.steps, -1, static_cast<double>(spec_.length) / took.count(),
                took.count() * static_cast<double>(spec_.steps - step_)});
  }

  DistillFigures evaluate(const JobContext& job) const {
    std::vector<LayerScores> all, text, needles;
    for (std::int64_t i = 0; i < spec_.held_out; ++i) {
      const auto seed = static_cast<std::uint64_t>(i);
      const at::Tensor rows = sample_rows(spec_.length, spec_.row_fraction, seed, device_);
      auto& scores = all.emplace_back();
      prefill(text_.sequence(Part::evaluation, spec_.length, seed), job,
              [&](int layer, const attention::LayerQuery& query) {
                scores[layer] = trainers_.at(layer).evaluate(query, rows, budgets_);
              });
      (text_.family(seed) == Family::text ? text : needles).push_back(scores);
    }
    DistillFigures figures;
    figures.step = step_;
    figures.split = text_.split();
    figures.together = average(all);
    if (!text.empty()) figures.text = average(text);
    if (!needles.empty()) figures.needles = average(needles);
    return figures;
  }

  const fs::path& state_file() const { return state_.asked(); }

  void save() {
    indexer::Indexer result;
    result.metadata.index_dim = spec_.index_dim;
    result.metadata.base_model_sha256 = checkpoint_->hash();
    result.metadata.base_model_name = decoder_->config().name;
    result.metadata.trained_length = spec_.length;
    result.metadata.steps = step_;
    result.metadata.norm_epsilon = norm_epsilon;
    json recipe = to_json(spec_);
    // Paths of the machine that trained do not belong into a file that is passed on.
    for (const char* field : {"out", "texts", "resume"}) recipe.erase(field);
    recipe["model"] = fs::path(spec_.model).filename().string();
    if (const auto* adapter = checkpoint_->adapter()) recipe["adapter"] = adapter->name();
    result.metadata.recipe = dump_json(recipe);
    if (!figures_.together.layers.empty()) result.metadata.held_out = to_json(figures_).dump();
    std::vector<at::Tensor> kept;
    std::vector<checkpoint::TensorToWrite> tensors;
    for (const auto& [layer, trainer] : trainers_) {
      result.layers[layer] = trainer.weights();
      for (const auto& [name, tensor] : trainer.state()) {
        kept.push_back(tensor.to(at::kCPU).contiguous());
        tensors.push_back({std::to_string(layer) + "." + name,
                           tensor.sizes().vec(),
                           checkpoint::DType::f32,
                           {static_cast<const std::uint8_t*>(kept.back().const_data_ptr()), kept.back().nbytes()}});
      }
    }
    const fs::path before = out_.asked(), saved = indexer::save_indexer(result, out_);
    if (saved != before) notice("this indexer is " + describe_output(before, saved));
    if (callbacks_.saved) callbacks_.saved(saved);
    checkpoint::write_safetensors(state_, tensors,
                                  {{"spec", dump_json(to_json(spec_))},
                                   {"step", std::to_string(step_)},
                                   {"model_sha256", checkpoint_->hash()},
                                   {"text", text_.split().fingerprint}});
  }

  void load_state() {
    const auto file = checkpoint::SafetensorsFile::open(state_file());
    const auto entry = [&](const char* key) {
      const auto found = file->metadata().find(key);
      if (found == file->metadata().end())
        throw input_error(state_file().string(), std::string("is no training state: it has no ") + key);
      return found->second;
    };
    if (entry("model_sha256") != checkpoint_->hash())
      throw input_error(state_file().string(), "belongs to another model", checkpoint_->hash(), entry("model_sha256"));
    if (entry("text") != text_.split().fingerprint)
      throw input_error(state_file().string(), "was trained on other text", "the text that it began with",
                        text_.split().fingerprint.empty() ? "no text" : "another content or number of files");
    const DistillSpec before = distill_spec_from_json(protocol::parse_json(entry("spec"), state_file().string()));
    if (before.index_dim != spec_.index_dim || before.seed != spec_.seed)
      throw input_error(state_file().string(), "was trained with other settings",
                        "index_dim " + std::to_string(spec_.index_dim) + ", seed " + std::to_string(spec_.seed),
                        "index_dim " + std::to_string(before.index_dim) + ", seed " + std::to_string(before.seed));
    try {
      step_ = std::stoll(entry("step"));
    } catch (const std::exception&) {
      step_ = -1;
    }
    if (step_ < 0 || step_ > spec_.steps)
      throw input_error(state_file().string(), "step is out of range", "0 to " + std::to_string(spec_.steps),
                        entry("step"));
    for (auto& [layer, trainer] : trainers_) {
      std::map<std::string, at::Tensor> state;
      for (const auto& [name, like] : trainer.state()) {
        const std::string stored = std::to_string(layer) + "." + name;
        const checkpoint::TensorInfo* info = file->find(stored);
        if (!info || info->shape != like.sizes().vec())
          throw input_error(state_file().string(), "tensor " + stored + " is missing or has another shape");
        at::Tensor values = at::empty(like.sizes(), at::kFloat);
        file->read_f32(stored, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())});
        state[name] = values.to(device_);
      }
      trainer.load_state(state, step_);
    }
  }

  DistillSpec spec_;
  const DistillCallbacks& callbacks_;
  OutputPlace out_, state_;
  model::DeviceChoice choice_;
  c10::Device device_;
  std::unique_ptr<checkpoint::Checkpoint> checkpoint_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;
  TrainingText text_;
  std::unique_ptr<attention::Policy> dense_;
  std::unique_ptr<model::Decoder> decoder_;
  std::shared_ptr<const attention::Backend> backend_;  ///< LibTorch: q, k and x are shown, nothing is packed
  std::map<int, indexer::LayerTrainer> trainers_;
  std::vector<std::int64_t> budgets_;  ///< k of held-out figures
  std::int64_t step_ = 0;
  double last_kl_ = 0;
  bool told_left_out_ = false;
  DistillFigures figures_;
};

void validate(const DistillSpec& spec) {
  if (spec.model.empty()) throw usage_error("distill: no model given");
  if (spec.out.empty()) throw usage_error("distill: --out is missing");
  if (spec.index_dim % 2 != 0) throw usage_error("--index-dim must be even, found " + std::to_string(spec.index_dim));
}

}  // namespace

json to_json(const DistillSpec& spec) {
  return {{"model", spec.model},
          {"adapter", spec.adapter ? json(*spec.adapter) : json()},
          {"out", spec.out},
          {"texts", spec.texts},
          {"steps", spec.steps},
          {"length", spec.length},
          {"index_dim", spec.index_dim},
          {"learning_rate", spec.learning_rate},
          {"warmup", spec.warmup},
          {"row_fraction", spec.row_fraction},
          {"eval_every", spec.eval_every},
          {"held_out", spec.held_out},
          {"recall_budgets", spec.recall_budgets},
          {"seed", spec.seed},
          {"device", spec.device},
          {"dtype", spec.dtype},
          {"resume", spec.resume}};
}

DistillSpec distill_spec_from_json(const json& object) {
  protocol::Fields fields(object, "distill", ErrorKind::usage);
  DistillSpec spec;
  spec.model = fields.string("model");
  spec.adapter = fields.optional_string("adapter");
  spec.out = fields.string("out");
  if (fields.has("texts")) spec.texts = fields.strings("texts", 1000);
  spec.steps = fields.integer_or("steps", spec.steps, 1, 1'000'000);
  spec.length = fields.integer_or("length", spec.length, 64, 1 << 20);
  spec.index_dim = fields.integer_or("index_dim", spec.index_dim, 8, 1024);
  spec.learning_rate = fields.number_or("learning_rate", spec.learning_rate, 1e-8, 1);
  spec.warmup = fields.integer_or("warmup", spec.warmup, 1, 100'000);
  spec.row_fraction = fields.number_or("row_fraction", spec.row_fraction, 1e-6, 1);
  spec.eval_every = fields.integer_or("eval_every", spec.eval_every, 1, 1'000'000);
  spec.held_out = fields.integer_or("held_out", spec.held_out, 1, 1000);
  if (fields.has("recall_budgets")) spec.recall_budgets = fields.integers("recall_budgets", 8, 1, 1 << 20);
  spec.seed = static_cast<std::uint64_t>(fields.integer_or("seed", static_cast<std::int64_t>(spec.seed), 0, 1LL << 53));
  spec.device = fields.string_or("device", spec.device);
  spec.dtype = fields.string_or("dtype", spec.dtype);
  spec.resume = fields.boolean_or("resume", spec.resume);
  fields.refuse_unknown();
  if (spec.dtype != "auto" && spec.dtype != "bf16" && spec.dtype != "f32")
    fields.fail("dtype", "auto, bf16 or f32", spec.dtype);
  if (spec.recall_budgets.empty()) fields.fail("recall_budgets", "at least one", "none");
  return spec;
}

DistillFigures distill(const DistillSpec& spec, const JobContext& job, const DistillCallbacks& callbacks) {
  validate(spec);
  const c10::InferenceMode no_autograd;
  Distillation distillation(spec, job, callbacks);
  return distillation.train(job);
}

}  // namespace headroom::experiment
