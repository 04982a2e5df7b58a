// SPDX-License-Identifier: Apache-2.0
// q_I and k_I of a layer (METHOD.md, "Indexer"), with the weights placed where they are used.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "attention/backend.h"
#include "attention/index_source.h"
#include "attention/rotary.h"
#include "kernels/cpu/index/index_score.h"

namespace headroom::attention {

/// Norm and RoPE done; on the CPU in x's dtype, elsewhere fp32 values rounded to bf16 where x is bf16.
struct IndexProjections {
  at::Tensor q, k;  ///< [L, d_I]
};
/// As fp32.
IndexProjections as_float(const IndexProjections& projections);

/// I of rows [begin, end) over keys [0, end): fp32 [rows, end]; q scaled already.
at::Tensor index_scores(const IndexProjections& projections, std::int64_t begin, std::int64_t end, IndexForm form);

/// Weights of index sources on a device, and the prompt's rotary table, kept from one layer and pass to the next.
class IndexPlacements {
 public:
  /// Sums, norm and RoPE in fp32 whatever the model's dtype. Throws input errors where `index` has no weights for the
  /// layer or some of another width.
  IndexProjections project(const IndexSource& index, const LayerQuery& query, const JobContext& job);

 private:
  struct Placed {
    at::Tensor source;                                              ///< q_proj as given: which weights these are
    at::Tensor projections;  ///< [2 d_I, width] fp32: q, then k; [pieces 2 d_I, width] bf16 where x is; not on the CPU
    at::Tensor k_norm;                                              ///< [d_I] fp32
    std::shared_ptr<const kernels::cpu::IndexProjector> projector;  ///< on the CPU
    c10::ScalarType dtype = at::kFloat;                             ///< of x

    bool fits(const IndexWeights& weights, const at::Tensor& x) const;
  };
  std::pair<Placed, RotaryTable> prepare(const IndexSource& index, const LayerQuery& query);

  std::mutex mutex_;
  std::map<int, Placed> placed_;  ///< by layer
  RotaryTable table_;
  std::int64_t table_length_ = 0;
  double table_base_ = 0;
};

}  // namespace headroom::attention
