// SPDX-License-Identifier: Apache-2.0
#include "experiment/streams/streams.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/json_fields.h"
#include "base/utf8.h"

namespace headroom::experiment {
namespace {

using checkpoint::DType;
using checkpoint::TensorInfo;

constexpr std::size_t max_stream_layers = 1024;
constexpr std::int64_t max_stream_heads = 1024, max_stream_head_dim = 1024, max_stream_length = 1 << 20;
constexpr std::size_t max_stream_text = std::size_t{1} << 28;
constexpr std::array tensor_kinds = {"q", "k", "v", "selected"};
constexpr std::array known_keys = {"headroom_streams", "model", "architecture", "layers", "text", "format"};

std::string dims(const std::vector<std::int64_t>& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "[" : ", ") + std::to_string(size);
  return text.empty() ? "[]" : text + "]";
}

bool is_real(DType type) {
  return type == DType::f32 || type == DType::f16 || type == DType::bf16;
}

}  // namespace

Streams::Streams(const std::filesystem::path& file) : file_(checkpoint::SafetensorsFile::open(file)) {
  const auto& metadata = file_->metadata();
  const std::string where = path().string() + ": __metadata__";
  const auto version = metadata.find("headroom_streams");
  if (version == metadata.end() || version->second != "1")
    throw input_error(where + ", key 'headroom_streams'", "the file holds no attention streams that this program reads",
                      "\"1\" (docs/import.md)",
                      version == metadata.end() ? "no such key" : '"' + version->second + '"');
  for (const auto& [key, value] : metadata)
    if (std::ranges::find(known_keys, key) == known_keys.end())
      throw input_error(where, "the key is not known", "model, architecture, layers, text", "'" + key + "'");
  const auto entry = [&](const char* key) {
    const auto found = metadata.find(key);
    return found == metadata.end() ? std::string() : found->second;
  };
  config_.name = entry("model");
  if (config_.name.empty() || config_.name.size() > 256 || first_invalid_utf8(config_.name))
    throw input_error(where + ", key 'model'", "the model has no name", "1 to 256 bytes of UTF-8",
                      std::to_string(config_.name.size()) + " bytes");
  config_.architecture = entry("architecture").empty() ? "imported" : entry("architecture");
  read_layers();
  read_tokens();
  read_sizes();
  read_selection_shape();
  config_.context_length = length();
}

std::string Streams::place(int layer, const char* what) const {
  return path().string() + ": tensor 'layers." + std::to_string(layer) + "." + what + "'";
}

const TensorInfo* Streams::tensor(int layer, const char* what) const {
  return file_->find("layers." + std::to_string(layer) + "." + what);
}

void Streams::read_layers() {
  const std::string where = path().string() + ": __metadata__, key 'layers'";
  const auto found = file_->metadata().find("layers");
  if (found == file_->metadata().end()) throw input_error(where, "the key is missing", "a list of the model's layers");
  const auto list = parse_json(found->second, where, 4);
  if (!list.is_array() || list.empty() || list.size() > max_stream_layers)
    throw input_error(where, "is not what it should be",
                      "a list of 1 to " + std::to_string(max_stream_layers) + " layers", headroom::describe(list));
  for (const auto& item : list) {
    const auto number = std::to_string(config_.layers.size());
    Fields fields(item, where + ", layer " + number);
    const std::string kind = fields.string("kind", 32);
    model::LayerSpec layer;
    record::LayerMeta meta;
    meta.kind = kind;
    if (kind == "full") {
      layer.kind = model::LayerKind::full;
      layer.attention.scale = meta.scale = fields.number("scale", 1e-6, 1e6);
    } else if (kind == "sliding") {
      layer.kind = model::LayerKind::sliding;
      layer.attention.window = meta.window = fields.integer("window", 1, max_stream_length);
    } else if (kind == "linear" || kind == "omitted") {
      layer.kind = model::LayerKind::linear;
    } else {
      fields.fail("kind", "full, sliding, linear or omitted", '"' + kind + '"');
    }
    fields.refuse_unknown();
    config_.layers.push_back(layer);
    layers_.push_back(meta);
  }
  if (config_.full_layers() == 0)
    throw input_error(where, "no layer is full: there is nothing to look at", "one or more", "none");
  std::set<std::string> known = {"token_ids", "token_offsets"};
  for (int layer = 0; layer < config_.num_layers(); ++layer)
    for (const char* what : tensor_kinds)
      if (config_.is_full(layer)) known.insert("layers." + std::to_string(layer) + "." + what);
  for (const TensorInfo& info : file_->tensors()) {
    if (!known.contains(info.name))
      throw input_error(path().string() + ": tensor '" + info.name + "'", "would not be read",
                        "token_ids, token_offsets, or q, k, v or selected of a layer of the kind full", "another name");
  }
}

void Streams::read_tokens() {
  const TensorInfo* const ids = file_->find("token_ids");
  const std::string where = path().string() + ": tensor 'token_ids'";
  if (!ids || ids->shape.size() != 1 || ids->shape[0] < 1 || ids->shape[0] > max_stream_length)
    throw input_error(where, "is not what it should be", "[1 to " + std::to_string(max_stream_length) + "] I32 or I64",
                      ids ? dims(ids->shape) : "nothing");
  for (const std::int64_t id : file_->read_integers("token_ids")) {
    if (id < 0 || id > std::numeric_limits<std::int32_t>::max())
      throw input_error(where + ", place " + std::to_string(tokens_.ids.size()), "is no token id", "0 to 2^31 - 1",
                        std::to_string(id));
    tokens_.ids.push_back(static_cast<std::int32_t>(id));
  }
  const auto text = file_->metadata().find("text");
  const TensorInfo* const offsets = file_->find("token_offsets");
  if ((text != file_->metadata().end()) != (offsets != nullptr))
    throw input_error(path().string(), "text and token_offsets belong together", "both or none",
                      offsets ? "token_offsets alone" : "text alone");
  if (!offsets) {  // ids stand for themselves
    for (const std::int32_t id : tokens_.ids) {
      tokens_.begin.push_back(static_cast<std::int64_t>(tokens_.text.size()));
      tokens_.text += std::to_string(id) + " ";
      tokens_.end.push_back(static_cast<std::int64_t>(tokens_.text.size()));
    }
    return;
  }
  tokens_.text = text->second;
  if (tokens_.text.size() > max_stream_text || first_invalid_utf8(tokens_.text))
    throw input_error(path().string() + ": __metadata__, key 'text'", "is no prompt",
                      "at most " + std::to_string(max_stream_text >> 20) + " MiB of UTF-8",
                      std::to_string(tokens_.text.size()) + " bytes");
  const std::string place = path().string() + ": tensor 'token_offsets'";
  if (offsets->shape != std::vector<std::int64_t>{length(), 2})
    throw input_error(place, "is not what it should be", "[" + std::to_string(length()) + ", 2]", dims(offsets->shape));
  const auto values = file_->read_integers("token_offsets");
  std::int64_t last = 0;
  for (std::size_t i = 0; i < values.size(); i += 2) {
    const std::int64_t begin = values[i], end = values[i + 1];
    if (begin < last || end < begin || end > static_cast<std::int64_t>(tokens_.text.size()))
      throw input_error(place + ", token " + std::to_string(i / 2), "the byte range does not fit the text",
                        std::to_string(last) + " <= begin <= end <= " + std::to_string(tokens_.text.size()),
                        std::to_string(begin) + " to " + std::to_string(end));
    last = begin;
    tokens_.begin.push_back(begin);
    tokens_.end.push_back(end);
  }
}

void Streams::read_sizes() {
  bool all_bf16 = true;
  has_values_ = true;
  for (int number = 0; number < config_.num_layers(); ++number) {
    if (!config_.is_full(number)) continue;
    auto& attention = config_.layers[static_cast<std::size_t>(number)].attention;
    auto& meta = layers_[static_cast<std::size_t>(number)];
    const auto shape_of = [&](const char* what) -> const std::vector<std::int64_t>& {
      const TensorInfo* const info = tensor(number, what);
      if (!info || info->shape.size() != 3 || !is_real(info->dtype))
        throw input_error(place(number, what), "is not what it should be",
                          std::string("[heads, ") + std::to_string(length()) + ", head_dim] of F32, F16 or BF16",
                          info ? dims(info->shape) + " of " + std::string(to_string(info->dtype)) : "nothing");
      all_bf16 = all_bf16 && info->dtype == DType::bf16;
      return info->shape;
    };
    const auto check = [&](const char* what, const std::vector<std::int64_t>& shape, std::int64_t heads) {
      const std::vector<std::int64_t> expected = {heads, length(), attention.head_dim};
      if (shape != expected)
        throw input_error(place(number, what), "the shape does not fit", dims(expected), dims(shape));
    };
    const auto& q = shape_of("q");
    attention.num_q_heads = q[0];
    attention.head_dim = q[2];
    if (q[0] < 1 || q[0] > max_stream_heads || q[2] < 1 || q[2] > max_stream_head_dim)
      throw input_error(
          place(number, "q"), "a size is out of range",
          "1 to " + std::to_string(max_stream_heads) + " heads of 1 to " + std::to_string(max_stream_head_dim),
          dims(q));
    check("q", q, q[0]);
    const auto& k = shape_of("k");
    attention.num_kv_heads = k[0];
    if (k[0] < 1 || q[0] % k[0] != 0)
      throw input_error(place(number, "k"), "the query heads do not divide among the KV heads",
                        "a divisor of " + std::to_string(q[0]), std::to_string(k[0]));
    check("k", k, k[0]);
    if (tensor(number, "v"))
      check("v", shape_of("v"), k[0]);
    else
      has_values_ = false;
    meta.num_q_heads = attention.num_q_heads;
    meta.num_kv_heads = attention.num_kv_heads;
    meta.head_dim = attention.head_dim;
    attention.rope.dims = 0;
  }
  dtype_ = all_bf16 ? c10::ScalarType::BFloat16 : c10::ScalarType::Float;
}

void Streams::read_selection_shape() {
  std::int64_t groups = -1;
  for (int number = 0; number < config_.num_layers(); ++number) {
    const TensorInfo* const info = tensor(number, "selected");
    if (!info) continue;
    const auto& shape = info->shape;
    const bool bits = info->dtype == DType::u8, list = info->dtype == DType::i32 || info->dtype == DType::i64;
    const std::size_t rank = shape.size();
    const auto& attention = config_.layer(number).attention;
    const std::int64_t found = rank == 3 ? shape[0] : 1;
    const bool fits =
        (rank == 2 || rank == 3) && (bits || list) && shape[rank - 2] == length() &&
        (bits ? shape[rank - 1] == (length() + 7) / 8 : shape[rank - 1] >= 1 && shape[rank - 1] <= length()) &&
        (found == 1 || found == attention.num_kv_heads || found == attention.num_q_heads);
    if (!fits)
      throw input_error(place(number, "selected"), "is not what it should be",
                        "[" + std::to_string(length()) + ", keys] I32 or I64, or [" + std::to_string(length()) + ", " +
                            std::to_string((length() + 7) / 8) + "] U8, or one such for each KV head or query head",
                        dims(shape) + " of " + std::string(to_string(info->dtype)));
    const SupportScope scope = found == 1                          ? SupportScope::layer
                               : found == attention.num_kv_heads ? SupportScope::kv_head
                                                                 : SupportScope::q_head;
    if (groups >= 0 && scope != selection_scope_)
      throw input_error(place(number, "selected"), "layers differ in who shares a selection",
                        "as in the layers before", dims(shape));
    groups = found;
    selection_scope_ = scope;
  }
  has_selection_ = groups >= 0;
  if (!has_selection_) return;
  for (int number = 0; number < config_.num_layers(); ++number)
    if (config_.is_full(number) && !tensor(number, "selected"))
      throw input_error(place(number, "selected"), "is missing though other layers have it", "one in every full layer",
                        "nothing");
}

std::int64_t Streams::selection_groups() const {
  std::int64_t most = 0;
  for (int number = 0; has_selection_ && number < config_.num_layers(); ++number) {
    if (!config_.is_full(number)) continue;
    const auto& attention = config_.layer(number).attention;
    most = std::max(most, num_support_groups(selection_scope_, attention.num_q_heads, attention.num_kv_heads));
  }
  return most;
}

at::Tensor Streams::values(int layer, const char* what) const {
  const TensorInfo* const info = tensor(layer, what);
  at::Tensor read = at::empty(info->shape, at::TensorOptions().dtype(at::kFloat));
  file_->read_f32(info->name, {read.mutable_data_ptr<float>(), static_cast<std::size_t>(read.numel())});
  return read.to(dtype_);
}

attention::LayerQuery Streams::layer(int number) const {
  attention::LayerQuery query;
  query.layer = number;
  query.num_layers = static_cast<int>(config_.num_layers());
  query.q = values(number, "q");
  query.k = values(number, "k");
  query.v = has_values_ ? values(number, "v") : query.k;
  query.x = at::empty({length(), 0}, query.q.options());
  query.scale = config_.layer(number).attention.scale;
  return query;
}

std::vector<SupportBitmap> Streams::selection(int number) const {
  const TensorInfo* const info = tensor(number, "selected");
  const std::int64_t groups = info->shape.size() == 3 ? info->shape[0] : 1;
  std::vector<SupportBitmap> bitmaps(static_cast<std::size_t>(groups), SupportBitmap(length()));
  const auto fail = [&](std::int64_t group, std::int64_t row, const char* problem, const std::string& expected,
                        const std::string& found) {
    throw input_error(place(number, "selected") + ", group " + std::to_string(group) + ", query " + std::to_string(row),
                      problem, expected, found);
  };
  if (info->dtype == DType::u8) {
    const auto bytes = static_cast<std::uint64_t>(bitmaps[0].bytes().size());
    for (std::size_t group = 0; group < bitmaps.size(); ++group)
      file_->read(static_cast<std::size_t>(info - file_->tensors().data()), group * bytes, bitmaps[group].bytes());
  } else {
    const std::vector<std::int64_t> keys = file_->read_integers(info->name);
    const std::int64_t width = info->shape.back();
    for (std::int64_t row = 0; row < groups * length(); ++row) {
      const std::int64_t group = row / length(), query = row % length();
      SupportBitmap& bitmap = bitmaps[static_cast<std::size_t>(group)];
      bool ended = false;
      for (std::int64_t i = 0; i < width; ++i) {
        const std::int64_t key = keys[static_cast<std::size_t>(row * width + i)];
        if (key == -1) {
          ended = true;
          continue;
        }
        if (ended) fail(group, query, "the list goes on behind its end", "-1", std::to_string(key));
        if (key < 0 || key > query)
          fail(group, query, "a key is not in the query's history", "0 to " + std::to_string(query),
               std::to_string(key));
        if (bitmap.test(query, key)) fail(group, query, "a key is there twice", "each once", std::to_string(key));
        bitmap.set(query, key);
      }
    }
  }
  for (std::int64_t group = 0; group < groups; ++group) {
    const SupportBitmap& bitmap = bitmaps[static_cast<std::size_t>(group)];
    for (std::int64_t row = 0; row < length(); ++row) {
      if (bitmap.count(row, 0, row + 1) == 0) fail(group, row, "the query has no key", "at least one", "none");
      if (bitmap.count(row, row + 1, 8 * bitmap.row_bytes()) != 0)
        fail(group, row, "a key is not in the query's history", "0 to " + std::to_string(row), "a later one");
    }
  }
  return bitmaps;
}

}  // namespace headroom::experiment
