// SPDX-License-Identifier: Apache-2.0
#include "experiment/verify/decoder_reference.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "experiment/verify/verify_parts.h"

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

Matrix read(const checkpoint::Checkpoint& file, const std::string& name) {
  const auto* info = file.find(name);
  std::vector<float> values(static_cast<std::size_t>(info->elements()));
  file.read_f32(name, values);
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

// GGUF stores Llama's q and k rows for rotation of adjacent pairs.
void rotate(std::vector<double>& heads, std::size_t dim, std::size_t position, double base) {
  for (std::size_t begin = 0; begin < heads.size(); begin += dim) {
    for (std::size_t i = 0; i < dim / 2; ++i) {
      const double angle =
          static_cast<double>(position) * std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
      double &a = heads[begin + 2 * i], &b = heads[begin + 2 * i + 1];
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

std::vector<double> reference_logits(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                                     std::span<const std::int32_t> ids) {
  const auto width = static_cast<std::size_t>(config.width);
  const Matrix embedding = read(file, "token_embd.weight");
  Rows hidden;
  for (const std::int32_t id : ids) {
    const auto begin = embedding.values.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(id) * width);
    hidden.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(width));
  }
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer) {
    const model::AttentionSpec& attention = config.layer(layer).attention;
    const auto dim = static_cast<std::size_t>(attention.head_dim);
    const auto weight = [&](const char* name) {
      return read(file, "blk." + std::to_string(layer) + "." + name + ".weight");
    };
    const Matrix q_proj = weight("attn_q"), k_proj = weight("attn_k"), v_proj = weight("attn_v"),
                 o_proj = weight("attn_output");
    const Matrix gate_proj = weight("ffn_gate"), up_proj = weight("ffn_up"), down_proj = weight("ffn_down");
    const Matrix attention_norm = weight("attn_norm"), mlp_norm = weight("ffn_norm");
    Rows k, v;
    for (std::size_t t = 0; t < hidden.size(); ++t) {
      const auto x = normed(hidden[t], attention_norm, config.norm.epsilon);
      auto q = q_proj.times(x);
      k.push_back(k_proj.times(x));
      v.push_back(v_proj.times(x));
      rotate(q, dim, t, attention.rope.base);
      rotate(k.back(), dim, t, attention.rope.base);
      add(hidden[t], o_proj.times(attend(q, k, v, dim)));
      const auto y = normed(hidden[t], mlp_norm, config.norm.epsilon);
      auto gate = gate_proj.times(y);
      const auto up = up_proj.times(y);
      for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      add(hidden[t], down_proj.times(gate));
    }
  }
  const Matrix output_norm = read(file, "output_norm.weight");
  std::vector<double> logits;
  for (const auto& row : hidden) {
    const auto last = embedding.times(normed(row, output_norm, config.norm.epsilon));
    logits.insert(logits.end(), last.begin(), last.end());
  }
  return logits;
}

at::Tensor textbook_logits(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                           std::span<const std::int32_t> ids, c10::ScalarType dtype, c10::Device device) {
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  const auto length = static_cast<std::int64_t>(ids.size());
  const auto weight = [&](const std::string& name) {
    const auto* info = file.find(name);
    const at::Tensor values = at::empty(info->shape, at::TensorOptions().dtype(at::kFloat));
    file.read_f32(name, {values.mutable_data_ptr<float>(), static_cast<std::size_t>(values.numel())});
    return values.to(options);
  };
  const auto norm = [&](const at::Tensor& in, const at::Tensor& scale) {
    const at::Tensor x = in.to(at::kFloat);
    return (x * at::rsqrt(x.square().mean(-1, true).add(config.norm.epsilon)) * scale.to(at::kFloat)).to(dtype);
  };
  const auto linear = [](const at::Tensor& x, const at::Tensor& matrix) { return at::matmul(x, matrix.t()); };
  const model::AttentionSpec& sizes = config.typical_layer().attention;
  const std::int64_t half = sizes.head_dim / 2;
  const auto fp32 = options.dtype(at::kFloat);
  const at::Tensor frequencies =
      at::pow(sizes.rope.base, at::arange(half, fp32).mul(-1.0 / static_cast<double>(half)));
  const at::Tensor angles = at::arange(length, fp32).unsqueeze(1) * frequencies.unsqueeze(0);
  const at::Tensor cosine = angles.cos(), sine = angles.sin();
  const auto heads = [&](const at::Tensor& rows) {  // [L, H d] as [H, L, d]
    return rows.reshape({length, -1, sizes.head_dim}).transpose(0, 1);
  };
  const auto rotate_pairs = [&](const at::Tensor& in) {
    const at::Tensor x = in.to(at::kFloat).unflatten(2, {half, 2}), a = x.select(3, 0), b = x.select(3, 1);
    return at::stack({a * cosine - b * sine, b * cosine + a * sine}, 3).flatten(2).to(dtype);
  };

  const at::Tensor embedding = weight("token_embd.weight");
  const at::Tensor index =
      at::tensor(at::ArrayRef<std::int32_t>(ids.data(), ids.size()), at::TensorOptions().dtype(at::kInt)).to(device);
  at::Tensor hidden = at::index_select(embedding, 0, index);
  const auto every_key = all_keys(length);
  for (std::int64_t layer = 0; layer < config.num_layers(); ++layer) {
    const auto own = [&](const char* name) { return weight("blk." + std::to_string(layer) + "." + name + ".weight"); };
    const at::Tensor x = norm(hidden, own("attn_norm"));
    attention::LayerQuery query;
    query.q = rotate_pairs(heads(linear(x, own("attn_q"))));
    query.k = rotate_pairs(heads(linear(x, own("attn_k"))));
    query.v = heads(linear(x, own("attn_v")));
    query.scale = sizes.scale;
    hidden = hidden + linear(textbook(query, {every_key}).transpose(0, 1).reshape({length, -1}), own("attn_output"));
    const at::Tensor y = norm(hidden, own("ffn_norm"));
    hidden = hidden + linear(at::silu(linear(y, own("ffn_gate"))) * linear(y, own("ffn_up")), own("ffn_down"));
  }
  return linear(norm(hidden, weight("output_norm.weight")), embedding).to(at::kFloat);
}

}  // namespace headroom::experiment
