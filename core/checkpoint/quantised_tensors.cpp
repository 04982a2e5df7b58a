// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/quantised_tensors.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "checkpoint/config_reader.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {
namespace {

constexpr std::string_view scale_suffix = "_scale_inv", blocks_suffix = "_blocks", scales_suffix = "_scales";
constexpr std::int64_t max_block = 1 << 16;

std::string dims_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

void read_fp8(const ConfigReader& reader, Quantisation& found) {
  found.method = QuantMethod::fp8;
  if (const std::string format = reader.string_or("fmt", "e4m3"); format != "e4m3")
    reader.refuse("fmt", "this 8-bit format is not supported", "e4m3", in_quotes(format));
  // Activations are rounded to 8 bits where the hardware multiplies them so. Here they are not: the weights alone
  // count.
  if (const std::string scheme = reader.string_or("activation_scheme", "dynamic"); scheme != "dynamic")
    reader.refuse("activation_scheme", "fixed scales of activations are not supported", "dynamic", in_quotes(scheme));
  reader.string_or("scale_fmt", "");  // of the activations' scales
  constexpr std::string_view key = "weight_block_size";
  const auto block = reader.numbers(key);
  const auto fits = [](double size) {
    return size >= 1 && size <= max_block && size == static_cast<double>(static_cast<std::int64_t>(size));
  };
  if (!block || block->size() != 2 || !fits((*block)[0]) || !fits((*block)[1])) {
    std::string given;
    for (std::size_t i = 0; block && i < std::min<std::size_t>(block->size(), 4); ++i)
      given += (i == 0 ? "[" : ", ") + number_text((*block)[i]);
    if (block) given += block->size() > 4 ? ", …]" : given.empty() ? "[]" : "]";
    reader.refuse(key, "FP8 weights need a scale for each block of rows and columns", "two sizes, e.g. [128, 128]",
                  block ? given : "nothing");
  }
  found.block_rows = static_cast<std::int64_t>((*block)[0]);
  found.block_columns = static_cast<std::int64_t>((*block)[1]);
}

// Rows of all matrices of a tensor, columns of one.
std::int64_t columns_of(const TensorInfo& info) {
  return info.shape.back();
}

std::int64_t divide_up(std::int64_t value, std::int64_t by) {
  return (value + by - 1) / by;
}

}  // namespace

Quantisation read_quantisation(const ConfigReader& reader) {
  Quantisation found;
  constexpr std::string_view method_key = "quant_method";
  if (!reader.has(method_key)) {
    reader.refuse_unread({});
    return found;
  }
  const std::string method = reader.string_or(method_key, "");
  if (method == "fp8")
    read_fp8(reader, found);
  else if (method == "mxfp4")
    found.method = QuantMethod::mxfp4;
  else
    reader.refuse(method_key, "this quantisation is not supported", "fp8 or mxfp4", in_quotes(method));
  // Which weights are not quantised, their types say; whether a program should widen them is this program's to decide.
  constexpr std::string_view harmless[] = {"modules_to_not_convert", "dequantize"};
  reader.refuse_unread({harmless});
  return found;
}

std::vector<ComposedTensor> compose_tensors(const Quantisation& quantisation, const std::vector<StoredTensor>& stored,
                                            const std::function<std::string(const StoredTensor&)>& place_of) {
  std::unordered_map<std::string_view, const StoredTensor*> by_name;
  for (const StoredTensor& tensor : stored) by_name.emplace(tensor.info.name, &tensor);
  const auto find = [&](const std::string& name) {
    const auto found = by_name.find(name);
    return found == by_name.end() ? nullptr : found->second;
  };
  const bool fp8 = quantisation.method == QuantMethod::fp8, mxfp4 = quantisation.method == QuantMethod::mxfp4;
  std::vector<ComposedTensor> composed;
  for (const StoredTensor& tensor : stored) {
    const TensorInfo& info = tensor.info;
    const std::string& name = info.name;
    if (info.dtype == DType::i32 || info.dtype == DType::i64)
      throw input_error(place_of(tensor), "whole numbers are no weights", "F32, F16 or BF16",
                        std::string(to_string(info.dtype)));
    if (fp8 && name.ends_with(scale_suffix)) {
      const auto* const values = find(name.substr(0, name.size() - scale_suffix.size()));
      if (values && values->info.dtype == DType::f8_e4m3) continue;
      throw input_error(place_of(tensor), "these are scales of an FP8 tensor that is not there", "its weights", "none");
    }
    if (fp8 && info.dtype == DType::f8_e4m3) {
      const auto* const scales = find(name + std::string(scale_suffix));
      if (!scales || info.shape.size() < 2 || scales->info.dtype == DType::u8 || scales->info.dtype == DType::f8_e4m3)
        throw input_error(place_of(tensor), "the FP8 tensor has no scales",
                          "a matrix, and " + in_quotes(name + std::string(scale_suffix)), "none");
      std::vector<std::int64_t> expected = info.shape;
      expected[expected.size() - 2] = divide_up(expected[expected.size() - 2], quantisation.block_rows);
      expected.back() = divide_up(expected.back(), quantisation.block_columns);
      if (scales->info.shape != expected)
        throw input_error(place_of(*scales), "the scales do not fit their tensor", dims_text(expected),
                          dims_text(scales->info.shape));
      composed.push_back(
          {info, tensor.place,
           Scales{scales->place, scales->info.dtype, quantisation.block_rows, quantisation.block_columns}});
      continue;
    }
    if (mxfp4 && info.dtype == DType::u8 && name.ends_with(scales_suffix)) {
      const auto* const blocks = find(name.substr(0, name.size() - scales_suffix.size()) + std::string(blocks_suffix));
      if (blocks && blocks->info.dtype == DType::u8) continue;
      throw input_error(place_of(tensor), "these are scales of MXFP4 blocks that are not there", "the blocks", "none");
    }
    if (mxfp4 && info.dtype == DType::u8 && name.ends_with(blocks_suffix)) {
      const std::string partner = name.substr(0, name.size() - blocks_suffix.size()) + std::string(scales_suffix);
      const auto* const scales = find(partner);
      if (!scales || scales->info.dtype != DType::u8)
        throw input_error(place_of(tensor), "the MXFP4 blocks have no scales", in_quotes(partner), "none");
      const std::vector<std::int64_t>& shape = info.shape;
      if (shape.size() != 4 || shape.back() != 16 ||
          scales->info.shape != std::vector<std::int64_t>(shape.begin(), shape.end() - 1))
        throw input_error(place_of(tensor), "the MXFP4 blocks do not fit their scales",
                          "[n, rows, blocks, 16] and [n, rows, blocks]",
                          dims_text(shape) + " and " + dims_text(scales->info.shape));
      TensorInfo whole{name, {shape[0], shape[1], shape[2] * 32}, DType::mxfp4_pairs, info.bytes + scales->info.bytes};
      composed.push_back({std::move(whole), tensor.place, Scales{scales->place, DType::u8, 0, 0}});
      continue;
    }
    if (info.dtype == DType::u8 || info.dtype == DType::f8_e4m3) {
      throw input_error(place_of(tensor), "nothing says what these 8-bit values stand for",
                        "F32, F16 or BF16, or a quantization_config of the kind fp8 or mxfp4",
                        std::string(to_string(info.dtype)));
    }
    composed.push_back({info, tensor.place, std::nullopt});
  }
  return composed;
}

void read_scaled(const TensorInfo& info, const Scales& scales, std::int64_t first, std::span<float> out,
                 const ReadStored& read_values, const ReadStored& read_scales) {
  thread_local std::vector<std::uint8_t> stored, stored_scales;
  const std::int64_t count = static_cast<std::int64_t>(out.size());
  if (info.dtype == DType::mxfp4_pairs) {
    stored.resize(out.size() / 2);
    stored_scales.resize(out.size() / 32);
    read_values(static_cast<std::uint64_t>(first / 2), stored);
    read_scales(static_cast<std::uint64_t>(first / 32), stored_scales);
    return dequantize_mxfp4_pairs(stored.data(), stored_scales.data(), out);
  }
  stored.resize(out.size());
  read_values(static_cast<std::uint64_t>(first), stored);
  dequantize(info.dtype, stored.data(), out);
  const std::int64_t columns = columns_of(info), rows = info.shape[info.shape.size() - 2];
  const std::int64_t scale_columns = divide_up(columns, scales.block_columns);
  const std::int64_t scale_rows = divide_up(rows, scales.block_rows), bytes = block_layout(scales.dtype).bytes;
  thread_local std::vector<float> row_scales;
  row_scales.resize(static_cast<std::size_t>(scale_columns));
  stored_scales.resize(static_cast<std::size_t>(scale_columns * bytes));
  std::int64_t held = -1;  // the row of scales at hand
  for (std::int64_t at = 0; at < count;) {
    const std::int64_t row = (first + at) / columns, column = (first + at) % columns;
    const std::int64_t wanted = row / rows * scale_rows + row % rows / scales.block_rows;
    if (wanted != held) {
      read_scales(static_cast<std::uint64_t>(wanted * scale_columns * bytes), stored_scales);
      dequantize(scales.dtype, stored_scales.data(), row_scales);
      held = wanted;
    }
    const std::int64_t end =
        std::min({count, at + columns - column, at + scales.block_columns - column % scales.block_columns});
    const float scale = row_scales[static_cast<std::size_t>(column / scales.block_columns)];
    for (; at < end; ++at) out[static_cast<std::size_t>(at)] *= scale;
  }
}

}  // namespace headroom::checkpoint
