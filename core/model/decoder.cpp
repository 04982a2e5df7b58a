// SPDX-License-Identifier: Apache-2.0
#include "model/decoder.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/tensor.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "base/error.h"
#include "kernels/cpu/isa.h"
#include "model/row_kernels.h"
#include "model/row_pieces.h"
#include "model/weights.h"

namespace headroom::model {
namespace {

using attention::LayerQuery;
using checkpoint::ModelConfig;

// LibTorch's attention, for the paths that no policy chooses: all positions' logits.
class PlainAttention final : public attention::Policy {
 public:
  attention::PolicyInfo info() const override {
    attention::PolicyInfo info;
    info.name = "dense";
    info.is_dense = true;
    info.backend = "LibTorch SDPA";
    return info;
  }
  at::Tensor attend(const LayerQuery& query, StageClock& clock, const attention::SupportSink&,
                    const JobContext&) const override {
    const StageScope scope(clock, Stage::attention, query.layer);
    return at::scaled_dot_product_attention(query.q.unsqueeze(0), query.k.unsqueeze(0), query.v.unsqueeze(0), {}, 0.0,
                                            true, query.scale, query.num_q_heads() != query.num_kv_heads())
        .squeeze(0);
  }
};

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

class LlamaDecoder final : public Decoder {
 public:
  LlamaDecoder(const checkpoint::Checkpoint& file, const ModelConfig& config, const DecoderOptions& options,
               const JobContext& job)
      : config_(config), device_(options.device), dtype_(choose_dtype(options)) {
    const std::string place = file.path().string();
    if (config_.head_dim % 2 != 0 || config_.num_kv_heads < 1 || config_.num_q_heads % config_.num_kv_heads != 0)
      throw input_error(place, "the attention heads do not fit together",
                        "an even head size, q heads a multiple of kv heads",
                        std::to_string(config_.num_q_heads) + " : " + std::to_string(config_.num_kv_heads) +
                            " heads of " + std::to_string(config_.head_dim));
    const ModelPlan plan = find_architecture(config_.architecture, place).plan(file, config_);
    weights_ = load_weights(file, config_, plan, device_, dtype_, job);
  }

  const ModelConfig& config() const override { return config_; }
  c10::Device device() const override { return device_; }
  c10::ScalarType dtype() const override { return dtype_; }
  std::int64_t weight_bytes() const override { return weights_.bytes; }

  PrefillResult prefill(std::span<const std::int32_t> ids, const PrefillOptions& options) const override {
    return with_memory_errors([&] {
      const at::NoGradGuard no_grad;
      const c10::DeviceGuard guard(device_);
      PrefillResult result;
      StageClock untimed;
      StageClock& clock = options.clock ? *options.clock : untimed;
      const at::Tensor hidden = forward(ids, options, clock, &result.cache, static_cast<bool>(options.hidden_observer));
      const StageScope scope(clock, Stage::other, -1);
      result.last_logits = head(hidden.narrow(0, hidden.size(0) - 1, 1)).squeeze(0);
      check_finite(result.last_logits);
      return result;
    });
  }

  at::Tensor logits(std::span<const std::int32_t> ids, const JobContext& job) const override {
    return with_memory_errors([&] {
      const at::NoGradGuard no_grad;
      const c10::DeviceGuard guard(device_);
      const PlainAttention dense;
      PrefillOptions options;
      options.policy = options.dense_policy = &dense;
      options.job = job;
      StageClock untimed;
      const at::Tensor hidden = forward(ids, options, untimed, nullptr, true);
      const std::int64_t length = hidden.size(0);
      at::Tensor all = at::empty({length, config_.vocabulary}, at::TensorOptions().dtype(at::kFloat));
      for (std::int64_t row = 0; row < length; row += output_rows) {
        job.check();
        const std::int64_t rows = std::min(output_rows, length - row);
        all.narrow(0, row, rows).copy_(head(hidden.narrow(0, row, rows)));
      }
      return all;
    });
  }

  at::Tensor decode(KvCache& cache, std::int32_t id) const override {
    if (cache.k.size() != weights_.layers.size() || cache.v.size() != cache.k.size())
      throw Error(ErrorKind::internal, "this cache belongs to another model");
    const std::int64_t place = cache.length;
    if (place >= cache.k.front().size(1)) {
      throw input_error(
          "decode", "the cache is full", "room for one more token",
          std::to_string(cache.k.front().size(1)) + " of " + std::to_string(cache.k.front().size(1)) + " places used");
    }
    check_id(id, "the token to decode");
    return with_memory_errors([&] {
      const at::NoGradGuard no_grad;
      const c10::DeviceGuard guard(device_);
      at::Tensor hidden = embed(std::span(&id, 1));
      Buffers buffers = make_buffers(1);
      const RopeTable table =
          rope_table(place, 1, config_.head_dim, config_.rope_base, weights_.rope_divisors, device_);
      const std::int64_t d = config_.head_dim, group = config_.num_q_heads / config_.num_kv_heads;
      const at::Tensor normed = at::empty({1, config_.width}, options());
      LayerQuery query;
      query.q = at::empty({config_.num_q_heads, 1, d}, options());
      query.k = at::empty({config_.num_kv_heads, 1, d}, options());
      query.v = at::empty({config_.num_kv_heads, 1, d}, options());
      rms_norm(hidden, weights_.layers.front().attention_norm, config_.rms_epsilon, normed);
      for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
        const LayerWeights& layer = weights_.layers[i];
        project(layer, normed, table, 0, query, buffers);
        cache.k[i].narrow(1, place, 1).copy_(query.k);
        cache.v[i].narrow(1, place, 1).copy_(query.v);
        // The query heads of one KV head become the rows of one small attention problem: no copies of k and v.
        const at::Tensor seen = at::scaled_dot_product_attention(
            query.q.view({1, config_.num_kv_heads, group, d}), cache.k[i].narrow(1, 0, place + 1).unsqueeze(0),
            cache.v[i].narrow(1, 0, place + 1).unsqueeze(0), {}, 0.0, false, scale());
        finish_attention(layer, seen.reshape({1, config_.num_q_heads * d}), hidden, normed, buffers);
        mlp(i, hidden, normed, buffers);
      }
      ++cache.length;
      at::Tensor result = head(hidden).squeeze(0);
      check_finite(result);
      return result;
    });
  }

 private:
  static constexpr std::int64_t output_rows = 256;  // whose logits of the whole vocabulary are held at a time

  struct Buffers {  // [rows, …] of one piece
    at::Tensor qkv, gate_up, gated, out;
  };

  static c10::ScalarType choose_dtype(const DecoderOptions& options) {
    const c10::ScalarType dtype =
        options.dtype.value_or(!options.device.is_cpu() || cpu_has_bf16() ? at::kBFloat16 : at::kFloat);
    if (dtype != at::kBFloat16 && dtype != at::kFloat) throw usage_error("the dtype must be bf16 or f32");
    return dtype;
  }
  at::TensorOptions options() const { return at::TensorOptions().device(device_).dtype(dtype_); }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(config_.head_dim)); }

  Buffers make_buffers(std::int64_t rows) const {
    const auto make = [&](std::int64_t columns) { return at::empty({rows, columns}, options()); };
    return {make((config_.num_q_heads + 2 * config_.num_kv_heads) * config_.head_dim), make(2 * config_.mlp_width),
            make(config_.mlp_width), make(config_.width)};
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
    return at::index_select(weights_.embedding, 0, index.to(device_));
  }
  at::Tensor head(const at::Tensor& hidden) const {
    const at::Tensor normed = at::empty(hidden.sizes(), options());
    rms_norm(hidden, weights_.output_norm, config_.rms_epsilon, normed);
    return output_logits(normed, weights_.output);
  }

  // The steps of a layer on some rows; `normed` is the input of the next product, in place of the one before.
  // Rows first … of q, k, v:
  void project(const LayerWeights& layer, const at::Tensor& normed, const RopeTable& table, std::int64_t first,
               const LayerQuery& query, const Buffers& buffers) const {
    at::Tensor qkv = buffers.qkv.narrow(0, 0, normed.size(0));
    at::mm_out(qkv, normed, layer.qkv.t());
    rope_split(qkv, table, first, query.q, query.k, query.v);
  }
  void finish_attention(const LayerWeights& layer, const at::Tensor& attended, const at::Tensor& hidden,
                        const at::Tensor& normed, const Buffers& buffers) const {
    at::Tensor out = buffers.out.narrow(0, 0, hidden.size(0));
    at::mm_out(out, attended, layer.attention_output.t());
    add_rms_norm(hidden, out, layer.mlp_norm, config_.rms_epsilon, normed);
  }
  void mlp(std::size_t number, const at::Tensor& hidden, const at::Tensor& normed, const Buffers& buffers) const {
    const LayerWeights& layer = weights_.layers[number];
    const std::int64_t rows = hidden.size(0);
    at::Tensor gate_up = buffers.gate_up.narrow(0, 0, rows), gated = buffers.gated.narrow(0, 0, rows);
    at::Tensor out = buffers.out.narrow(0, 0, rows);
    at::mm_out(gate_up, normed, layer.gate_up.t());
    silu_mul(gate_up, gated);
    at::mm_out(out, gated, layer.down.t());
    const bool last = number + 1 == weights_.layers.size();
    add_rms_norm(hidden, out, last ? at::Tensor() : weights_.layers[number + 1].attention_norm, config_.rms_epsilon,
                 last ? at::Tensor() : normed);
  }

  at::Tensor attend(const LayerQuery& query, const PrefillOptions& options, StageClock& clock) const {
    const bool dense = options.dense_layers.contains(query.layer);
    const attention::Policy& policy = dense ? *options.dense_policy : *options.policy;
    std::vector<attention::SupportTile> tiles;
    attention::SupportSink sink;
    if (options.observer) sink = [&](const attention::SupportTile& tile) { tiles.push_back(tile); };
    at::Tensor output = policy.attend(query, clock, sink, options.job);
    if (output.sizes() != query.q.sizes() || output.scalar_type() != dtype_)
      throw Error(ErrorKind::internal, "policy " + policy.info().name + " returned another shape or type than q's");
    if (options.observer) options.observer(query, output, tiles);
    return output;
  }

  // Hidden states after the last layer, [L, width] or of some of the last rows alone; fills `cache` where it is given.
  at::Tensor forward(std::span<const std::int32_t> ids, const PrefillOptions& options, StageClock& clock,
                     KvCache* cache, bool all_rows) const {
    check_ids(ids, options.allow_past_context);
    if (!options.policy || !options.dense_policy || options.extra_capacity < 0)
      throw Error(ErrorKind::internal, "prefill needs two policies and a capacity that is not negative");
    const auto length = static_cast<std::int64_t>(ids.size());
    const std::int64_t d = config_.head_dim;
    at::Tensor hidden;
    RopeTable table;
    {
      const StageScope scope(clock, Stage::embedding, -1);
      hidden = embed(ids);
      table = rope_table(0, length, d, config_.rope_base, weights_.rope_divisors, device_);
    }
    const RowPieces whole(0, length, device_);
    const std::int64_t tail_rows = std::min(length, RowPieces::least_rows);
    const RowPieces tail(length - tail_rows, tail_rows, device_);
    std::vector<Buffers> buffers;
    for (std::int64_t i = 0; i < whole.workers(); ++i) buffers.push_back(make_buffers(whole.largest()));
    LayerQuery query;
    query.scale = scale();
    query.rope_base = config_.rope_base;
    for (std::size_t i = 0; i < weights_.layers.size(); ++i) {
      const int number = static_cast<int>(i);
      const LayerWeights& layer = weights_.layers[i];
      const bool last = i + 1 == weights_.layers.size();
      options.job.report({.phase = "prefill", .done = number, .total = config_.num_layers, .layer = number});
      query.layer = number;
      if (i == 0) query.x = at::empty(hidden.sizes(), this->options());
      renew(query.q, {config_.num_q_heads, length, d});
      renew(query.k, {config_.num_kv_heads, length, d});
      renew(query.v, {config_.num_kv_heads, length, d});
      {
        const StageScope scope(clock, Stage::projections, number);
        whole.run(options.job, [&](std::int64_t worker, std::int64_t first, std::int64_t rows) {
          const at::Tensor normed = query.x.narrow(0, first, rows);
          if (i == 0) rms_norm(hidden.narrow(0, first, rows), layer.attention_norm, config_.rms_epsilon, normed);
          const RopeTable places = {table.cosine.narrow(0, first, rows), table.sine.narrow(0, first, rows)};
          project(layer, normed, places, first, query, buffers[static_cast<std::size_t>(worker)]);
        });
      }
      if (cache) {
        const StageScope scope(clock, Stage::other, number);
        cache->k.push_back(with_room(query.k, options.extra_capacity));
        cache->v.push_back(with_room(query.v, options.extra_capacity));
      }
      at::Tensor attended = attend(query, options, clock).transpose(0, 1);  // [L, Hq, d]
      // What comes after the last layer's attention concerns a row alone: rows that nobody reads are left out.
      const RowPieces& pieces = last && !all_rows ? tail : whole;
      renew(query.x, hidden.sizes());  // from here on the input of the MLP, then of the next layer
      {
        const StageScope scope(clock, Stage::projections, number);
        pieces.run(options.job, [&](std::int64_t worker, std::int64_t first, std::int64_t rows) {
          finish_attention(layer, attended.narrow(0, first, rows).reshape({rows, config_.num_q_heads * d}),
                           hidden.narrow(0, first, rows), query.x.narrow(0, first, rows),
                           buffers[static_cast<std::size_t>(worker)]);
        });
      }
      attended.reset();
      {
        const StageScope scope(clock, Stage::mlp, number);
        pieces.run(options.job, [&](std::int64_t worker, std::int64_t first, std::int64_t rows) {
          mlp(i, hidden.narrow(0, first, rows), query.x.narrow(0, first, rows),
              buffers[static_cast<std::size_t>(worker)]);
        });
      }
      if (options.hidden_observer) options.hidden_observer(number, hidden.clone());
    }
    if (cache) cache->length = length;
    options.job.report({.phase = "prefill", .done = config_.num_layers, .total = config_.num_layers});
    return all_rows ? hidden : hidden.narrow(0, length - tail_rows, tail_rows);
  }

  // Room for a layer's tensor: the one before it, unless somebody (the cache, an observer) has kept that.
  void renew(at::Tensor& tensor, at::IntArrayRef shape) const {
    if (!tensor.defined() || tensor.use_count() > 1 || tensor.storage().use_count() > 1)
      tensor = at::empty(shape, options());
  }

  // The same tensor where nothing will be decoded; policies always see q, k and v without gaps.
  static at::Tensor with_room(const at::Tensor& heads, std::int64_t extra) {
    if (extra == 0) return heads;
    at::Tensor roomy = at::empty({heads.size(0), heads.size(1) + extra, heads.size(2)}, heads.options());
    roomy.narrow(1, 0, heads.size(1)).copy_(heads);
    return roomy;
  }

  ModelConfig config_;
  c10::Device device_;
  c10::ScalarType dtype_;
  ModelWeights weights_;
};

}  // namespace

std::unique_ptr<Decoder> load_decoder(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config,
                                      const DecoderOptions& options, const JobContext& job) {
  return with_memory_errors([&]() -> std::unique_ptr<Decoder> {
    const at::NoGradGuard no_grad;
    const c10::DeviceGuard guard(options.device);
    return std::make_unique<LlamaDecoder>(checkpoint, config, options, job);
  });
}

std::unique_ptr<Decoder> load_decoder(const checkpoint::Checkpoint& checkpoint, const DecoderOptions& options,
                                      const JobContext& job) {
  return load_decoder(checkpoint, checkpoint::read_model_config(checkpoint), options, job);
}

bool cpu_has_bf16() {
  return kernels::cpu::supported(kernels::cpu::Isa::avx512_bf16);
}

}  // namespace headroom::model
