// SPDX-License-Identifier: Apache-2.0
#include "experiment/decoder_reference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

namespace headroom::experiment {
namespace {

using Rows = std::vector<std::vector<double>>;

struct Matrix {
  std::vector<double> values;
  std::int64_t rows = 0, columns = 0;
  std::vector<double> times(const std::vector<double>& x) const {
    std::vector<double> y(static_cast<std::size_t>(rows));
    for (std::size_t r = 0; r < y.size(); ++r) {
      for (std::size_t c = 0; c < x.size(); ++c) y[r] += values[r * x.size() + c] * x[c];
    }
    return y;
  }
};

float to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

Matrix read(const checkpoint::Checkpoint& file, const std::string& name, bool bf16) {
  const auto* info = file.find(name);
  std::vector<float> values(static_cast<std::size_t>(info->elements()));
  file.read_f32(name, values);
  if (bf16) std::transform(values.begin(), values.end(), values.begin(), to_bf16);
  return {{values.begin(), values.end()}, info->shape[0], info->shape.size() > 1 ? info->shape[1] : 1};
}

std::vector<double> normed(const std::vector<double>& x, const Matrix& weight, double epsilon) {
  double squares = 0;
  for (const double value : x) squares += value * value;
  const double inverse = 1 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
  std::vector<double> y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * inverse * weight.values[i];
  return y;
}

void rotate(std::vector<double>& heads, std::size_t dim, std::size_t position, double base) {
  for (std::size_t begin = 0; begin < heads.size(); begin += dim) {
    for (std::size_t i = 0; i < dim / 2; ++i) {
      const double angle =
          static_cast<double>(position) * std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
      double &a = heads[begin + i], &b = heads[begin + i + dim / 2];
      const double old = a;
      a = old * std::cos(angle) - b * std::sin(angle);
      b = b * std::cos(angle) + old * std::sin(angle);
    }
  }
}

// The heads' outputs of one query over all keys so far.
std::vector<double> attend(const std::vector<double>& q, const Rows& k, const Rows& v, std::size_t dim) {
  std::vector<double> out(q.size());
  const std::size_t group = q.size() / k.front().size();
  for (std::size_t head = 0; head < q.size() / dim; ++head) {
    const std::size_t from = head / group * dim;
    std::vector<double> p(k.size());
    for (std::size_t s = 0; s < k.size(); ++s) {
      for (std::size_t i = 0; i < dim; ++i) p[s] += q[head * dim + i] * k[s][from + i];
      p[s] /= std::sqrt(static_cast<double>(dim));
    }
    const double largest = *std::max_element(p.begin(), p.end());
    double sum = 0;
    for (double& value : p) sum += value = std::exp(value - largest);
    for (std::size_t s = 0; s < k.size(); ++s) {
      for (std::size_t i = 0; i < dim; ++i) out[head * dim + i] += p[s] / sum * v[s][from + i];
    }
  }
  return out;
}

void add(std::vector<double>& x, const std::vector<double>& y) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

}  // namespace

std::vector<double> reference_logits(const checkpoint::Checkpoint& file, const checkpoint::ModelConfig& config,
                                     std::span<const std::int32_t> ids, bool bf16_weights) {
  const auto width = static_cast<std::size_t>(config.width), dim = static_cast<std::size_t>(config.head_dim);
  const Matrix embedding = read(file, "token_embd.weight", bf16_weights);
  Rows hidden;
  for (const std::int32_t id : ids) {
    const auto begin = embedding.values.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(id) * width);
    hidden.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(width));
  }
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    const auto weight = [&](const char* name) {
      return read(file, "blk." + std::to_string(layer) + "." + name + ".weight", bf16_weights);
    };
    const Matrix q_proj = weight("attn_q"), k_proj = weight("attn_k"), v_proj = weight("attn_v"),
                 o_proj = weight("attn_output");
    const Matrix gate_proj = weight("ffn_gate"), up_proj = weight("ffn_up"), down_proj = weight("ffn_down");
    const Matrix attention_norm = weight("attn_norm"), mlp_norm = weight("ffn_norm");
    Rows k, v;
    for (std::size_t t = 0; t < hidden.size(); ++t) {
      const auto x = normed(hidden[t], attention_norm, config.rms_epsilon);
      auto q = q_proj.times(x);
      k.push_back(k_proj.times(x));
      v.push_back(v_proj.times(x));
      rotate(q, dim, t, config.rope_base);
      rotate(k.back(), dim, t, config.rope_base);
      add(hidden[t], o_proj.times(attend(q, k, v, dim)));
      const auto y = normed(hidden[t], mlp_norm, config.rms_epsilon);
      auto gate = gate_proj.times(y);
      const auto up = up_proj.times(y);
      for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      add(hidden[t], down_proj.times(gate));
    }
  }
  const Matrix output_norm = read(file, "output_norm.weight", bf16_weights);
  std::vector<double> logits;
  for (const auto& row : hidden) {
    const auto last = embedding.times(normed(row, output_norm, config.rms_epsilon));
    logits.insert(logits.end(), last.begin(), last.end());
  }
  return logits;
}

}  // namespace headroom::experiment
