// SPDX-License-Identifier: Apache-2.0
#include "experiment/dense_baselines.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/core/InferenceMode.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"
#include "model/device.h"

namespace headroom::experiment {
namespace {

enum class Backend { libtorch, fa2, cudnn };

class ForcedDense final : public attention::Policy {
 public:
  explicit ForcedDense(Backend backend) : backend_(backend) {}
  attention::PolicyInfo info() const override {
    attention::PolicyInfo info;
    info.name = "dense";
    info.is_dense = true;
    info.backend = backend_ == Backend::fa2     ? "FlashAttention-2 in LibTorch"
                   : backend_ == Backend::cudnn ? "cuDNN attention in LibTorch"
                                                : "LibTorch SDPA";
    return info;
  }
  at::Tensor attend(const attention::LayerQuery& query, StageClock& clock, const attention::SupportSink&,
                    const JobContext& job) const override {
    job.check();
    const c10::InferenceMode guard;
    const StageScope scope(clock, Stage::attention, query.layer);
    const at::Tensor q = query.q.unsqueeze(0), k = query.k.unsqueeze(0), v = query.v.unsqueeze(0);
    switch (backend_) {
      // Both take fewer KV heads than query heads as they are.
      case Backend::fa2:
        return std::get<0>(at::_scaled_dot_product_flash_attention(q, k, v, 0.0, true, false, query.scale)).squeeze(0);
      case Backend::cudnn:
        return std::get<0>(at::_scaled_dot_product_cudnn_attention(q, k, v, {}, false, 0.0, true, false, query.scale))
            .squeeze(0);
      case Backend::libtorch:
        break;
    }
    return at::scaled_dot_product_attention(q, k, v, {}, 0.0, true, query.scale,
                                            query.num_q_heads() != query.num_kv_heads())
        .squeeze(0);
  }

 private:
  Backend backend_;
};

// Normal values from a generator of our own: LibTorch's would settle which devices there are (docs: architecture).
at::Tensor random_tensor(std::vector<std::int64_t> sizes, float sigma, c10::Device device, c10::ScalarType dtype,
                         std::mt19937& random) {
  const at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(at::kFloat));
  std::uniform_real_distribution<float> uniform(-1.7f * sigma, 1.7f * sigma);
  float* values = tensor.mutable_data_ptr<float>();
  // A short cycle of values is as good for timing and much cheaper to make.
  constexpr std::int64_t cycle = 10007;
  for (std::int64_t i = 0; i < tensor.numel(); ++i) values[i] = i < cycle ? uniform(random) : values[i - cycle];
  return tensor.to(device, dtype);
}

}  // namespace

std::vector<DenseBaseline> dense_baselines(c10::Device device, c10::ScalarType dtype) {
  attention::PolicyOptions options;
  options.device = device.type();
  options.dense_backend = attention::DenseBackend::libtorch;
  std::vector<DenseBaseline> baselines = {{"libtorch", attention::make_policy(options)}};
  if (device.is_cpu()) {
    options.dense_backend = attention::DenseBackend::kernels;
    baselines.push_back({"headroom", attention::make_policy(options)});
  }
  if (!device.is_cpu() && dtype == at::kBFloat16) {
    baselines.push_back({"fa2", std::make_shared<ForcedDense>(Backend::fa2)});
    baselines.push_back({"cudnn", std::make_shared<ForcedDense>(Backend::cudnn)});
  }
  return baselines;
}

Floor::Floor(const checkpoint::ModelConfig& config, std::int64_t length, c10::Device device, c10::ScalarType dtype)
    : config_(config), device_(device) {
  std::mt19937 random(1);
  const auto make = [&](std::vector<std::int64_t> sizes, float sigma) {
    return random_tensor(std::move(sizes), sigma, device, dtype, random);
  };
  const std::int64_t q_width = config.num_q_heads * config.head_dim, kv_width = config.num_kv_heads * config.head_dim;
  const auto product = [&](std::int64_t in, std::int64_t out) {
    products_.emplace_back(make({length, in}, 1), make({out, in}, 0.03f));
  };
  product(config.width, q_width + 2 * kv_width);
  product(q_width, config.width);
  product(config.width, 2 * config.mlp_width);
  product(config.mlp_width, config.width);
  output_input_ = make({1, config.width}, 1);
  output_ = make({config.vocabulary, config.width}, 0.03f);
  if (device.is_cpu() || dtype != at::kBFloat16) {
    attentions_ = {std::make_shared<ForcedDense>(Backend::libtorch)};
  } else {
    attentions_ = {std::make_shared<ForcedDense>(Backend::fa2), std::make_shared<ForcedDense>(Backend::cudnn)};
  }
  query_.scale = 1.0 / std::sqrt(static_cast<double>(config.head_dim));
  query_.q = make({config.num_q_heads, length, config.head_dim}, 1);
  query_.k = make({config.num_kv_heads, length, config.head_dim}, 1);
  query_.v = make({config.num_kv_heads, length, config.head_dim}, 1);
}

double Floor::measure() const {
  const c10::InferenceMode guard;
  const auto timed = [&](auto&& work) {
    model::synchronize(device_);
    const auto start = std::chrono::steady_clock::now();
    work();
    model::synchronize(device_);
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  };
  StageClock clock;
  double layer = 0;
  for (const auto& [input, weight] : products_) layer += timed([&] { at::mm(input, weight.t()); });
  double fastest = std::numeric_limits<double>::infinity();
  for (const auto& attention : attentions_) {
    try {
      fastest = std::min(fastest, timed([&] { attention->attend(query_, clock, {}, {}); }));
    } catch (const c10::Error&) {
      // A backend that refuses this shape sets no floor.
    }
  }
  if (!std::isfinite(fastest)) throw device_error("no attention of LibTorch runs these shapes on this device");
  layer += fastest;
  return layer * static_cast<double>(config_.num_layers) + timed([&] { at::mm(output_input_, output_.t()); });
}

}  // namespace headroom::experiment
