// SPDX-License-Identifier: Apache-2.0
#include "model/rope_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "checkpoint/metadata.h"
#include "model/family_config.h"

namespace headroom::model {
namespace {

using checkpoint::ConfigReader;
using checkpoint::in_quotes;
using checkpoint::number_text;

constexpr double max_rope_base = 1e12, max_rope_factor = 1e6;

/// One step of scaling: what each frequency is divided by, so that in fp32 the result is the one transformers has.
std::vector<double> factors_of(const RopeSpec& rope, const auto& scaled) {
  std::vector<double> factors;
  for (std::int64_t i = 0; i < rope.dims / 2; ++i) {
    const float frequency = rope_frequency(rope.base, rope.dims, i);
    factors.push_back(static_cast<double>(frequency) / static_cast<double>(scaled(i, frequency)));
  }
  return factors;
}

std::vector<double> linear_factors(RopeSpec& rope, double factor) {
  rope.scaling = {.kind = "linear", .factor = factor};
  return std::vector<double>(static_cast<std::size_t>(rope.dims / 2), static_cast<double>(static_cast<float>(factor)));
}

/// Long wavelengths are stretched, short ones kept, those between mixed.
std::vector<double> llama3_factors(const ConfigReader& reader, const std::string& prefix, const ModelConfig& config,
                                   RopeSpec& rope) {
  const double factor = reader.require_float(prefix + "factor", 1e-3, max_rope_factor);
  const double low = reader.require_float(prefix + "low_freq_factor", 1e-6, 1e6);
  const double high = reader.require_float(prefix + "high_freq_factor", 1e-6, 1e6);
  const double original = reader.float_or(prefix + "original_max_position_embeddings",
                                          static_cast<double>(config.context_length), 1, max_context);
  if (!(high > low))
    reader.refuse(prefix + "high_freq_factor", "the value is out of range", "more than " + number_text(low),
                  number_text(high));
  rope.scaling = {.kind = "llama3",
                  .factor = factor,
                  .original_context = original,
                  .low_freq_factor = low,
                  .high_freq_factor = high};
  const auto single = [](double value) { return static_cast<float>(value); };
  return factors_of(rope, [&](std::int64_t, float frequency) {
    const float wavelength = 1 / frequency * single(2 * std::numbers::pi);
    if (wavelength > single(original / low)) return frequency / single(factor);
    if (wavelength < single(original / high)) return frequency;
    const float smooth = (1 / wavelength * single(original) - single(low)) / single(high - low);
    return (1 - smooth) * frequency / single(factor) + smooth * frequency;
  });
}

/// YaRN (arXiv 2309.00071): below `low` frequencies are kept, above `high` divided, between them mixed.
struct Yarn {
  double factor = 1, original = 0, beta_fast = 32, beta_slow = 1;
  bool whole_bounds = true;  ///< the bounds of the mixture are rounded to whole dimensions
};

std::vector<double> yarn_factors(const Yarn& yarn, RopeSpec& rope) {
  rope.scaling = {.kind = "yarn",
                  .factor = yarn.factor,
                  .original_context = yarn.original,
                  .beta_fast = yarn.beta_fast,
                  .beta_slow = yarn.beta_slow};
  const auto dims = static_cast<double>(rope.dims);
  const auto dimension_of = [&](double rotations) {
    return dims * std::log(yarn.original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(rope.base));
  };
  double low = dimension_of(yarn.beta_fast), high = dimension_of(yarn.beta_slow);
  if (yarn.whole_bounds) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1);
  if (low == high) high += 0.001;
  return factors_of(rope, [&](std::int64_t i, float frequency) {
    const float place = (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low);
    const float kept = 1 - std::clamp(place, 0.0f, 1.0f);
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rope.dims);
    const auto period = static_cast<float>(std::pow(rope.base, static_cast<double>(exponent)));
    return 1 / (static_cast<float>(yarn.factor) * period) * (1 - kept) + frequency * kept;
  });
}

/// How much larger YaRN makes cosine and sine, so that longer contexts do not flatten attention.
double yarn_magnitude(double factor, double times = 1) {
  return factor <= 1 ? 1 : 0.1 * times * std::log(factor) + 1;
}

void check_yarn_base(const ConfigReader& reader, std::string_view key, const RopeSpec& rope) {
  if (!(rope.base > 1)) reader.refuse(key, "YaRN needs another base", "more than 1", number_text(rope.base));
}

// --- config.json ---

void read_config_yarn(const ConfigReader& reader, const std::string& prefix, const ModelConfig& config,
                      RopeSpec& rope) {
  Yarn yarn;
  const auto context = static_cast<double>(config.context_length);
  yarn.original = reader.float_or(prefix + "original_max_position_embeddings", context, 1, max_context);
  yarn.factor = reader.float_or(prefix + "factor", context / yarn.original, 1e-3, max_rope_factor);
  yarn.beta_fast = reader.float_or(prefix + "beta_fast", yarn.beta_fast, 1e-6, 1e6);
  yarn.beta_slow = reader.float_or(prefix + "beta_slow", yarn.beta_slow, 1e-6, 1e6);
  yarn.whole_bounds = reader.bool_or(prefix + "truncate", true);
  const double mscale = reader.float_or(prefix + "mscale", 0, 0, 1e6);
  const double mscale_all = reader.float_or(prefix + "mscale_all_dim", 0, 0, 1e6);
  reader.has(prefix + "finetuned");  // how the model was made
  rope.factors = yarn_factors(yarn, rope);
  rope.magnitude = mscale != 0 && mscale_all != 0
                       ? yarn_magnitude(yarn.factor, mscale) / yarn_magnitude(yarn.factor, mscale_all)
                       : yarn_magnitude(yarn.factor);
  rope.magnitude = reader.float_or(prefix + "attention_factor", rope.magnitude, 1e-6, 1e6);
}

/// False where `object` names no scaling.
bool read_scaling(const ConfigReader& reader, const std::string& object, const ModelConfig& config, RopeSpec& rope) {
  const std::string prefix = object + ".", key = prefix + "rope_type", old_key = prefix + "type";
  const std::string old_type = reader.string_or(old_key, "default"), type = reader.string_or(key, old_type);
  if (reader.has(old_key) && type != old_type)
    reader.refuse(old_key, "there are two types of RoPE scaling",
                  in_quotes(type) + " as under " + in_quotes(reader.key(key)), in_quotes(old_type));
  if (type == "linear") {
    rope.factors = linear_factors(rope, reader.require_float(prefix + "factor", 1e-3, max_rope_factor));
  } else if (type == "llama3") {
    rope.factors = llama3_factors(reader, prefix, config, rope);
  } else if (type == "yarn") {
    check_yarn_base(reader, prefix + "rope_theta", rope);
    read_config_yarn(reader, prefix, config, rope);
  } else if (type != "default") {
    reader.refuse(reader.has(key) ? key : old_key, "this RoPE scaling is not supported",
                  "default, linear, llama3 or yarn", in_quotes(type));
  }
  return type != "default";
}

/// "partial_rotary_factor" in either place: the rotated part of a head.
std::int64_t rotated_dims(const ConfigReader& reader, const RopeKeys& keys, std::int64_t head_dim) {
  constexpr std::string_view name = "partial_rotary_factor";
  std::vector<std::string> places = {std::string(name), keys.parameters + "." + std::string(name)};
  if (!keys.scaling.empty()) places.push_back(keys.scaling + "." + std::string(name));
  double part = keys.absent_part;
  bool found = false;
  for (const std::string& place : places) {
    if (!keys.partial) reader.must_be(place, 1.0, "RoPE on a part of a head is not supported");
    if (!reader.has(place)) continue;
    const double value = reader.require_float(place, 0, 1);
    if (found && value != part)
      reader.refuse(place, "there are two parts of a head for RoPE", number_text(part), number_text(value));
    part = value;
    found = true;
  }
  const auto dims = static_cast<std::int64_t>(static_cast<double>(head_dim) * part);
  if (dims < 2 || dims % 2 != 0)
    reader.refuse(found ? name : std::string_view("head_dim"), "the rotated dimensions do not fit the head",
                  "an even number up to " + std::to_string(head_dim), std::to_string(dims));
  return dims;
}

// --- GGUF ---

constexpr std::string_view type_key = "rope.scaling.type", factor_key = "rope.scaling.factor";
constexpr std::string_view old_factor_key = "rope.scale_linear";  // before the type had a name

/// Type and factor, checked against each other.
std::pair<std::string, double> gguf_scaling(const ConfigReader& reader) {
  const auto factor_of = [&](std::string_view key) {
    const double factor = reader.float_or(key, 0, 0, max_rope_factor);
    return factor == 0 ? 1 : factor;
  };
  const bool named = reader.has(factor_key), old = reader.has(old_factor_key);
  const double factor = factor_of(named ? factor_key : old_factor_key);
  if (named && old && factor_of(old_factor_key) != factor)
    reader.refuse(old_factor_key, "there are two factors of RoPE scaling",
                  number_text(factor) + " as under " + in_quotes(reader.key(factor_key)),
                  number_text(factor_of(old_factor_key)));
  const std::string type = reader.string_or(type_key, named || old ? "linear" : "none");
  if (type != "none" && type != "linear" && type != "yarn")
    reader.refuse(type_key, "this RoPE scaling is not supported", "none, linear or yarn", in_quotes(type));
  if (type != "none" && !named && !old) reader.refuse(factor_key, "the key is missing", "a number", "nothing");
  if (type == "none" && factor != 1)
    reader.refuse(named ? factor_key : old_factor_key, "a factor is given for RoPE scaling of type 'none'",
                  "1, or type 'linear'", number_text(factor));
  return {type, factor};
}

void read_gguf_yarn(const ConfigReader& reader, const ModelConfig& config, double factor, bool whole_bounds,
                    RopeSpec& rope) {
  Yarn yarn;
  yarn.whole_bounds = whole_bounds;
  yarn.factor = factor;
  yarn.original = reader.float_or("rope.scaling.original_context_length", static_cast<double>(config.context_length), 1,
                                  max_context);
  yarn.beta_fast = reader.float_or("rope.scaling.yarn_beta_fast", yarn.beta_fast, 1e-6, 1e6);
  yarn.beta_slow = reader.float_or("rope.scaling.yarn_beta_slow", yarn.beta_slow, 1e-6, 1e6);
  reader.must_be("rope.scaling.yarn_ext_factor", 1.0, "another mixture of YaRN's frequencies is not supported");
  reader.must_be("rope.scaling.yarn_attn_factor", 1.0, "a second factor on RoPE's values is not supported");
  reader.must_be("rope.scaling.yarn_log_multiplier", 0.0, "this scaling of YaRN's values is not supported");
  rope.factors = yarn_factors(yarn, rope);
  rope.magnitude = yarn_magnitude(factor) * reader.float_or("rope.scaling.attn_factor", 1, 1e-6, 1e6);
}

/// Multiplies the factors by those of the tensor, where there is one.
void read_gguf_rope_tensor(const ConfigReader& reader, RopeSpec& rope) {
  constexpr std::string_view tensor = "rope_freqs.weight";
  const checkpoint::Checkpoint& checkpoint = reader.checkpoint();
  if (!checkpoint.find(tensor)) return;
  const checkpoint::TensorInfo& info = reader.require_tensor(tensor, 1);
  const std::string place = checkpoint.path().string() + ": tensor " + in_quotes(tensor);
  const auto half = static_cast<std::size_t>(rope.dims / 2);
  if (info.shape[0] != rope.dims / 2)
    throw input_error(place, "the tensor has the wrong size", std::to_string(half), std::to_string(info.shape[0]));
  std::vector<float> values(half);
  checkpoint.read_f32(tensor, values);
  if (rope.factors.empty()) rope.factors.assign(half, 1);
  rope.scaling.tensor = true;
  for (std::size_t i = 0; i < half; ++i) {
    if (!(values[i] > 0)) throw input_error(place, "a factor is not positive", "> 0", number_text(values[i]));
    rope.factors[i] *= values[i];
  }
}

}  // namespace

float rope_frequency(double base, std::int64_t dims, std::int64_t i) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(dims);
  return 1.0f / static_cast<float>(std::pow(base, static_cast<double>(exponent)));
}

void read_rope(const ConfigReader& reader, const ModelConfig& config, AttentionSpec& attention, const RopeKeys& keys) {
  RopeSpec& rope = attention.rope;
  rope = {};
  const std::string new_base = keys.parameters + ".rope_theta";
  reader.must_be_an_object(keys.parameters);
  if (!keys.scaling.empty()) reader.must_be_an_object(keys.scaling);
  rope.base = reader.float_or(new_base, keys.absent_base, 1, max_rope_base);
  if (!keys.base.empty() && reader.has(keys.base)) {
    const double old = reader.require_float(keys.base, 1, max_rope_base);
    if (reader.has(new_base) && old != rope.base)
      reader.refuse(keys.base, "there are two bases of RoPE",
                    number_text(rope.base) + " as under " + in_quotes(reader.key(new_base)), number_text(old));
    rope.base = old;
  }
  rope.dims = rotated_dims(reader, keys, attention.head_dim);
  const bool scaled = !keys.scaling.empty() && read_scaling(reader, keys.scaling, config, rope);
  if (read_scaling(reader, keys.parameters, config, rope) && scaled)
    reader.refuse(keys.scaling, "RoPE is scaled twice", "one of " + keys.scaling + " and " + keys.parameters, "both");
}

void read_gguf_rope(const ConfigReader& reader, const ModelConfig& config, AttentionSpec& attention,
                    bool whole_bounds) {
  RopeSpec& rope = attention.rope;
  rope.base = reader.float_or("rope.freq_base", 10000, 1, max_rope_base);
  const auto [type, factor] = gguf_scaling(reader);
  if (type == "yarn") {
    check_yarn_base(reader, "rope.freq_base", rope);
    read_gguf_yarn(reader, config, factor, whole_bounds, rope);
  } else {
    reader.must_be("rope.scaling.attn_factor", 1.0, "a factor on RoPE's values is not supported");
    reader.has("rope.scaling.original_context_length");  // YaRN's alone
    if (factor != 1) rope.factors = linear_factors(rope, factor);
  }
  read_gguf_rope_tensor(reader, rope);
}

}  // namespace headroom::model
