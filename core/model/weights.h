// SPDX-License-Identifier: Apache-2.0
// A decoder's weights on its devices, materialised from a checkpoint by a family's plan.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "model/family.h"
#include "model/placement.h"

namespace headroom::model {

/// Tensors of one layer, or of the model's ends, by role. Matrices are [out, in] in the model's dtype; vectors fp32 on
/// the CPU, the model's dtype elsewhere. Whoever computes takes what it needs.
class TensorSet {
 public:
  explicit TensorSet(std::string place) : place_(std::move(place)) {}

  /// The place of a tensor that is loaded later.
  at::Tensor& add(const std::string& role) { return tensors_[role]; }
  /// Each once. Throws an internal error where the family's plan has no such role, or another shape.
  at::Tensor take(const std::string& role, at::IntArrayRef shape);
  /// The same where `wanted`; else undefined.
  at::Tensor take_if(bool wanted, const std::string& role, at::IntArrayRef shape);
  /// Throws an internal error that names a tensor nobody took: a weight must not be ignored.
  void check_all_taken() const;
  /// Bytes of what has not been taken yet.
  std::int64_t bytes() const;

 private:
  std::string place_;
  std::map<std::string, at::Tensor> tensors_;
};

/// What a thread holds at most while it makes weights of usual plans: a piece as it is read, and in the model's dtype.
inline constexpr std::int64_t load_piece_bytes = std::int64_t{16} << 20;

struct ModelWeights {
  TensorSet ends;
  std::vector<TensorSet> layers;
};

/// Dequantises with all threads, straight into `dtype` (bf16 or fp32) on the devices; what belongs to no layer goes to the
/// first. Beside the weights a few pieces of
/// some megabytes are held, whatever the tensors' sizes. Checks every name and shape before it reads anything; input
/// errors name tensor, expected and found shape. Values that bf16 cannot hold are refused too.
ModelWeights load_weights(const checkpoint::Checkpoint& file, const ModelPlan& plan, const DeviceParts& parts,
                          c10::ScalarType dtype, const JobContext& job);

}  // namespace headroom::model
