// SPDX-License-Identifier: Apache-2.0
#include "experiment/bench/floor.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>

#include "attention/backends/torch_backend.h"
#include "base/error.h"
#include "model/device.h"

namespace headroom::experiment {
namespace {

// Normal values from a generator of our own: LibTorch's would settle which devices there are (docs: architecture).
at::Tensor random_tensor(std::vector<std::int64_t> sizes, float sigma, c10::Device device, c10::ScalarType dtype,
                         std::mt19937& random) {
  std::uniform_real_distribution<float> uniform(-1.7f * sigma, 1.7f * sigma);
  // A short cycle of values is as good for timing and much cheaper to make.
  constexpr std::int64_t cycle = 10007;
  if (!device.is_cpu()) {  // where it is repeated: a long prompt's would pass through the host for seconds
    const at::Tensor once = at::empty({cycle}, at::TensorOptions().dtype(at::kFloat));
    for (std::int64_t i = 0; i < cycle; ++i) once.mutable_data_ptr<float>()[i] = uniform(random);
    const at::Tensor there = at::empty(sizes, at::TensorOptions().dtype(dtype).device(device));
    const std::int64_t count = there.numel();
    const at::Tensor flat = there.view({count}), values = once.to(device, dtype);
    flat.narrow(0, 0, std::min(cycle, count)).copy_(values.narrow(0, 0, std::min(cycle, count)));
    for (std::int64_t filled = cycle; filled < count;) {
      const std::int64_t more = std::min(filled / cycle * cycle, count - filled);
      flat.narrow(0, filled, more).copy_(flat.narrow(0, 0, more));
      filled += more;
    }
    return there;
  }
  const at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(at::kFloat));
  float* values = tensor.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) values[i] = i < cycle ? uniform(random) : values[i - cycle];
  return tensor.to(device, dtype);
}

template <typename Work>
double timed(c10::Device device, Work&& work) {
  model::synchronize(device);
  const auto start = std::chrono::steady_clock::now();
  work();
  model::synchronize(device);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::int64_t Floor::product_rows(std::int64_t length, c10::Device device) {
  constexpr std::int64_t most = 65536;
  return device.is_cpu() ? length : std::min(length, most);
}

Floor::Floor(const model::ModelConfig& config, std::int64_t length, c10::Device device, c10::ScalarType dtype)
    : config_(config),
      device_(device),
      share_(static_cast<double>(length) / static_cast<double>(product_rows(length, device))) {
  std::mt19937 random(1);
  const auto make = [&](std::vector<std::int64_t> sizes, float sigma) {
    return random_tensor(std::move(sizes), sigma, device, dtype, random);
  };
  const auto& [kind, attention, mlp, delta] = config.typical_layer();
  const std::int64_t d = attention.head_dim, q_width = attention.num_q_heads * d, kv_width = attention.num_kv_heads * d;
  const auto product = [&](std::int64_t in, std::int64_t out) {
    products_.emplace_back(make({product_rows(length, device), in}, 1), make({out, in}, 0.03f));
  };
  product(config.width, q_width + 2 * kv_width);
  product(q_width, config.width);
  product(config.width, 2 * mlp.active_width());
  product(mlp.active_width(), config.width);
  output_input_ = make({1, config.width}, 1);
  output_ = make({config.vocabulary, config.width}, 0.03f);
  if (!device.is_cpu() && dtype == at::kBFloat16)
    backends_ = {attention::make_torch_backend(attention::DenseOperator::flash_attention),
                 attention::make_torch_backend(attention::DenseOperator::cudnn)};
  query_.scale = attention.scale;
  query_.q = make({attention.num_q_heads, length, d}, 1);
  query_.k = make({attention.num_kv_heads, length, d}, 1);
  query_.v = make({attention.num_kv_heads, length, d}, 1);
}

double Floor::attention_ms() const {
  if (backends_.empty()) {
    return timed(device_, [&] {
      at::scaled_dot_product_attention(query_.q.unsqueeze(0), query_.k.unsqueeze(0), query_.v.unsqueeze(0), {}, 0.0,
                                       true, query_.scale, query_.num_q_heads() != query_.num_kv_heads());
    });
  }
  double fastest = std::numeric_limits<double>::infinity();
  for (const auto& backend : backends_) {
    try {
      const auto layer = backend->prepare(query_, {});
      const at::Tensor out = layer->make_output();
      fastest = std::min(fastest, timed(device_, [&] { layer->dense(query_.length(), out, {}, {}); }));
    } catch (const c10::Error&) {
      // A backend that refuses this shape sets no floor.
    }
  }
  if (!std::isfinite(fastest)) throw device_error("no attention of LibTorch runs these shapes on this device");
  return fastest;
}

double Floor::measure() const {
  const c10::InferenceMode guard;
  double layer = 0;
  for (const auto& [input, weight] : products_) layer += timed(device_, [&] { at::mm(input, weight.t()); });
  return layer * share_ * static_cast<double>(config_.num_layers()) +
         attention_ms() * static_cast<double>(config_.full_layers()) +
         timed(device_, [&] { at::mm(output_input_, output_.t()); });
}

}  // namespace headroom::experiment
