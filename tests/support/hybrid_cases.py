#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cases of make_family_fixtures.py for models with linear attention, experts and sinks:

  make_family_fixtures.py --cases tests/support/hybrid_cases.py [CASE …]
  hybrid_cases.py [FOLDER]      then rewrites in tests/model/families what transformers saves in another way than
                                published checkpoints: gpt-oss' experts as MXFP4, Qwen3.5's as one tensor of all."""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import load_file, save_file

import hybrid_gguf

FP4 = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6, -0.0, -.5, -1, -1.5, -2, -3, -4, -6])
EXPERTS = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=16)
SHARED = dict(shared_expert_intermediate_size=24)
LINEAR = dict(linear_num_key_heads=2, linear_num_value_heads=4, linear_key_head_dim=8, linear_value_head_dim=8,
              linear_conv_kernel_dim=4)


def sizes(**more):
    return dict(vocab_size=128, hidden_size=32, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
                head_dim=16, max_position_embeddings=1024, bos_token_id=1, eos_token_id=2, pad_token_id=0) | more


def hybrid(kind, **more):
    rope = dict(rope_theta=1e4, rope_type="default", partial_rotary_factor=0.25)
    return lambda: kind(**sizes(rope_parameters=dict(rope), **LINEAR | more))


def qwen3_5_whole():
    vision = dict(hidden_size=16, intermediate_size=16, depth=1, num_heads=2, out_hidden_size=32,
                  num_position_embeddings=16, patch_size=4)
    text = hybrid(transformers.Qwen3_5TextConfig, intermediate_size=48, linear_num_value_heads=2,
                  tie_word_embeddings=True)()
    return transformers.Qwen3_5Config(text_config=text.to_dict(), vision_config=vision, image_token_id=124,
                                      video_token_id=125, vision_start_token_id=126, vision_end_token_id=127,
                                      tie_word_embeddings=True)


def gpt_oss():
    yarn = dict(rope_theta=150000.0, rope_type="yarn", factor=4.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                original_max_position_embeddings=32)
    types = ["sliding_attention", "full_attention"] * 2
    return transformers.GptOssConfig(**sizes(head_dim=16, intermediate_size=32, num_local_experts=5,
                                             num_experts_per_tok=2, sliding_window=12, layer_types=types,
                                             rope_parameters=yarn))


def sinks(name, tensor, seed=53):
    """Large enough to take a share. With this seed and length no router's choice is so close that bf16 turns it over,
    which would say nothing of either program."""
    return 1 + torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed)) if "sinks" in name else None


def small_embedding(name, tensor):
    """It is the output matrix, too: logits of size 1."""
    generator = torch.Generator().manual_seed(6)
    return 0.2 * torch.randn(tensor.shape, generator=generator) if "embed_tokens" in name else None


def mxfp4_values(name, tensor):
    """Experts' matrices, [experts, in, out], of values that MXFP4 holds exactly: each 32 inputs share a scale."""
    if not name.endswith(("gate_up_proj", "down_proj")):
        return sinks(name, tensor, 5)
    generator = torch.Generator().manual_seed(len(name) + int(name.split(".")[2]))
    rows = tensor.transpose(1, 2)
    blocks = FP4[torch.randint(0, 16, (*rows.shape[:2], rows.shape[2] // 32, 32), generator=generator)]
    scales = torch.randint(-4, -2, (*blocks.shape[:3], 1), generator=generator).float().exp2()
    return (blocks * scales).reshape(rows.shape).transpose(1, 2)


def cases():
    from make_family_fixtures import Case
    long_rows = sorted({*range(4), *range(60, 68), *range(126, 131), *range(0, 1000, 20), 997, 998, 999})
    dense = hybrid(transformers.Qwen3_5TextConfig, intermediate_size=48)
    result = [
        Case("qwen3_moe", "Qwen3MoeForCausalLM",
             lambda: transformers.Qwen3MoeConfig(**sizes(intermediate_size=48, norm_topk_prob=True,
                                                         num_hidden_layers=3, **EXPERTS)),
             gguf=hybrid_gguf.qwen3_moe),
        Case("qwen3_moe_mixed", "Qwen3MoeForCausalLM",
             lambda: transformers.Qwen3MoeConfig(**sizes(intermediate_size=48, num_hidden_layers=3,
                                                         mlp_only_layers=[1], **EXPERTS))),
        Case("qwen3_5", "Qwen3_5ForCausalLM", dense, gguf=hybrid_gguf.qwen3_5, length=1000, rows=long_rows),
        Case("qwen3_5_whole", "Qwen3_5ForConditionalGeneration", qwen3_5_whole,
             text=lambda model: model.model.language_model, tweak=small_embedding),
        Case("qwen3_5_moe", "Qwen3_5MoeForCausalLM", hybrid(transformers.Qwen3_5MoeTextConfig, **EXPERTS, **SHARED),
             gguf=hybrid_gguf.qwen3_5_moe),
        Case("qwen3_next", "Qwen3NextForCausalLM",
             hybrid(transformers.Qwen3NextConfig, intermediate_size=48, **EXPERTS, **SHARED),
             gguf=hybrid_gguf.qwen3_next),
        Case("gpt_oss", "GptOssForCausalLM", gpt_oss, gguf=hybrid_gguf.gpt_oss, tweak=sinks, length=30),
        Case("gpt_oss_mxfp4", "GptOssForCausalLM", gpt_oss, gguf=hybrid_gguf.gpt_oss_packed, tweak=mxfp4_values),
    ]
    for length in (1, 63, 64, 65):
        rows = [i for i in (0, 1, 2, 30, 61, 62, 63, 64) if i < length]
        result.append(Case(f"qwen3_5_of_{length}", "Qwen3_5ForCausalLM", dense, weights_of="qwen3_5", length=length,
                           rows=rows))
    return result


def rewrite(folder, change_weights, change_config):
    weights = load_file(folder / "model.safetensors")
    save_file(change_weights(weights), folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    change_config(config)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def as_mxfp4(weights):
    packed = {}
    for name, value in weights.items():
        if not name.endswith(("gate_up_proj", "down_proj")):
            packed[name] = value
            continue
        rows = value.float().transpose(1, 2)  # [experts, out, in]
        blocks = rows.reshape(*rows.shape[:2], -1, 32)
        largest = blocks.abs().amax(-1, keepdim=True).clamp(min=2.0 ** -126)
        exponent = largest.log2().floor() - 2
        codes = (blocks / exponent.exp2()).unsqueeze(-1).eq(FP4).float().argmax(-1).to(torch.uint8)
        assert torch.equal(FP4[codes.long()] * exponent.exp2(), blocks)
        packed[name + "_blocks"] = (codes[..., ::2] | codes[..., 1::2] << 4).contiguous()
        packed[name + "_scales"] = (exponent.squeeze(-1) + 127).to(torch.uint8)
    return packed


def as_one_tensor(weights):
    apart = {name: value for name, value in weights.items() if ".experts." in name}
    whole = {name: value for name, value in weights.items() if ".experts." not in name}
    for prefix in sorted({name.split("experts.")[0] for name in apart}):
        count = sum(name.startswith(prefix) and name.endswith("down_proj.weight") for name in apart)
        own = [[apart[f"{prefix}experts.{i}.{part}_proj.weight"] for part in ("gate", "up", "down")]
               for i in range(count)]
        whole[prefix + "experts.gate_up_proj"] = torch.stack([torch.cat([gate, up]) for gate, up, _ in own])
        whole[prefix + "experts.down_proj"] = torch.stack([down for _, _, down in own])
    return whole if apart else weights


def main():
    root = pathlib.Path(__file__).resolve().parents[1] / "model/families"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root
    mxfp4 = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
    rewrite(folder / "gpt_oss_mxfp4", as_mxfp4, lambda config: config.update(quantization_config=mxfp4))
    rewrite(folder / "qwen3_5_moe", as_one_tensor, lambda config: None)


if __name__ == "__main__":
    main()
else:
    CASES = cases()
