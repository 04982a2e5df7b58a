#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/model/families/<case>/: tiny random checkpoints of each family as transformers saves them, with what
transformers computes from them. tests/model/test_families.cpp runs every folder that is there.

  config.json, model.safetensors   as save_pretrained() writes them; values that bf16 holds exactly, stored as BF16
  weights_of                       in place of model.safetensors: the case whose weights this configuration is tried on
  model.gguf                       the same weights as llama.cpp's converter stores them, where it knows the family
  expected.safetensors             all F32 but the last: ids [length]; rows [n], the positions that follow are of;
                                   logits [n, vocabulary]; hidden.0 … hidden.<layers - 1> [n, width], the residual
                                   stream after each layer; logits_bf16 [n, vocabulary], of the model in bf16 (BF16)

A family is one entry of CASES (or of another file's CASES, given with --cases); a new one needs nothing else. Weights
depend on the tensors' names alone, so cases can be made one by one. Needs torch, transformers and gguf.

  make_family_fixtures.py [--out tests/model/families] [--cases FILE.py] [CASE …]"""
import argparse
import dataclasses
import importlib.util
import json
import pathlib
import shutil
import zlib

import torch
import transformers
from safetensors.torch import save_file

import family_gguf

LENGTH, VOCABULARY, WIDTH = 72, 128, 32


@dataclasses.dataclass
class Case:
    name: str
    model: str                   # a class of transformers
    config: object               # () -> its configuration
    gguf: object = None          # (path, model) -> writes the GGUF file
    weights_of: str = None       # the case whose weights this one shares
    length: int = LENGTH
    rows: object = None          # positions to keep; default: all up to 24, then every third
    text: object = lambda model: model.model  # -> the module whose .layers they are
    tweak: object = None         # (name, tensor) -> tensor or None: weights that need other values

    def kept_rows(self):
        return self.rows or [i for i in range(self.length) if i < 24 or i % 3 == 0 or i == self.length - 1]


def random_weight(name, tensor):
    """Norms differ place by place, matrices keep activations' size, queries are sharp enough to matter."""
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    values = torch.randn(tensor.shape, generator=generator)
    if "norm" in name and name.endswith("weight"):
        return tensor + 0.3 * values  # transformers starts with what leaves x as it is: 1, or 0 where 1 + w
    if tensor.dim() < 2:
        return 0.5 * values
    if "embed_tokens" in name:
        return values
    scale = 2.0 if "q_proj" in name else 1.0
    return scale * values / tensor.shape[-1] ** 0.5


def make_model(case):
    config = case.config()
    config._attn_implementation = "eager"
    model = getattr(transformers, case.model)(config).float().eval()
    with torch.no_grad():
        for name, tensor in sorted(model.named_parameters()):
            value = case.tweak(name, tensor) if case.tweak else None
            value = random_weight(name, tensor) if value is None else value
            tensor.copy_(value.to(torch.bfloat16))
    model.tie_weights()
    return model


def run(model, case, ids):
    hidden = {}
    hooks = [layer.register_forward_hook(
        lambda _, __, out, i=i: hidden.__setitem__(i, (out[0] if isinstance(out, tuple) else out)[0].float()))
        for i, layer in enumerate(case.text(model).layers)]
    with torch.no_grad():
        logits = model(input_ids=ids[None], use_cache=False).logits[0]
    for hook in hooks:
        hook.remove()
    return logits, hidden


def write_case(case, out):
    folder = out / case.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = make_model(case)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = (torch.arange(case.length) ** 2 * 7 + torch.arange(case.length) * 3 + 1) % vocabulary
    rows = torch.tensor(case.kept_rows())
    logits, hidden = run(model, case, ids)
    expected = {"ids": ids.float(), "rows": rows.float(), "logits": logits[rows].contiguous()}
    for i, state in hidden.items():
        expected[f"hidden.{i}"] = state[rows].contiguous()
    if case.gguf:
        case.gguf(folder / "model.gguf", model)
    narrow = model.to(torch.bfloat16)
    expected["logits_bf16"] = run(narrow, case, ids)[0][rows].to(torch.bfloat16).contiguous()
    save_file(expected, folder / "expected.safetensors")
    narrow.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if case.weights_of:
        (folder / "model.safetensors").unlink()
        (folder / "weights_of").write_text(case.weights_of + "\n")
    error = (expected["logits_bf16"].float() - expected["logits"]).norm() / expected["logits"].norm()
    print(f"{case.name}: logits of size {logits.abs().mean():.2f}, bf16 error {error:.2e}")


def sizes(**more):
    return dict(vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=3,
                num_attention_heads=4, num_key_value_heads=2, head_dim=8, max_position_embeddings=512,
                bos_token_id=1, eos_token_id=2, pad_token_id=0) | more


def rope(**more):
    return {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"} | more}


LLAMA3 = dict(rope_theta=500.0, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64)
TYPES = ["sliding_attention", "full_attention", "sliding_attention"]


def llama(**more):
    return lambda: transformers.LlamaConfig(**sizes(**more))


def gemma3_text(**more):
    return transformers.Gemma3TextConfig(**sizes(num_hidden_layers=7, num_key_value_heads=1, sliding_window=12,
                                                 query_pre_attn_scalar=8) | more)


def gemma3_whole():
    vision = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28,
                  patch_size=14)
    scaled = {"full_attention": {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0},
              "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}}
    text = gemma3_text(num_hidden_layers=3, num_attention_heads=2, query_pre_attn_scalar=20, rope_parameters=scaled,
                       layer_types=TYPES)
    return transformers.Gemma3Config(text_config=text.to_dict(), vision_config=vision, mm_tokens_per_image=4,
                                     boi_token_index=125, eoi_token_index=126, image_token_index=127)


CASES = [
    Case("llama", "LlamaForCausalLM", llama(**rope(**LLAMA3)), gguf=family_gguf.llama),
    Case("llama_tied", "LlamaForCausalLM", llama(tie_word_embeddings=True, num_hidden_layers=2),
         gguf=family_gguf.llama),
    Case("llama_linear", "LlamaForCausalLM", llama(**rope(rope_type="linear", factor=3.0)), weights_of="llama"),
    Case("llama_yarn", "LlamaForCausalLM", llama(**rope(**YARN)), weights_of="llama"),
    Case("llama_yarn_options", "LlamaForCausalLM",
         llama(**rope(**YARN | dict(beta_fast=8.0, beta_slow=0.5, mscale=1.5, mscale_all_dim=0.5, truncate=False))),
         weights_of="llama"),
    Case("llama_yarn_factor", "LlamaForCausalLM", llama(**rope(**YARN | dict(attention_factor=0.8))),
         weights_of="llama"),
    Case("mistral", "MistralForCausalLM", lambda: transformers.MistralConfig(**sizes(sliding_window=16))),
    Case("mistral_unbound", "MistralForCausalLM", lambda: transformers.MistralConfig(**sizes(sliding_window=None)),
         weights_of="mistral"),
    Case("ministral", "MinistralForCausalLM",
         lambda: transformers.MinistralConfig(**sizes(sliding_window=16, layer_types=TYPES)), weights_of="mistral"),
    Case("qwen2", "Qwen2ForCausalLM",
         lambda: transformers.Qwen2Config(**sizes(tie_word_embeddings=True)), gguf=family_gguf.qwen2),
    Case("qwen2_windows", "Qwen2ForCausalLM",
         lambda: transformers.Qwen2Config(**sizes(tie_word_embeddings=True, use_sliding_window=True, sliding_window=10,
                                                  max_window_layers=1)), weights_of="qwen2"),
    Case("qwen3", "Qwen3ForCausalLM",
         lambda: transformers.Qwen3Config(**sizes(head_dim=16, **rope(**YARN | dict(rope_theta=1e6)))),
         gguf=family_gguf.qwen3),
    Case("gemma3", "Gemma3ForCausalLM", gemma3_text, gguf=family_gguf.gemma3),
    Case("gemma3_whole", "Gemma3ForConditionalGeneration", gemma3_whole,
         text=lambda model: model.model.language_model),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/model/families")
    parser.add_argument("--cases", type=pathlib.Path, help="another file that defines CASES")
    parser.add_argument("names", nargs="*", metavar="CASE")
    options = parser.parse_args()
    cases = CASES
    if options.cases:
        spec = importlib.util.spec_from_file_location("more_cases", options.cases)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        cases = module.CASES
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    for case in cases:
        if not options.names or case.name in options.names:
            write_case(case, options.out)


if __name__ == "__main__":
    main()
