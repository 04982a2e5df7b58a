// SPDX-License-Identifier: Apache-2.0
#include "attention/backend.h"

#include <algorithm>

#include "attention/backends/cuda_backend.h"
#include "attention/backends/torch_backend.h"

namespace headroom::attention {

LayerAnalysis PreparedLayer::analyse(const std::vector<SupportTile>& tiles, const AnalysisOptions& options,
                                     const JobContext& job) const {
  return analyse_layer(query_, to_bitmaps(tiles, query_.length()), options, job);
}

std::int64_t PreparedLayer::rows_within_budget(const SelectionRule& rule) const {
  if (rule.budget.kind == BudgetKind::mass) return 0;
  const std::int64_t length = query_.length(), tokens = rule.budget.tokens_for(length);
  const std::int64_t tile = tile_rows(rule.granularity);
  return tokens >= length ? length : tokens / tile * tile;
}

std::vector<std::shared_ptr<const Backend>> make_backends(c10::Device device, c10::ScalarType dtype,
                                                          std::span<const std::int64_t> head_dims, bool sinks) {
  std::vector<std::shared_ptr<const Backend>> backends;
  if (device.is_cpu() && std::all_of(head_dims.begin(), head_dims.end(), [](auto dim) { return dim % 8 == 0; }))
    backends.push_back(make_cpu_backend(dtype));
  if (device.is_cpu()) {
    backends.push_back(make_torch_backend());
    return backends;
  }
  if (sinks) {
    backends.push_back(make_torch_backend(DenseOperator::automatic, "the CUDA kernels do not know attention sinks"));
    return backends;
  }
  const CudaKernels kernels = open_cuda_kernels(device, dtype, head_dims);
  if (kernels.backend) backends.push_back(kernels.backend);
  backends.push_back(make_torch_backend(DenseOperator::automatic, kernels.why_not));
  if (dtype == c10::ScalarType::BFloat16) {
    backends.push_back(make_torch_backend(DenseOperator::flash_attention));
    backends.push_back(make_torch_backend(DenseOperator::cudnn));
  }
  return backends;
}

std::shared_ptr<const Backend> find_backend(std::span<const std::shared_ptr<const Backend>> backends,
                                            std::string_view id) {
  const auto found = std::find_if(backends.begin(), backends.end(), [&](const auto& one) { return one->id() == id; });
  return found == backends.end() ? nullptr : *found;
}

std::shared_ptr<const Backend> make_torch_backend() {
  return make_torch_backend(DenseOperator::automatic);
}

}  // namespace headroom::attention
