// SPDX-License-Identifier: Apache-2.0
#include "model/decoder.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <new>
#include <utility>

#include "attention/attend.h"
#include "attention/registry.h"
#include "base/error.h"
#include "kernels/cpu/isa.h"
#include "model/parts.h"
#include "model/row_kernels.h"
#include "model/row_pieces.h"

namespace headroom::model {
namespace {

using attention::LayerQuery;

// LibTorch reports exhausted memory as its own errors; here they get the exit code of a missing device.
template <typename F>
auto with_memory_errors(F&& work) {
  try {
    return work();
  } catch (const c10::OutOfMemoryError& error) {
    throw device_error("not enough memory on the device", {}, error.what_without_backtrace());
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    if (text.find("DefaultCPUAllocator") != std::string::npos) throw device_error("not enough memory", {}, text);
    throw Error(ErrorKind::internal, "LibTorch: " + text);
  } catch (const std::bad_alloc&) {
    throw device_error("not enough memory");
  }
}

struct Layer {
  std::unique_ptr<Mixer> mixer;
  std::unique_ptr<Mlp> mlp;
  at::Tensor mixer_norm, mlp_norm;              // [width]
  at::Tensor mixer_after_norm, mlp_after_norm;  // [width] or undefined
};

class LayerDecoder final : public Decoder {
 public:
  LayerDecoder(const checkpoint::Checkpoint& file, const ModelConfig& config, const Parts& parts,
               const DecoderOptions& options, const JobContext& job)
      : config_(config), parts_(options.parts), device_(parts_.at(0).device), dtype_(choose_dtype(options)) {
    const std::string place = file.path().string();
    check_config(config_, place);
    check_parts();
    const std::vector<std::pair<const MixerType*, const MlpType*>> types = find_parts(parts, place);
    ModelWeights weights = load_weights(file, parts.family.plan(file, config_), parts_, dtype_, job);
    if (weights.layers.size() != types.size())
      throw Error(ErrorKind::internal, "the family's plan has another number of layers");
    part_bytes_.resize(parts_.size());
    part_bytes_[0] = weights.ends.bytes();
    for (std::size_t i = 0; i < weights.layers.size(); ++i) part_bytes_[part_of(i)] += weights.layers[i].bytes();
    const std::int64_t width = config_.width;
    embedding_ = weights.ends.take("embedding", {config_.vocabulary, width});
    output_ = config_.tied_output ? embedding_ : weights.ends.take("output", {config_.vocabulary, width});
    output_norm_ = weights.ends.take("output_norm", {width});
    weights.ends.check_all_taken();
    for (std::size_t i = 0; i < types.size(); ++i) {
      TensorSet& set = weights.layers[i];
      Layer& layer = layers_.emplace_back();
      layer.mixer_norm = set.take("mixer_norm", {width});
      layer.mlp_norm = set.take("mlp_norm", {width});
      layer.mixer_after_norm = set.take_if(config_.norm.after, "mixer_after_norm", {width});
      layer.mlp_after_norm = set.take_if(config_.norm.after, "mlp_after_norm", {width});
      layer.mixer = types[i].first->make(config_, static_cast<std::int64_t>(i), set);
      layer.mlp = types[i].second->make(config_, static_cast<std::int64_t>(i), set);
      set.check_all_taken();
    }
  }

  const ModelConfig& config() const override { return config_; }
  const DeviceParts& parts() const override { return parts_; }
  c10::ScalarType dtype() const override { return dtype_; }
  const std::vector<std::int64_t>& part_bytes() const override { return part_bytes_; }

  PrefillResult prefill(std::span<const std::int32_t> ids, const PrefillOptions& options) const override {
    check_ids(ids, options.allow_past_context);
    if (!options.policy || !options.backend || !options.dense_backend || options.extra_capacity < 0)
      throw Error(ErrorKind::internal, "prefill needs a policy, two backends and a capacity that is not negative");
    if (options.logit_rows < 1 || options.logit_rows > std::ssize(ids))
      throw Error(ErrorKind::internal, "logits are wanted of " + std::to_string(options.logit_rows) + " of " +
                                           std::to_string(ids.size()) + " positions");
    return with_memory_errors([&] {
      const at::NoGradGuard no_grad;
      const c10::DeviceGuard guard(device_);
      PrefillResult result;
      result.state.capacity = static_cast<std::int64_t>(ids.size()) + options.extra_capacity;
      for (const Layer& layer : layers_) result.state.layers.push_back(layer.mixer->make_state(result.state.capacity));
      if (options.hidden_observer)  // a recorded pass
        for (const auto& layer : result.state.layers) layer->reserve();
      StageClock untimed;
      StageClock& clock = options.clock ? *options.clock : untimed;
      const at::Tensor hidden = forward(ids, {.clock = clock,
                                              .job = options.job,
                                              .state = &result.state,
                                              .options = &options,
                                              .all_rows = options.hidden_observer || options.logit_rows > 1});
      const StageScope scope(clock, Stage::other, -1);
      result.last_logits = head(hidden.narrow(0, hidden.size(0) - 1, 1)).squeeze(0);
      check_finite(result.last_logits);
      if (options.logit_rows > 1) {
        const std::int64_t first = hidden.size(0) - options.logit_rows;
        result.tail_logits = all_logits(hidden.narrow(0, first, options.logit_rows), at::kCPU, options.job);
      }
      return result;
    });
  }

  at::Tensor logits(std::span<const std::int32_t> ids, const JobContext& job) const override {
    check_ids(ids, false);
    return with_memory_errors([&] {
      const at::NoGradGuard no_grad;
      const c10::DeviceGuard guard(device_);
      StageClock untimed;
      return all_logits(forward(ids, {.clock = untimed, .job = job}), at::kCPU, job);
    });
  }

  at::Tensor decode(DecoderState& state, std::span<const std::int32_t> ids, const JobContext& job) const override {
    if (state.layers.size() != layers_.size()) throw Error(ErrorKind::internal, "this state belongs to another model");
    if (ids.empty()) throw input_error("decode", "there are no tokens", "at least 1", "0");
    const auto rows = static_cast<std::int64_t>(ids.size());
    if (state.length + rows > state.capacity) {
      throw input_error("decode", "the cache is full",
                        "room for " + (rows == 1 ? "one more token" : std::to_string(rows) + " more tokens"),
                        std::to_string(state.length) + " of " + std::to_string(state.capacity) + " places used");
    }
    for (const std::int32_t id : ids) check_id(id, "the token to decode");
    return with_memory_errors([&] {
      const at::NoGradGuard no_grad;
      const c10::DeviceGuard guard(device_);
      StageClock untimed;
      const JobContext silent{job.stop, {}};  // layers of one token are no progress to tell
      at::Tensor result = all_logits(forward(ids, {.clock = untimed, .job = silent, .state = &state}), device_, silent);
      check_finite(result);
      return result;
    });
  }

 private:
  static constexpr std::int64_t output_rows = 256;  // whose logits of the whole vocabulary are held at a time
  static constexpr std::int64_t few_rows = 128;     // after a past: products by all threads, one after the other

  struct Request {
    StageClock& clock;
    const JobContext& job;
    DecoderState* state = nullptr;            // of the positions before; takes the new ones in
    const PrefillOptions* options = nullptr;  // null: dense, nothing observed
    bool all_rows = true;                     // else of some of the last rows alone
  };

  static c10::ScalarType choose_dtype(const DecoderOptions& options) {
    const c10::ScalarType dtype =
        options.dtype.value_or(!options.parts.at(0).device.is_cpu() || cpu_has_bf16() ? at::kBFloat16 : at::kFloat);
    if (dtype != at::kBFloat16 && dtype != at::kFloat) throw usage_error("the dtype must be bf16 or f32");
    return dtype;
  }
  at::TensorOptions tensor_options() const { return at::TensorOptions().device(device_).dtype(dtype_); }

  void check_parts() const {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const std::int64_t end = i + 1 < parts_.size() ? parts_[i + 1].first_layer : config_.num_layers();
      if ((i == 0 && parts_[i].first_layer != 0) || parts_[i].first_layer >= end ||
          parts_[i].device.type() != device_.type())
        throw Error(ErrorKind::internal, "the parts of a decoder are neighbouring layers on devices of one kind");
    }
  }
  std::size_t part_of(std::size_t layer) const {
    std::size_t part = 0;
    while (part + 1 < parts_.size() && parts_[part + 1].first_layer <= static_cast<std::int64_t>(layer)) ++part;
    return part;
  }

  // The types of each layer's parts, so that what is missing is said before gigabytes are read.
  std::vector<std::pair<const MixerType*, const MlpType*>> find_parts(const Parts& parts,
                                                                      const std::string& place) const {
    std::vector<std::pair<const MixerType*, const MlpType*>> found;
    for (std::int64_t i = 0; i < config_.num_layers(); ++i) {
      const LayerSpec& spec = config_.layer(i);
      const auto mixer = std::find_if(parts.mixers.begin(), parts.mixers.end(),
                                      [&](const MixerType& type) { return type.kind == spec.kind; });
      const auto mlp = std::find_if(parts.mlps.begin(), parts.mlps.end(), [&](const MlpType& type) {
        return std::find(type.kinds.begin(), type.kinds.end(), spec.mlp.kind) != type.kinds.end();
      });
      if (mixer == parts.mixers.end()) {
        std::string known;
        for (const MixerType& type : parts.mixers)
          known += (known.empty() ? "" : ", ") + std::string(to_string(type.kind));
        throw input_error(place + ": layer " + std::to_string(i), "no mixer of this kind is implemented", known,
                          std::string(to_string(spec.kind)));
      }
      if (mlp == parts.mlps.end())
        throw Error(ErrorKind::internal, "no MLP implements that of layer " + std::to_string(i));
      found.emplace_back(&*mixer, &*mlp);
    }
    return found;
  }

  void check_id(std::int32_t id, const std::string& place) const {
    if (id < 0 || id >= config_.vocabulary)
      throw input_error(place, "this token id is not in the vocabulary",
                        "0 to " + std::to_string(config_.vocabulary - 1), std::to_string(id));
  }
  void check_ids(std::span<const std::int32_t> ids, bool allow_past_context) const {
    if (ids.empty()) throw input_error("prompt", "the prompt has no tokens", "at least 1", "0");
    if (const auto length = static_cast<std::int64_t>(ids.size());
        !allow_past_context && length > config_.context_length)
      throw input_error("prompt", "the prompt is too long for the model's context",
                        "at most " + std::to_string(config_.context_length) + " tokens", std::to_string(length));
    for (std::size_t i = 0; i < ids.size(); ++i) check_id(ids[i], "token " + std::to_string(i) + " of the prompt");
  }
  void check_finite(const at::Tensor& logits) const {
    if (!at::isfinite(logits).all().item<bool>())
      throw input_error(config_.name, "the model's logits are not finite: its weights overflow", "finite numbers",
                        "NaN or infinity");
  }

  at::Tensor embed(std::span<const std::int32_t> ids) const {
    const at::Tensor index =
        at::tensor(at::ArrayRef<std::int32_t>(ids.data(), ids.size()), at::TensorOptions().dtype(at::kInt));
    const at::Tensor hidden = at::index_select(embedding_, 0, index.to(device_));
    if (config_.embedding_scale == 1) return hidden;
    // ATen may round a factor to bf16, or not: both are said here.
    const bool rounds = config_.rounds_embedding_scale && dtype_ == at::kBFloat16;
    const auto scale = static_cast<float>(config_.embedding_scale);
    return hidden.to(at::kFloat).mul_(rounds ? static_cast<float>(c10::BFloat16(scale)) : scale).to(dtype_);
  }
  at::Tensor head(const at::Tensor& hidden) const {
    const at::Tensor normed = at::empty(hidden.sizes(), tensor_options());
    rms_norm(hidden, output_norm_, config_.norm.epsilon, normed);
    return output_logits(normed, output_);
  }
  at::Tensor all_logits(const at::Tensor& hidden, c10::Device to, const JobContext& job) const {
    const std::int64_t length = hidden.size(0);
    if (length <= output_rows) return head(hidden).to(to);
    at::Tensor all = at::empty({length, config_.vocabulary}, at::TensorOptions().dtype(at::kFloat).device(to));
    for (std::int64_t row = 0; row < length; row += output_rows) {
      job.check();
      const std::int64_t rows = std::min(output_rows, length - row);
      all.narrow(0, row, rows).copy_(head(hidden.narrow(0, row, rows)));
    }
    return all;
  }

  // The one place where a layer meets what selects its keys: full layers alone come here.
  at::Tensor attend(const LayerQuery& query, const PrefillOptions& options, StageClock& clock) const {
    const bool listed = options.dense_layers.contains(query.layer);
    const attention::Policy& policy = listed ? *dense_policy_ : *options.policy;
    const attention::Backend& backend = listed ? *options.dense_backend : *options.backend;
    std::unique_ptr<attention::PreparedLayer> layer;
    {
      const StageScope scope(clock, Stage::attention, query.layer);
      layer = backend.prepare(query, options.job);
    }
    std::vector<attention::SupportTile> tiles;
    attention::SupportSink sink;
    if (options.observer) sink = [&](const attention::SupportTile& tile) { tiles.push_back(tile); };
    at::Tensor output = attention::attend(policy, *layer, clock, sink, options.job);
    if (options.observer) options.observer(*layer, output, tiles);
    return output;
  }

  // hidden += out, normed by `after` where there is such a norm; then normed = norm(hidden), where a norm follows.
  void join(Workspace& room, std::int64_t worker, const at::Tensor& hidden, const at::Tensor& out,
            const at::Tensor& after, const at::Tensor& norm, const at::Tensor& normed) const {
    at::Tensor addend = out;
    if (after.defined()) {
      addend = room.piece("after_norm", worker, out.size(0), out.size(1));
      rms_norm(out, after, config_.norm.epsilon, addend);
    }
    add_rms_norm(hidden, addend, norm, config_.norm.epsilon, normed);
  }

  // Hidden states after the last layer, [rows, width] or of some of the last rows alone.
  at::Tensor forward(std::span<const std::int32_t> ids, const Request& request) const {
    const auto length = static_cast<std::int64_t>(ids.size());
    const std::int64_t past = request.state ? request.state->length : 0, width = config_.width;
    StageClock& clock = request.clock;
    const JobContext& job = request.job;
    at::Tensor hidden;
    {
      const StageScope scope(clock, Stage::embedding, -1);
      hidden = embed(ids);
    }
    const RowPieces whole = past > 0 && length <= few_rows ? RowPieces::one(length) : RowPieces(0, length, device_);
    const std::int64_t tail_rows = request.all_rows ? length : std::min(length, RowPieces::least_rows);
    const RowPieces tail = request.all_rows ? whole : RowPieces(length - tail_rows, tail_rows, device_);
    std::optional<Workspace> room;  // of the part that is at work, as what follows
    std::optional<RopeTables> ropes;
    at::Tensor normed;  // the input of the next mixer or MLP, in place of the one before
    c10::DeviceGuard guard(device_);
    const FullAttend chosen = [&](const LayerQuery& query) { return attend(query, *request.options, clock); };
    // The crossing is the work of the device that it leaves.
    const auto move_hidden = [&](c10::Device device, int layer) {
      const StageScope scope(clock, Stage::transfer, layer);
      hidden = hidden.to(device);
    };
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const int number = static_cast<int>(i);
      const Layer& layer = layers_[i];
      const bool last = i + 1 == layers_.size();
      const std::size_t part = part_of(i);
      const bool enters = parts_[part].first_layer == number, leaves = last || part_of(i + 1) != part;
      job.report({.phase = "prefill", .done = number, .total = config_.num_layers(), .layer = number});
      if (enters) {
        const c10::Device device = parts_[part].device;
        if (i > 0) move_hidden(device, number);
        if (device != guard.current_device()) guard.set_index(device.index());
        normed.reset();
        room.emplace(tensor_options().device(device), whole.workers(), whole.largest());
        ropes.emplace(past, length, device);
        normed = room->whole("normed", hidden.sizes());
      }
      const Pass pass{past, length, number, clock,
                      job,  *room,  *ropes, request.options && config_.is_full(number) ? &chosen : nullptr};
      std::unique_ptr<LayerPass> mixing;
      {
        const StageScope scope(clock, Stage::projections, number);
        mixing = layer.mixer->start(pass, request.state ? request.state->layers[i].get() : nullptr);
        whole.run(job, [&](std::int64_t worker, std::int64_t first, std::int64_t rows) {
          const at::Tensor input = normed.narrow(0, first, rows);
          if (enters) rms_norm(hidden.narrow(0, first, rows), layer.mixer_norm, config_.norm.epsilon, input);
          mixing->project(worker, first, input);
        });
      }
      mixing->mix(normed);
      // What comes after the last layer's mixing concerns a row alone: rows that nobody reads are left out.
      const RowPieces& pieces = last ? tail : whole;
      normed.reset();  // observers may have kept it
      normed = room->whole("normed", hidden.sizes());
      {
        const StageScope scope(clock, Stage::projections, number);
        pieces.run(job, [&](std::int64_t worker, std::int64_t first, std::int64_t rows) {
          const at::Tensor out = room->piece("out", worker, rows, width);
          mixing->output(worker, first, out);
          join(*room, worker, hidden.narrow(0, first, rows), out, layer.mixer_after_norm, layer.mlp_norm,
               normed.narrow(0, first, rows));
        });
      }
      mixing.reset();
      {
        const StageScope scope(clock, Stage::mlp, number);
        pieces.run(job, [&](std::int64_t worker, std::int64_t first, std::int64_t rows) {
          const at::Tensor out = room->piece("out", worker, rows, width), input = normed.narrow(0, first, rows);
          layer.mlp->forward(*room, worker, input, out);
          join(*room, worker, hidden.narrow(0, first, rows), out, layer.mlp_after_norm,
               leaves ? at::Tensor() : layers_[i + 1].mixer_norm, leaves ? at::Tensor() : input);
        });
      }
      if (request.options && request.options->hidden_observer) request.options->hidden_observer(number, hidden.clone());
    }
    if (request.state) request.state->length += length;
    job.report({.phase = "prefill", .done = config_.num_layers(), .total = config_.num_layers()});
    if (!request.all_rows) hidden = hidden.narrow(0, length - tail_rows, tail_rows);
    if (parts_.size() > 1) move_hidden(device_, -1);
    return hidden;
  }

  ModelConfig config_;
  std::unique_ptr<const attention::Policy> dense_policy_ = attention::make_dense_policy();
  DeviceParts parts_;
  c10::Device device_;  // the first part's
  c10::ScalarType dtype_;
  std::vector<std::int64_t> part_bytes_;
  at::Tensor embedding_, output_, output_norm_;  // output_: the embedding where tied
  std::vector<Layer> layers_;
};

}  // namespace

DecoderState DecoderState::clone() const {
  DecoderState copy{{}, length, capacity};
  for (const auto& layer : layers) copy.layers.push_back(layer->clone());
  return copy;
}

std::int64_t Decoder::weight_bytes() const {
  std::int64_t sum = 0;
  for (const std::int64_t bytes : part_bytes()) sum += bytes;
  return sum;
}

at::Tensor Decoder::decode(DecoderState& state, std::int32_t id, const JobContext& job) const {
  return decode(state, std::span(&id, 1), job).squeeze(0);
}

std::unique_ptr<Decoder> load_decoder(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config,
                                      const Parts& parts, const DecoderOptions& options, const JobContext& job) {
  return with_memory_errors([&]() -> std::unique_ptr<Decoder> {
    const at::NoGradGuard no_grad;
    const c10::DeviceGuard guard(options.parts.at(0).device);
    return std::make_unique<LayerDecoder>(checkpoint, config, parts, options, job);
  });
}

std::unique_ptr<Decoder> load_decoder(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config,
                                      const DecoderOptions& options, const JobContext& job) {
  return load_decoder(checkpoint, config, Parts{find_family(config.architecture, checkpoint.path().string())}, options,
                      job);
}

std::unique_ptr<Decoder> load_decoder(const checkpoint::Checkpoint& checkpoint, const DecoderOptions& options,
                                      const JobContext& job) {
  return load_decoder(checkpoint, read_model_config(checkpoint), options, job);
}

bool cpu_has_bf16() {
  return kernels::cpu::supported(kernels::cpu::Isa::avx512_bf16);
}

}  // namespace headroom::model
