// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/safetensors_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "base/error.h"
#include "base/file_kind.h"
#include "checkpoint/dequantize.h"
#include "checkpoint/json_input.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;
constexpr std::uint64_t max_header_bytes = 100'000'000;  // the format's own limit
constexpr std::size_t max_rank = 8;

struct StoredType {
  std::string_view name;
  DType dtype;
  std::uint64_t bytes;
};
constexpr StoredType stored_types[] = {{"F32", DType::f32, 4},
                                       {"F16", DType::f16, 2},
                                       {"BF16", DType::bf16, 2},
                                       {"F8_E4M3", DType::f8_e4m3, 1},
                                       {"U8", DType::u8, 1},
                                       {"I32", DType::i32, 4},
                                       {"I64", DType::i64, 8}};

const StoredType* type_by_name(std::string_view name) {
  const auto* const found = std::ranges::find(stored_types, name, &StoredType::name);
  return found == std::end(stored_types) ? nullptr : found;
}
const StoredType* type_by_dtype(DType dtype) {
  const auto* const found = std::ranges::find(stored_types, dtype, &StoredType::dtype);
  return found == std::end(stored_types) ? nullptr : found;
}

/// What JSON from the file looks like in a message.
std::string shown(const Json& value) {
  return in_quotes(value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

/// The header as JSON, and where the data begin.
std::pair<Json, std::uint64_t> read_header(const InputFile& input, const std::string& file) {
  std::vector<std::uint8_t> beginning(std::min<std::uint64_t>(input.size(), file_kind_bytes));
  input.read(0, beginning);
  const std::string kind = file_kind({reinterpret_cast<const char*>(beginning.data()), beginning.size()});
  if (input.size() < 8) {
    throw input_error(file, "the file ends within its header: it is truncated or damaged", "8 bytes or more",
                      std::to_string(input.size()) + (input.size() == 0 || kind.empty() ? "" : ": " + kind));
  }
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | beginning[i];
  const std::uint64_t longest = std::min<std::uint64_t>(input.size() - 8, max_header_bytes);
  if (length > longest) {
    throw input_error(file + ": byte 0", "the header's length is impossible: no safetensors file, or truncated",
                      "at most " + std::to_string(longest) + " bytes",
                      std::to_string(length) + (kind.empty() ? "" : ": " + kind));
  }
  std::string text(length, '\0');
  input.read(8, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  return {parse_json_object(text, file + ": header", 8), 8 + length};
}

const Json& field(const Json& entry, const char* key, const std::string& place) {
  const auto found = entry.is_object() ? entry.find(key) : entry.end();
  if (found == entry.end()) throw input_error(place, "the tensor's entry is incomplete", key, "none");
  return *found;
}

std::vector<std::uint64_t> whole_numbers(const Json& entry, const char* key, const std::string& place) {
  const Json& list = field(entry, key, place);
  if (!list.is_array() || list.size() > max_rank || !std::ranges::all_of(list, &Json::is_number_unsigned)) {
    throw input_error(place, std::string(key) + " is not what it should be",
                      "a list of up to " + std::to_string(max_rank) + " whole numbers", shown(list));
  }
  return list.get<std::vector<std::uint64_t>>();
}

/// Name, shape, dtype and size of one entry, and its range of the data.
TensorInfo read_entry(const std::string& name, const Json& entry, const std::string& place, std::uint64_t data_bytes,
                      std::pair<std::uint64_t, std::uint64_t>& range) {
  const Json& type_name = field(entry, "dtype", place);
  const StoredType* const type = type_name.is_string() ? type_by_name(type_name.get<std::string>()) : nullptr;
  if (!type)
    throw input_error(place, "the tensor's dtype is not supported", "F32, F16, BF16, F8_E4M3, U8, I32 or I64",
                      shown(type_name));
  TensorInfo info{name, {}, type->dtype, 0};
  std::uint64_t elements = 1;
  for (const std::uint64_t size : whole_numbers(entry, "shape", place)) {
    if (size > max_elements / std::max<std::uint64_t>(elements, 1)) {
      throw input_error(place, "a dimension is impossible",
                        "at most " + std::to_string(max_elements / std::max<std::uint64_t>(elements, 1)),
                        std::to_string(size));
    }
    elements *= size;
    info.shape.push_back(static_cast<std::int64_t>(size));
  }
  info.bytes = elements * type->bytes;
  const std::vector<std::uint64_t> ends = whole_numbers(entry, "data_offsets", place);
  if (ends.size() != 2 || ends[0] > ends[1] || ends[1] > data_bytes) {
    throw input_error(place, "the tensor's data lie outside the file: it is truncated or damaged",
                      "begin and end within " + std::to_string(data_bytes) + " bytes", shown(entry["data_offsets"]));
  }
  if (ends[1] - ends[0] != info.bytes) {
    throw input_error(place, "the size of the data does not fit the shape", std::to_string(info.bytes) + " bytes",
                      std::to_string(ends[1] - ends[0]));
  }
  range = {ends[0], ends[1]};
  return info;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const fs::path& file) : file_(file) {}

std::unique_ptr<SafetensorsFile> SafetensorsFile::open(const fs::path& file) {
  std::unique_ptr<SafetensorsFile> result(new SafetensorsFile(file));
  const std::string place = file.string();
  const std::uint64_t size = result->file_.size();
  const auto [header, data_begin] = read_header(result->file_, place);
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name != "__metadata__") {
      std::pair<std::uint64_t, std::uint64_t> range;
      result->tensors_.push_back(
          read_entry(name, entry, place + ": tensor " + in_quotes(name), size - data_begin, range));
      result->offsets_.push_back(data_begin + range.first);
      if (range.second > range.first) ranges.push_back(range);
      continue;
    }
    const std::string where = place + ": __metadata__";
    if (!entry.is_object())
      throw input_error(where, "the metadata are not what they should be", "an object", shown(entry));
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string())
        throw input_error(where + ", key " + in_quotes(key), "wrong type", "a string", shown(value));
      result->metadata_[key] = value.get<std::string>();
    }
  }
  result->sort_by_offset();
  std::ranges::sort(ranges);
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) {
      throw input_error(place + ": header", "two tensors overlap",
                        "an offset of at least " + std::to_string(ranges[i - 1].second),
                        std::to_string(ranges[i].first));
    }
  }
  return result;
}

void SafetensorsFile::sort_by_offset() {
  std::vector<std::size_t> order(tensors_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [this](std::size_t i) { return offsets_[i]; });
  std::vector<TensorInfo> tensors;
  std::vector<std::uint64_t> offsets;
  for (const std::size_t i : order) {
    tensors.push_back(std::move(tensors_[i]));
    offsets.push_back(offsets_[i]);
  }
  tensors_ = std::move(tensors);
  offsets_ = std::move(offsets);
}

const TensorInfo* SafetensorsFile::find(std::string_view name) const {
  const auto found = std::ranges::find(tensors_, name, &TensorInfo::name);
  return found == tensors_.end() ? nullptr : &*found;
}

void SafetensorsFile::read(std::size_t tensor, std::uint64_t offset, std::span<std::uint8_t> out) const {
  file_.read(offsets_[tensor] + offset, out);
}

void SafetensorsFile::read_f32(std::string_view name, std::span<float> out) const {
  const TensorInfo* const found = find(name);
  if (!found) throw input_error(path().string(), "the file has no tensor " + in_quotes(name));
  const TensorInfo& info = *found;
  const auto tensor = static_cast<std::size_t>(found - tensors_.data());
  if (static_cast<std::int64_t>(out.size()) != info.elements())
    throw Error(ErrorKind::internal, "read_f32: the buffer of " + info.name + " has the wrong size");
  if (info.dtype != DType::f32 && info.dtype != DType::f16 && info.dtype != DType::bf16)
    throw input_error(path().string() + ": tensor " + in_quotes(name), "the values are of another type",
                      "F32, F16 or BF16", std::string(to_string(info.dtype)));
  const auto read_piece = [&](std::uint64_t offset, std::span<std::uint8_t> bytes) { read(tensor, offset, bytes); };
  if (const auto bad = dequantize_checked(info.dtype, read_piece, out)) {
    throw input_error(path().string() + ": tensor " + in_quotes(name) + ", flat index " + std::to_string(*bad),
                      "a value is not a finite number", "a finite value",
                      std::isnan(out[static_cast<std::size_t>(*bad)]) ? "NaN" : "infinity");
  }
}

std::vector<std::int64_t> SafetensorsFile::read_integers(std::string_view name) const {
  const TensorInfo* const info = find(name);
  if (!info) throw input_error(path().string(), "the file has no tensor " + in_quotes(name));
  if (info->dtype != DType::i32 && info->dtype != DType::i64)
    throw input_error(path().string() + ": tensor " + in_quotes(name), "whole numbers are expected", "I32 or I64",
                      std::string(to_string(info->dtype)));
  std::vector<std::uint8_t> bytes(info->bytes);
  read(static_cast<std::size_t>(info - tensors_.data()), 0, bytes);
  std::vector<std::int64_t> values(static_cast<std::size_t>(info->elements()));
  const std::size_t size = info->dtype == DType::i32 ? 4 : 8;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (size == 8) {
      std::memcpy(&values[i], bytes.data() + 8 * i, 8);
    } else {
      std::int32_t narrow;
      std::memcpy(&narrow, bytes.data() + 4 * i, 4);
      values[i] = narrow;
    }
  }
  return values;
}

fs::path write_safetensors(OutputPlace& place, const std::vector<TensorToWrite>& tensors,
                           const std::map<std::string, std::string>& metadata) {
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    const StoredType* type = type_by_dtype(tensor.dtype);
    std::uint64_t elements = 1;
    for (const std::int64_t size : tensor.shape) elements *= static_cast<std::uint64_t>(size);
    if (!type || elements * type->bytes != tensor.bytes.size() || header.contains(tensor.name))
      throw Error(ErrorKind::internal, "write_safetensors: tensor " + tensor.name + " is not storable");
    header[tensor.name] = {
        {"dtype", type->name}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');  // readers like the data aligned
  const std::uint64_t header_bytes = text.size();

  OutputFile file(place, static_cast<std::int64_t>(8 + header_bytes + offset));
  file.write(std::span(reinterpret_cast<const std::uint8_t*>(&header_bytes), 8));
  file.write(text);
  for (const TensorToWrite& tensor : tensors) file.write(tensor.bytes);
  return file.commit();
}

}  // namespace headroom::checkpoint
