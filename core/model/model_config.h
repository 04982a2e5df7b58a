// SPDX-License-Identifier: Apache-2.0
// What a decoder computes: sizes and options of every layer, read from any checkpoint's metadata by its family. How a
// file stores the weights (names, order of rows) is the family's and not said here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace headroom::model {

/// What mixes a layer's tokens: softmax attention over the whole history, over a window of it, or a recurrence.
enum class LayerKind { full, sliding, linear };
std::string_view to_string(LayerKind kind);

/// RoPE's scaling in the words of the file it was read from, to be shown; a number that the kind does not have is 0.
struct RopeScaling {
  std::string kind;           ///< "linear", "llama3" or "yarn"; empty: the file names none
  double factor = 0;
  double original_context = 0;  ///< positions before scaling (llama3, yarn)
  double low_freq_factor = 0, high_freq_factor = 0;  ///< llama3
  double beta_fast = 0, beta_slow = 0;               ///< yarn
  bool tensor = false;  ///< frequencies are divided by GGUF's rope_freqs.weight, too
};

/// Rotary embedding by halves of the first `dims` dimensions of a head: frequency i is base^(-2i/dims) / factors[i].
struct RopeSpec {
  double base = 10000;
  std::vector<double> factors;  ///< dims / 2 values (linear, Llama-3 or YaRN scaling); empty: no scaling
  std::int64_t dims = 0;        ///< rotated dimensions of a head, even; 0: none
  double magnitude = 1;         ///< cosine and sine are multiplied by it (YaRN)
  RopeScaling scaling = {};     ///< where factors and magnitude come from
  /// Whether both rotate alike, however their files say it.
  bool operator==(const RopeSpec& other) const {
    return base == other.base && factors == other.factors && dims == other.dims && magnitude == other.magnitude;
  }
};

/// Softmax attention. Softmax(scale * q.k), of the keys s <= t with t - s < window.
struct AttentionSpec {
  std::int64_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  double scale = 0;  ///< of q.k, usually head_dim^-1/2
  RopeSpec rope;
  std::int64_t window = 0;   ///< keys that a query sees, its own among them; 0: the whole history
  bool qk_norm = false;      ///< RMS norm of each head of q and k before the rotation
  bool qkv_bias = false;     ///< added to q, k and v before norms and rotation
  bool output_bias = false;  ///< added after the output projection
  bool output_gate = false;  ///< heads are multiplied by sigmoid(gate); q's projection gives [q | gate] a head
  bool sinks = false;        ///< a learned logit a query head joins the softmax and takes its share of the mass
  double soft_cap = 0;       ///< logits become cap * tanh(logit / cap); 0: not capped
};

/// Gated DeltaNet (mixers/delta_net.cpp), of linear layers.
struct DeltaSpec {
  std::int64_t key_heads = 0, value_heads = 0;  ///< value heads: a multiple
  std::int64_t key_dim = 0, value_dim = 0;      ///< of a head
  std::int64_t kernel = 0;                      ///< rows that the convolution sees, the row itself among them
  /// Value head j reads key head j mod key_heads, as GGUF orders them; else j / (value_heads / key_heads).
  bool tiled_heads = false;
  std::int64_t group() const { return value_heads / key_heads; }
  std::int64_t value_width() const { return value_heads * value_dim; }
  std::int64_t channels() const { return 2 * key_heads * key_dim + value_width(); }  ///< of the convolution
  bool operator==(const DeltaSpec&) const = default;
};

/// down(activation(gate(x)) * up(x)), the activation SiLU or GELU in its tanh approximation; of one MLP, or of those of
/// many experts that a router chooses (mlps/experts.cpp, mlps/clamped_experts.cpp).
enum class MlpKind { swiglu, geglu_tanh, experts, clamped_experts };
struct MlpSpec {
  MlpKind kind = MlpKind::swiglu;
  std::int64_t width = 0;  ///< of one expert, where there are several
  std::int64_t experts = 0, experts_used = 0;
  bool normalised = false;        ///< experts: the chosen ones' weights add up to 1
  std::int64_t shared_width = 0;  ///< experts: of one more that sees every token, behind a gate of its own; 0: none
  double alpha = 0, limit = 0;    ///< clamped_experts: slope of the sigmoid, bound of gate and up
  /// Width of what works on one token.
  std::int64_t active_width() const { return has_experts() ? experts_used * width + shared_width : width; }
  bool has_experts() const { return kind == MlpKind::experts || kind == MlpKind::clamped_experts; }
  bool operator==(const MlpSpec&) const = default;
};

/// RMS norms, one before each mixer and MLP.
struct NormSpec {
  double epsilon = 1e-5;
  bool after = false;  ///< one more after each mixer and MLP, before what they give joins the residual stream
};

struct LayerSpec {
  LayerKind kind = LayerKind::full;
  AttentionSpec attention;  ///< of full and sliding layers
  MlpSpec mlp;
  DeltaSpec delta;  ///< of linear layers

  /// Numbers that the cache keeps of one token: keys and values, where the layer is attention.
  std::int64_t kv_values_per_token() const {
    return kind == LayerKind::linear ? 0 : 2 * attention.num_kv_heads * attention.head_dim;
  }
};

struct ModelConfig {
  std::string architecture;  ///< the family's name: "llama", …
  std::string name;          ///< the file's stem or the folder's name
  std::int64_t width = 0;    ///< of the residual stream
  std::int64_t vocabulary = 0;
  std::int64_t context_length = 0;
  double embedding_scale = 1;  ///< embeddings are multiplied by it
  /// The scale is rounded to the weights' type first, as transformers does (in bf16 Gemma's 33.94 is 34); else not, as
  /// in llama.cpp. In fp32 there is no difference.
  bool rounds_embedding_scale = false;
  bool tied_output = false;  ///< the output matrix is the embedding
  NormSpec norm;
  std::vector<LayerSpec> layers;

  std::int64_t num_layers() const { return static_cast<std::int64_t>(layers.size()); }
  const LayerSpec& layer(std::int64_t number) const { return layers[static_cast<std::size_t>(number)]; }
  bool is_full(std::int64_t number) const { return layer(number).kind == LayerKind::full; }
  std::int64_t full_layers() const;
  /// Number of the first full layer; 0 where none is.
  std::int64_t first_full() const;
  /// The layer that stands for the model where one must.
  const LayerSpec& typical_layer() const { return layer(first_full()); }
  /// Of all layers, those with a window too.
  std::int64_t kv_values_per_token() const;
  /// Weights of the layers' matrices that one token is multiplied with: all, but of the experts those used.
  std::int64_t active_weights() const;
  /// Most query heads of any full layer.
  std::int64_t max_q_heads() const;
};

/// Head sizes of the full layers, in order.
std::vector<std::int64_t> full_head_dims(const ModelConfig& config);

/// Whether a full layer has learned sinks.
bool has_sinks(const ModelConfig& config);

/// Throws input errors that name the key, what was expected and what was found; every size is range-checked.
ModelConfig read_model_config(const checkpoint::Checkpoint& checkpoint);

/// Throws an input error that names layer and option where sizes do not fit together, or where a layer's kind does not
/// implement an option. Reading a configuration and loading a decoder both call it.
void check_config(const ModelConfig& config, const std::string& place);

/// Throws an input error where no layer is full: nothing to sparsify, nothing to compare.
void require_full_layer(const ModelConfig& config);

}  // namespace headroom::model
