// SPDX-License-Identifier: Apache-2.0
// Quantised weights in safetensors: values in one tensor, their scales in another, and config.json's
// "quantization_config" to say so. FP8 with a scale for each block of rows and columns (DeepSeek, Qwen), and gpt-oss'
// MXFP4. To everybody else they are one tensor.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/config_reader.h"
#include "checkpoint/dequantize.h"

namespace headroom::checkpoint {

enum class QuantMethod { none, fp8, mxfp4 };
struct Quantisation {
  QuantMethod method = QuantMethod::none;
  std::int64_t block_rows = 0, block_columns = 0;  ///< of fp8
};
/// `reader`: of the keys below "quantization_config.". Throws input errors for any other method, and for a key that is
/// not known.
Quantisation read_quantisation(const ConfigReader& reader);

struct StoredPlace {
  std::size_t file = 0, tensor = 0;
};
struct StoredTensor {
  TensorInfo info;
  StoredPlace place;
};
struct Scales {
  StoredPlace place;
  DType dtype = DType::f32;
  std::int64_t block_rows = 0, block_columns = 0;  ///< of fp8
};
struct ComposedTensor {
  TensorInfo info;
  StoredPlace values;
  std::optional<Scales> scales;
};

/// FP8: NAME and NAME_scale_inv become NAME. MXFP4: NAME_blocks [n, rows, columns / 32, 16] and NAME_scales become
/// NAME_blocks [n, rows, columns]. Throws input errors where one of the two is missing or their shapes disagree, and
/// for bytes that are nobody's.
std::vector<ComposedTensor> compose_tensors(const Quantisation& quantisation, const std::vector<StoredTensor>& stored,
                                            const std::function<std::string(const StoredTensor&)>& place_of);

/// Values first … of a tensor with scales.
void read_scaled(const TensorInfo& info, const Scales& scales, std::int64_t first, std::span<float> out,
                 const ReadStored& read_values, const ReadStored& read_scales);

}  // namespace headroom::checkpoint
