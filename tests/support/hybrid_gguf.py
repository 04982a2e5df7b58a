# SPDX-License-Identifier: Apache-2.0
"""GGUF files of hybrid and expert models as llama.cpp's converter stores them, for hybrid_cases.py: value heads of
Qwen3.5 in turns instead of grouped by key head, -exp(A_log), norms as 1 + w, gate and up of experts apart."""
import gguf
import numpy
import torch

import family_gguf

LINEAR = {"linear_attn.in_proj_qkv.weight": "attn_qkv.weight", "linear_attn.in_proj_z.weight": "attn_gate.weight",
          "linear_attn.in_proj_b.weight": "ssm_beta.weight", "linear_attn.in_proj_a.weight": "ssm_alpha.weight",
          "linear_attn.in_proj_ba.weight": "ssm_ba.weight", "linear_attn.conv1d.weight": "ssm_conv1d.weight",
          "linear_attn.dt_bias": "ssm_dt.bias", "linear_attn.A_log": "ssm_a",
          "linear_attn.norm.weight": "ssm_norm.weight",
          "linear_attn.out_proj.weight": "ssm_out.weight"}
EXPERTS = {"mlp.gate.weight": "ffn_gate_inp.weight", "mlp.shared_expert.gate_proj.weight": "ffn_gate_shexp.weight",
           "mlp.shared_expert.up_proj.weight": "ffn_up_shexp.weight",
           "mlp.shared_expert.down_proj.weight": "ffn_down_shexp.weight",
           "mlp.shared_expert_gate.weight": "ffn_gate_inp_shexp.weight"}
POST_NORM = {"post_attention_layernorm.weight": "post_attention_norm.weight"}


class File(family_gguf.File):
    """Sizes of the MLP are the caller's."""

    def __init__(self, path, architecture, config):
        self.writer = gguf.GGUFWriter(path, architecture)
        self.architecture, self.config = architecture, config
        self.integers(block_count=config.num_hidden_layers, context_length=config.max_position_embeddings,
                      embedding_length=config.hidden_size, vocab_size=config.vocab_size)
        self.writer.add_head_count(config.num_attention_heads)
        self.writer.add_head_count_kv(config.num_key_value_heads)
        self.writer.add_key_length(config.head_dim)
        self.writer.add_value_length(config.head_dim)
        self.writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        self.writer.add_rope_freq_base(config.rope_parameters["rope_theta"])

    def experts(self, count, used, width, shared=0):
        self.writer.add_expert_count(count)
        self.writer.add_expert_used_count(used)
        self.writer.add_expert_feed_forward_length(width)
        if shared:
            self.writer.add_expert_shared_feed_forward_length(shared)

    def mxfp4(self, name, value):
        kind = gguf.GGMLQuantizationType.MXFP4
        self.writer.add_tensor(name, gguf.quants.quantize(numpy.ascontiguousarray(value.float().numpy()), kind),
                               raw_dtype=kind)


def layers(model):
    """(name of a layer's tensor in GGUF's words "blk.N.", its rest, its value); the ends are written by weights()."""
    for name, value in model.state_dict().items():
        if name.startswith("model.layers."):
            _, _, number, rest = name.split(".", 3)
            yield f"blk.{number}.", rest, value


def ends(file, model, change=lambda name, value: value):
    state = model.state_dict()
    file.tensor("token_embd.weight", state["model.embed_tokens.weight"])
    file.tensor("output_norm.weight", change("model.norm.weight", state["model.norm.weight"]))
    if not model.config.tie_word_embeddings:
        file.tensor("output.weight", state["lm_head.weight"])


def in_turns(value, dim, key_heads, per_key, width):
    """Value heads grouped by key head -> the first of each key head, then the second of each, …"""
    shape = list(value.shape)
    split = value.reshape(shape[:dim] + [key_heads, per_key, width] + shape[dim + 1:])
    return split.transpose(dim, dim + 1).reshape(shape)


def expert_tensors(file, prefix, rest, value):
    """True where the tensor was one of all experts."""
    if rest == "mlp.experts.gate_up_proj":
        half = value.shape[1] // 2
        file.tensor(prefix + "ffn_gate_exps.weight", value[:, :half])
        file.tensor(prefix + "ffn_up_exps.weight", value[:, half:])
    elif rest == "mlp.experts.down_proj":
        file.tensor(prefix + "ffn_down_exps.weight", value)
    else:
        return False
    return True


def qwen3_moe(path, model):
    config = model.config
    file = File(path, "qwen3moe", config)
    file.integers(feed_forward_length=config.intermediate_size)
    file.experts(config.num_experts, config.num_experts_per_tok, config.moe_intermediate_size)
    ends(file, model)
    names = family_gguf.LAYER_NAMES | family_gguf.PLAIN | EXPERTS
    for prefix, rest, value in layers(model):
        if not expert_tensors(file, prefix, rest, value):
            stem, ending = rest.rsplit(".", 1)
            file.tensor(prefix + (names.get(rest) or f"{names[stem]}.{ending}"), value)
    file.close()


def hybrid(path, model, architecture, turns):
    config = model.config
    nk, nv = config.linear_num_key_heads, config.linear_num_value_heads
    dk, dv, per_key = config.linear_key_head_dim, config.linear_value_head_dim, nv // nk
    file = File(path, architecture, config)
    if hasattr(config, "num_experts"):
        file.experts(config.num_experts, config.num_experts_per_tok, config.moe_intermediate_size,
                     config.shared_expert_intermediate_size)
    else:
        file.integers(feed_forward_length=config.intermediate_size)
    file.writer.add_ssm_conv_kernel(config.linear_conv_kernel_dim)
    file.writer.add_ssm_state_size(dk)
    file.writer.add_ssm_group_count(nk)
    file.writer.add_ssm_time_step_rank(nv)
    file.writer.add_ssm_inner_size(nv * dv)
    file.integers(full_attention_interval=4)
    file.writer.add_rope_dimension_count(int(config.head_dim * 0.25))
    if turns:
        file.writer.add_rope_dimension_sections([11, 11, 10, 0])

    def stored(rest, value):
        if turns and nk != nv:
            if "in_proj_qkv." in rest or "conv1d" in rest:
                qk = value[:2 * nk * dk]
                value = torch.cat([qk, in_turns(value[2 * nk * dk:], 0, nk, per_key, dv)])
            elif "in_proj_z" in rest:
                value = in_turns(value, 0, nk, per_key, dv)
            elif "in_proj_b." in rest or "in_proj_a." in rest or rest.endswith(("A_log", "dt_bias")):
                value = in_turns(value, 0, nk, per_key, 1)
            elif "out_proj" in rest:
                value = in_turns(value, 1, nk, per_key, dv)
        if rest.endswith("A_log"):
            return -value.float().exp()
        if "conv1d" in rest:
            return value.squeeze(1)
        if "shared_expert_gate" in rest:
            return value.squeeze(0)
        if rest.endswith("norm.weight") and "linear_attn" not in rest:
            return value.float() + 1
        return value

    ends(file, model, stored)
    names = family_gguf.LAYER_NAMES | POST_NORM | LINEAR | EXPERTS
    for prefix, rest, value in layers(model):
        value = stored(rest, value)
        if "in_proj_qkvz" in rest:  # of each key head q, k, its v and z -> all q, all k, all v; all z
            parts = value.view(nk, 2 * dk + 2 * per_key * dv, -1).split([dk, dk, per_key * dv, per_key * dv], dim=1)
            q, k, v, z = (part.reshape(-1, value.shape[1]) for part in parts)
            file.tensor(prefix + "attn_qkv.weight", torch.cat([q, k, v]))
            file.tensor(prefix + "attn_gate.weight", z)
        elif not expert_tensors(file, prefix, rest, value):
            stem, _, ending = rest.rpartition(".")
            file.tensor(prefix + (names.get(rest) or f"{names[stem]}.{ending}"), value)
    file.close()


def qwen3_5(path, model):
    hybrid(path, model, "qwen35", True)


def qwen3_5_moe(path, model):
    hybrid(path, model, "qwen35moe", True)


def qwen3_next(path, model):
    hybrid(path, model, "qwen3next", False)


def gpt_oss(path, model, packed=False):
    config = model.config
    file = File(path, "gpt-oss", config)
    file.experts(config.num_local_experts, config.num_experts_per_tok, config.intermediate_size)
    file.integers(feed_forward_length=config.intermediate_size)
    file.writer.add_sliding_window(config.sliding_window)
    rope = config.rope_parameters
    file.writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    file.writer.add_rope_scaling_factor(rope["factor"])
    file.writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    ends(file, model)
    names = family_gguf.LAYER_NAMES | POST_NORM | {
        "mlp.router.weight": "ffn_gate_inp.weight", "mlp.router.bias": "ffn_gate_inp.bias",
        "self_attn.sinks": "attn_sinks.weight"}
    matrix = file.mxfp4 if packed else file.tensor

    def plain(name, value):
        file.writer.add_tensor(name, numpy.ascontiguousarray(value.float().numpy()))

    for prefix, rest, value in layers(model):
        if rest == "mlp.experts.gate_up_proj":  # [experts, in, gate and up in turns]
            matrix(prefix + "ffn_gate_exps.weight", value.transpose(1, 2)[:, ::2])
            matrix(prefix + "ffn_up_exps.weight", value.transpose(1, 2)[:, 1::2])
        elif rest == "mlp.experts.gate_up_proj_bias":
            plain(prefix + "ffn_gate_exps.bias", value[:, ::2])
            plain(prefix + "ffn_up_exps.bias", value[:, 1::2])
        elif rest == "mlp.experts.down_proj":
            matrix(prefix + "ffn_down_exps.weight", value.transpose(1, 2))
        elif rest == "mlp.experts.down_proj_bias":
            plain(prefix + "ffn_down_exps.bias", value)
        else:
            stem, _, ending = rest.rpartition(".")
            file.tensor(prefix + (names.get(rest) or f"{names[stem]}.{ending}"), value)
    file.close()


def gpt_oss_packed(path, model):
    gpt_oss(path, model, packed=True)
