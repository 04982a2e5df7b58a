// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf_file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/file_kind.h"
#include "checkpoint/dequantize.h"

namespace headroom::checkpoint {
namespace {

constexpr std::uint64_t max_array = 1u << 24;  // elements: vocabularies are below 2^19
constexpr std::uint64_t max_name = 65535;      // bytes of a key or a tensor's name

using ValueType = GgufFile::ValueType;
constexpr std::uint32_t num_value_types = 13;
// Fewest bytes of one value; an empty string is its length alone.
constexpr std::array<std::uint64_t, num_value_types> value_bytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

struct TypeName {
  std::uint32_t id;
  std::string_view name;
  std::optional<DType> dtype;
};
constexpr std::array tensor_types = {
    TypeName{0, "F32", DType::f32},
    TypeName{1, "F16", DType::f16},
    TypeName{2, "Q4_0", DType::q4_0},
    TypeName{3, "Q4_1", DType::q4_1},
    TypeName{6, "Q5_0", DType::q5_0},
    TypeName{7, "Q5_1", DType::q5_1},
    TypeName{8, "Q8_0", DType::q8_0},
    TypeName{9, "Q8_1", {}},
    TypeName{10, "Q2_K", DType::q2_k},
    TypeName{11, "Q3_K", DType::q3_k},
    TypeName{12, "Q4_K", DType::q4_k},
    TypeName{13, "Q5_K", DType::q5_k},
    TypeName{14, "Q6_K", DType::q6_k},
    TypeName{15, "Q8_K", {}},
    TypeName{16, "IQ2_XXS", {}},
    TypeName{17, "IQ2_XS", {}},
    TypeName{18, "IQ3_XXS", {}},
    TypeName{19, "IQ1_S", {}},
    TypeName{20, "IQ4_NL", DType::iq4_nl},
    TypeName{21, "IQ3_S", {}},
    TypeName{22, "IQ2_S", {}},
    TypeName{23, "IQ4_XS", DType::iq4_xs},
    TypeName{24, "I8", {}},
    TypeName{25, "I16", {}},
    TypeName{26, "I32", {}},
    TypeName{27, "I64", {}},
    TypeName{28, "F64", {}},
    TypeName{29, "IQ1_M", {}},
    TypeName{30, "BF16", DType::bf16},
    TypeName{34, "TQ1_0", {}},
    TypeName{35, "TQ2_0", {}},
    TypeName{39, "MXFP4", DType::mxfp4},
};

std::string hex_of(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const std::uint8_t byte : bytes) {
    if (!out.empty()) out += ' ';
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return "bytes " + out;
}

}  // namespace

/// A bounded cursor over the file, read ahead in blocks.
class GgufFile::Cursor {
 public:
  explicit Cursor(const InputFile& file) : file_(file) {}

  std::uint64_t offset() const { return at_; }
  std::uint64_t left() const { return file_.size() - at_; }
  std::string place() const { return file_.path().string() + ": byte " + std::to_string(at_); }

  /// Valid until the next call.
  std::span<const std::uint8_t> take(std::uint64_t count, std::string_view what) {
    if (count > left()) {
      throw input_error(place(), "the file ends within " + std::string(what) + ": it is truncated or damaged",
                        std::to_string(count) + " bytes", std::to_string(left()));
    }
    if (at_ + count > block_begin_ + block_.size()) {
      constexpr std::uint64_t read_ahead = 1 << 20;
      block_.resize(std::min(std::max(count, read_ahead), left()));
      file_.read(at_, block_);
      block_begin_ = at_;
    }
    const auto out = std::span<const std::uint8_t>(block_).subspan(at_ - block_begin_, count);
    at_ += count;
    return out;
  }
  template <class T>
  T number(std::string_view what) {
    const auto in = take(sizeof(T), what);
    std::array<std::uint8_t, sizeof(T)> raw;
    std::memcpy(raw.data(), in.data(), sizeof(T));
    if constexpr (std::endian::native == std::endian::big) std::reverse(raw.begin(), raw.end());
    return std::bit_cast<T>(raw);
  }
  /// Valid until the next call.
  std::string_view string(std::string_view what, std::uint64_t longest = std::numeric_limits<std::uint64_t>::max()) {
    const std::string start = place();
    const auto size = number<std::uint64_t>(what);
    if (size > left() || size > longest) {
      throw input_error(start, "the length of " + std::string(what) + " is impossible",
                        "at most " + std::to_string(std::min(left(), longest)) + " bytes", std::to_string(size));
    }
    const auto in = take(size, what);
    return {reinterpret_cast<const char*>(in.data()), in.size()};
  }
  /// A count of things that take at least `each` bytes.
  std::uint64_t count(std::string_view what, std::uint64_t each, std::uint64_t largest) {
    const std::string start = place();
    const auto value = number<std::uint64_t>(what);
    const std::uint64_t fits = std::min(left() / each, largest);
    if (value > fits) {
      throw input_error(start, "the number of " + std::string(what) + " is impossible",
                        "at most " + std::to_string(fits) + " in the " + std::to_string(left()) + " bytes that follow",
                        std::to_string(value));
    }
    return value;
  }

 private:
  const InputFile& file_;
  std::vector<std::uint8_t> block_;
  std::uint64_t at_ = 0, block_begin_ = 0;
};

bool GgufFile::add_value(const std::string& key, MetadataValue value) {
  if (!keys_.insert(key).second) return false;
  values_.emplace_back(key, std::move(value));
  return true;
}

std::string GgufFile::place_of_key(std::string_view key) const {
  return path().string() + ": key " + in_quotes(key);
}
std::string GgufFile::place_of_tensor(std::string_view name) const {
  return path().string() + ": tensor " + in_quotes(name);
}

const MetadataValue* GgufFile::find(std::string_view key) const {
  const auto found = std::ranges::find(values_, key, &std::pair<std::string, MetadataValue>::first);
  return found == values_.end() ? nullptr : &found->second;
}

GgufFile::GgufFile(const std::filesystem::path& file) : file_(file) {
  parse();
}

void GgufFile::parse() {
  Cursor in(file_);
  std::uint64_t num_tensors = 0, num_keys = 0;
  parse_header(in, num_tensors, num_keys);
  for (std::uint64_t i = 0; i < num_keys; ++i) parse_key(in);
  if (const MetadataValue* const value = find("general.alignment")) {
    const auto* const alignment = std::get_if<std::int64_t>(value);
    if (!alignment || *alignment < 1 || *alignment > 1 << 20 ||
        !std::has_single_bit(static_cast<std::uint64_t>(*alignment))) {
      throw input_error(place_of_key("general.alignment"), "the alignment is impossible", "a power of two up to 2^20",
                        alignment ? std::to_string(*alignment) : std::string("no integer"));
    }
    alignment_ = static_cast<std::uint64_t>(*alignment);
  }
  offsets_.reserve(num_tensors);
  for (std::uint64_t i = 0; i < num_tensors; ++i) parse_tensor(in);
  check_data(in);
}

void GgufFile::parse_header(Cursor& in, std::uint64_t& num_tensors, std::uint64_t& num_keys) {
  if (file_.size() == 0) throw input_error(file_.path().string(), "the file is empty", "a GGUF file", "0 bytes");
  constexpr std::string_view magic = "GGUF";
  std::vector<std::uint8_t> head(std::min<std::uint64_t>(file_.size(), file_kind_bytes));
  file_.read(0, head);
  if (head.size() < 4 || std::memcmp(head.data(), magic.data(), 4) != 0) {
    const std::string kind = file_kind({reinterpret_cast<const char*>(head.data()), head.size()});
    head.resize(std::min<std::size_t>(head.size(), 4));
    throw input_error(file_.path().string() + ": byte 0", "this is not a GGUF file", "the letters GGUF",
                      hex_of(head) + (kind.empty() ? "" : ": " + kind));
  }
  in.take(4, "the magic number");
  const std::string place = in.place();
  const auto version = in.number<std::uint32_t>("the version");
  if (version != 2 && version != 3) {
    const bool swapped = version == 0x02000000u || version == 0x03000000u;
    throw input_error(place, "this GGUF version is not supported", "2 or 3, little-endian",
                      swapped ? "a big-endian file" : std::to_string(version));
  }
  // Name length, one letter, dimensions, one of them, type and offset; key length, one letter, type, one byte.
  num_tensors = in.count("tensors", 8 + 1 + 4 + 8 + 4 + 8, max_array);
  num_keys = in.count("metadata keys", 8 + 1 + 4 + 1, max_array);
}

void GgufFile::parse_key(Cursor& in) {
  const std::string start = in.place();
  const std::string key(in.string("a metadata key", max_name));
  if (key.empty()) throw input_error(start, "a metadata key is empty", "a name", "0 bytes");
  const std::string place = in.place();
  const auto type = in.number<std::uint32_t>("a value's type");
  if (type >= num_value_types) {
    throw input_error(place + ", key " + in_quotes(key), "the type of the value is unknown", "0 to 12",
                      std::to_string(type));
  }
  MetadataValue value = static_cast<ValueType>(type) == ValueType::array
                            ? parse_array(in, key)
                            : parse_scalar(in, static_cast<ValueType>(type), "the value of " + in_quotes(key));
  if (!add_value(key, std::move(value)))
    throw input_error(start, "a metadata key appears twice", "each key once", in_quotes(key));
}

MetadataValue GgufFile::parse_scalar(Cursor& in, ValueType type, std::string_view what) {
  switch (type) {
    case ValueType::u8:
      return std::int64_t{in.number<std::uint8_t>(what)};
    case ValueType::i8:
      return std::int64_t{in.number<std::int8_t>(what)};
    case ValueType::u16:
      return std::int64_t{in.number<std::uint16_t>(what)};
    case ValueType::i16:
      return std::int64_t{in.number<std::int16_t>(what)};
    case ValueType::u32:
      return std::int64_t{in.number<std::uint32_t>(what)};
    case ValueType::i32:
      return std::int64_t{in.number<std::int32_t>(what)};
    case ValueType::u64:
      return in.number<std::uint64_t>(what);
    case ValueType::i64:
      return in.number<std::int64_t>(what);
    case ValueType::f32:
      return static_cast<double>(in.number<float>(what));
    case ValueType::f64:
      return in.number<double>(what);
    case ValueType::string:
      return std::string(in.string(what));
    case ValueType::boolean: {
      const std::string place = in.place();
      const auto flag = in.number<std::uint8_t>(what);
      if (flag > 1) throw input_error(place, std::string(what) + " is no truth value", "0 or 1", std::to_string(flag));
      return flag == 1;
    }
    case ValueType::array:
      break;
  }
  throw Error(ErrorKind::internal, "gguf: no such scalar");
}

MetadataValue GgufFile::parse_array(Cursor& in, const std::string& key) {
  const std::string what = "the list " + in_quotes(key);
  const std::string place = in.place();
  const auto type = in.number<std::uint32_t>(what);
  if (type >= num_value_types || static_cast<ValueType>(type) == ValueType::array) {
    throw input_error(place + ", key " + in_quotes(key), "the type of the list's values is not supported",
                      "0 to 12 but 9 (no lists of lists)", std::to_string(type));
  }
  const std::uint64_t count = in.count("values in " + what, value_bytes[type], max_array);
  if (static_cast<ValueType>(type) == ValueType::string) {
    std::vector<std::string> strings;
    strings.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) strings.emplace_back(in.string(what));
    return strings;
  }
  std::vector<double> numbers;
  numbers.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const MetadataValue value = parse_scalar(in, static_cast<ValueType>(type), what);
    if (const auto* integer = std::get_if<std::int64_t>(&value)) numbers.push_back(static_cast<double>(*integer));
    if (const auto* large = std::get_if<std::uint64_t>(&value)) numbers.push_back(static_cast<double>(*large));
    if (const auto* real = std::get_if<double>(&value)) numbers.push_back(*real);
    if (const auto* flag = std::get_if<bool>(&value)) numbers.push_back(*flag ? 1 : 0);
  }
  return numbers;
}

void GgufFile::parse_tensor(Cursor& in) {
  const std::string start = in.place();
  TensorInfo info;
  info.name = in.string("a tensor's name", max_name);
  if (info.name.empty()) throw input_error(start, "a tensor's name is empty", "a name", "0 bytes");
  const std::string place = place_of_tensor(info.name);
  const auto rank = in.number<std::uint32_t>("a tensor's rank");
  if (rank < 1 || rank > 4) throw input_error(place, "the rank is impossible", "1 to 4", std::to_string(rank));
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < rank; ++i) {
    const auto size = in.number<std::uint64_t>("a tensor's shape");
    if (size < 1 || size > max_elements / elements) {
      throw input_error(place, "dimension " + std::to_string(i) + " is impossible",
                        "1 to " + std::to_string(max_elements / elements), std::to_string(size));
    }
    elements *= size;
    info.shape.push_back(static_cast<std::int64_t>(size));
  }
  const auto row = static_cast<std::uint64_t>(info.shape.front());
  std::reverse(info.shape.begin(), info.shape.end());  // GGUF writes the innermost dimension first

  const auto type = in.number<std::uint32_t>("a tensor's type");
  const auto* const known =
      std::find_if(tensor_types.begin(), tensor_types.end(), [&](const TypeName& t) { return t.id == type; });
  if (known == tensor_types.end() || !known->dtype) {
    throw input_error(place, "the tensor's type is not supported",
                      "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS or MXFP4",
                      known == tensor_types.end() ? "type " + std::to_string(type) : std::string(known->name));
  }
  info.dtype = *known->dtype;
  const BlockLayout layout = block_layout(info.dtype);
  if (row % static_cast<std::uint64_t>(layout.elements) != 0) {
    throw input_error(place, "rows do not divide into blocks of " + std::string(known->name),
                      "a multiple of " + std::to_string(layout.elements), std::to_string(row));
  }
  info.bytes = elements / static_cast<std::uint64_t>(layout.elements) * static_cast<std::uint64_t>(layout.bytes);
  const auto offset = in.number<std::uint64_t>("a tensor's offset");
  if (offset % alignment_ != 0) {
    throw input_error(place, "the tensor's offset is not aligned", "a multiple of " + std::to_string(alignment_),
                      std::to_string(offset));
  }
  if (!names_.insert(info.name).second)
    throw input_error(place, "a tensor name appears twice", "each name once", start);
  tensors_.push_back(std::move(info));
  offsets_.push_back(offset);
}

void GgufFile::check_data(const Cursor& in) {
  const std::uint64_t size = file_.size();
  data_begin_ = (in.offset() + alignment_ - 1) / alignment_ * alignment_;
  const std::uint64_t available = data_begin_ > size ? 0 : size - data_begin_;
  std::vector<std::size_t> order(offsets_.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    const TensorInfo& info = tensors_[i];
    if (offsets_[i] > available || info.bytes > available - offsets_[i]) {
      throw input_error(place_of_tensor(info.name),
                        "the tensor's data lie past the end of the file: it is truncated or damaged",
                        std::to_string(info.bytes) + " bytes at offset " + std::to_string(offsets_[i]) +
                            " of the data, which begin at byte " + std::to_string(data_begin_),
                        "a file of " + std::to_string(size) + " bytes");
    }
  }
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return offsets_[a] < offsets_[b]; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const std::size_t before = order[i - 1];
    const std::uint64_t end = offsets_[before] + tensors_[before].bytes;
    if (offsets_[order[i]] < end) {
      throw input_error(place_of_tensor(tensors_[order[i]].name),
                        "the tensor overlaps " + in_quotes(tensors_[before].name),
                        "an offset of at least " + std::to_string(end), std::to_string(offsets_[order[i]]));
    }
  }
}

}  // namespace headroom::checkpoint
