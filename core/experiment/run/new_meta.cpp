// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/new_meta.h"

#include <ATen/Parallel.h>

#include <ctime>
#include <random>

#include "base/version.h"

namespace headroom::experiment {
namespace {

std::string new_run_id() {
  std::random_device device;
  constexpr char digits[] = "0123456789abcdef";
  std::string id;
  for (int i = 0; i < 16; ++i) id += digits[device() & 15];
  return id;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

record::RunMeta new_meta() {
  record::RunMeta meta;
  meta.run_id = new_run_id();
  meta.created = utc_now();
  meta.program_version = program_version();
  meta.threads = at::get_num_threads();
  return meta;
}

std::vector<record::LayerMeta> layers_of(const model::ModelConfig& config) {
  std::vector<record::LayerMeta> layers;
  for (const model::LayerSpec& layer : config.layers) {
    const model::AttentionSpec& attention = layer.attention;
    layers.push_back({std::string(model::to_string(layer.kind)), attention.num_q_heads, attention.num_kv_heads,
                      attention.head_dim, attention.window, attention.scale});
  }
  return layers;
}

}  // namespace headroom::experiment
