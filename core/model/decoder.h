// SPDX-License-Identifier: Apache-2.0
// The decoder: one loop over layers, each with a mixer and an MLP. It knows no policy by name, and a layer that is not
// full attention never meets one.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "attention/backend.h"
#include "attention/policy.h"
#include "base/progress.h"
#include "base/stage_clock.h"
#include "checkpoint/checkpoint.h"
#include "model/model_config.h"
#include "model/placement.h"
#include "model/state.h"

namespace headroom::model {

struct DecoderOptions {
  DeviceParts parts = on_one_device(c10::Device(c10::DeviceType::CPU));  ///< on devices of one kind
  /// Unset: bf16 on CUDA and on CPUs with bf16 instructions, else fp32.
  std::optional<c10::ScalarType> dtype;
};

struct Parts;

/// Called in a recorded pass after each full layer, as the backend prepared it. `output`: [Hq, L, d]; `support`: the
/// policy's tiles, none where the layer ran dense.
using LayerObserver = std::function<void(const attention::PreparedLayer& layer, const at::Tensor& output,
                                         const std::vector<attention::SupportTile>& support)>;

struct PrefillOptions {
  const attention::Policy* policy = nullptr;          ///< required: which keys full layers attend to
  const attention::Backend* backend = nullptr;        ///< required: what executes it
  const attention::Backend* dense_backend = nullptr;  ///< required: what executes the layers listed as dense
  std::set<int> dense_layers;
  StageClock* clock = nullptr;  ///< null: not timed
  LayerObserver observer;       ///< empty: nothing recorded
  /// Called after the layer's residual with [L, width], a copy: for output_l2_per_layer. Empty: not called.
  std::function<void(int layer, const at::Tensor& hidden)> hidden_observer;
  std::int64_t logit_rows = 1;      ///< of how many of the last positions logits are wanted
  std::int64_t extra_capacity = 0;  ///< room in the state for tokens decoded later
  /// For timing alone: prompts longer than the model was trained for are taken. Their attention is not the model's.
  bool allow_past_context = false;
  JobContext job;
};

struct PrefillResult {
  at::Tensor last_logits;  ///< [vocabulary] fp32, on the device
  at::Tensor tail_logits;  ///< [logit_rows, vocabulary] fp32 on the CPU, the last one last; undefined for one row
  DecoderState state;
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual const ModelConfig& config() const = 0;
  virtual const DeviceParts& parts() const = 0;
  virtual c10::ScalarType dtype() const = 0;
  /// Bytes of the weights, by part.
  virtual const std::vector<std::int64_t>& part_bytes() const = 0;
  /// The first part's: prompts come to it, logits come from it.
  c10::Device device() const { return parts().front().device; }
  /// Bytes of the weights on all devices.
  std::int64_t weight_bytes() const;
  /// `ids` not empty, no longer than the context (unless the options allow it), each inside the vocabulary: else input
  /// errors. Logits that are not finite are an input error too (the weights overflow). Where memory runs out: device
  /// errors.
  virtual PrefillResult prefill(std::span<const std::int32_t> ids, const PrefillOptions& options) const = 0;
  /// Logits of every position, [ids, vocabulary] fp32 on the CPU, dense, in row chunks.
  virtual at::Tensor logits(std::span<const std::int32_t> ids, const JobContext& job) const = 0;
  /// The tokens after those of `state`, one or many at a time, dense over all that came before: the logits of each,
  /// [ids, vocabulary] fp32 on the device. Takes them into the state; input errors where it has no room (the state is
  /// then as before; after any other error it must not be used again).
  virtual at::Tensor decode(DecoderState& state, std::span<const std::int32_t> ids,
                            const JobContext& job = {}) const = 0;
  /// One token: [vocabulary].
  at::Tensor decode(DecoderState& state, std::int32_t id, const JobContext& job = {}) const;
};

/// Builds the decoder of the checkpoint's architecture. Throws input errors (unknown architecture, an option or a kind
/// of layer that no part implements, missing or mis-shaped tensors, non-finite weights) and device errors.
std::unique_ptr<Decoder> load_decoder(const checkpoint::Checkpoint& checkpoint, const DecoderOptions& options,
                                      const JobContext& job);

/// The same where the configuration is known already (a checkpoint without metadata).
std::unique_ptr<Decoder> load_decoder(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config,
                                      const DecoderOptions& options, const JobContext& job);

/// The same from any parts (parts.h), for families and mixers that are not in this library.
std::unique_ptr<Decoder> load_decoder(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config,
                                      const Parts& parts, const DecoderOptions& options, const JobContext& job);

/// Whether this CPU multiplies bf16 natively: AVX-512 BF16, which every CPU with AMX has too. Its products are then
/// several times as fast as fp32's (4.6 times on a Zen 5); elsewhere bf16 would be emulated, and fp32 is the faster.
bool cpu_has_bf16();

}  // namespace headroom::model
