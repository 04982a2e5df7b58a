# SPDX-License-Identifier: Apache-2.0
"""Writes a transformers model as the GGUF file that llama.cpp's converter would make of it (make_family_fixtures.py).
Matrices are BF16 (exact for the fixtures' values), vectors F32."""
import math

import gguf
import numpy
import torch

LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}
PLAIN = {"post_attention_layernorm.weight": "ffn_norm.weight"}
AFTER = {"post_attention_layernorm.weight": "post_attention_norm.weight",
         "pre_feedforward_layernorm.weight": "ffn_norm.weight",
         "post_feedforward_layernorm.weight": "post_ffw_norm.weight"}


class File:
    """Keys without the architecture's name get it."""

    def __init__(self, path, architecture, config):
        self.writer = gguf.GGUFWriter(path, architecture)
        self.architecture, self.config = architecture, config
        self.integers(block_count=config.num_hidden_layers, context_length=config.max_position_embeddings,
                      embedding_length=config.hidden_size, feed_forward_length=config.intermediate_size,
                      vocab_size=config.vocab_size)
        self.writer.add_head_count(config.num_attention_heads)
        self.writer.add_head_count_kv(config.num_key_value_heads)
        self.writer.add_key_length(config.head_dim)
        self.writer.add_value_length(config.head_dim)
        self.writer.add_layer_norm_rms_eps(config.rms_norm_eps)

    def integers(self, **values):
        for key, value in values.items():
            self.writer.add_uint32(f"{self.architecture}.{key}", value)

    def tensor(self, name, value):
        value = value.detach().float().numpy()
        if value.ndim == 1:
            self.writer.add_tensor(name, numpy.ascontiguousarray(value))
            return
        kind = gguf.GGMLQuantizationType.BF16
        self.writer.add_tensor(name, gguf.quants.quantize(numpy.ascontiguousarray(value), kind), raw_dtype=kind)

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def weights(file, model, names, change=lambda name, value: value):
    """All tensors of the model; `change` sees their names in transformers."""
    tied = model.config.tie_word_embeddings
    for name, value in model.state_dict().items():
        value = change(name, value)
        if name == "lm_head.weight":
            if not tied:
                file.tensor("output.weight", value)
        elif name == "model.embed_tokens.weight":
            file.tensor("token_embd.weight", value)
        elif name == "model.norm.weight":
            file.tensor("output_norm.weight", value)
        else:
            _, _, number, rest = name.split(".", 3)
            stem, ending = rest.rsplit(".", 1)
            new = names.get(rest) or f"{names[stem]}.{ending}"
            file.tensor(f"blk.{number}.{new}", value)


def for_pairs(value, heads):
    """Rows of q or k in the order of rotation by adjacent pairs."""
    rows = value.reshape(heads, 2, value.shape[0] // heads // 2, -1)
    return rows.swapaxes(1, 2).reshape(value.shape)


def llama(path, model):
    config = model.config
    file = File(path, "llama", config)
    rope = config.rope_parameters
    file.writer.add_rope_freq_base(rope["rope_theta"])
    file.writer.add_rope_dimension_count(config.head_dim)
    if rope["rope_type"] == "llama3":
        file.tensor("rope_freqs.weight", torch.tensor(llama3_factors(rope, config.head_dim)))

    def change(name, value):
        if "q_proj" in name:
            return for_pairs(value, config.num_attention_heads)
        return for_pairs(value, config.num_key_value_heads) if "k_proj" in name else value

    weights(file, model, LAYER_NAMES | PLAIN, change)
    file.close()


def llama3_factors(rope, dims):
    low, high, original = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    factors = []
    for i in range(0, dims, 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (i / dims)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(rope["factor"])
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return factors


def qwen(path, model, architecture):
    file = File(path, architecture, model.config)
    rope = model.config.rope_parameters
    file.writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        file.writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        file.writer.add_rope_scaling_factor(rope["factor"])
        file.writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    weights(file, model, LAYER_NAMES | PLAIN)
    file.close()


def qwen2(path, model):
    qwen(path, model, "qwen2")


def qwen3(path, model):
    qwen(path, model, "qwen3")


def gemma3(path, model):
    file = File(path, "gemma3", model.config)
    file.writer.add_rope_freq_base(model.config.rope_parameters["full_attention"]["rope_theta"])
    file.writer.add_sliding_window(model.config.sliding_window)
    weights(file, model, LAYER_NAMES | AFTER, lambda name, value: value + 1 if "norm" in name else value)
    file.close()
