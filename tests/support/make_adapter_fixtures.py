#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/model/adapters/<case>/: small LoRA adapters as PEFT saves them, for the bases of tests/model/families,
with what transformers and peft compute from the two. tests/model/test_adapters.cpp runs every folder that is there.

  base                       the case in tests/model/families that it belongs to
  adapter_config.json, adapter_model.safetensors     as save_pretrained() writes them
  headroom_adapter.json      where the layers change: kinds, window, RoPE base, context (docs/adapters.md)
  base.gguf                  a quantised base of its own; else the family's files
  expected.safetensors       F32 but the last: ids [length]; rows [n], the positions that follow are of; logits
                             [n, vocabulary], in fp64 where it can be; logits_bf16, of the merged model in bf16 (BF16)

Needs torch, transformers, peft and gguf; run make_family_fixtures.py first where its cases are not there.

  make_adapter_fixtures.py [--out tests/model/adapters] [CASE …]"""
import argparse
import dataclasses
import hashlib
import json
import pathlib
import shutil
import zlib

import gguf
import numpy
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

import family_gguf

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAMILIES = ROOT / "tests/model/families"
LENGTH = 96
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclasses.dataclass
class Case:
    name: str
    base: str                     # a case of tests/model/families
    model: str                    # a class of transformers
    lora: dict                    # of peft.LoraConfig
    dtype: torch.dtype = torch.float32
    change: dict = None           # of headroom_adapter.json, without the base's hash
    config: object = lambda config: None   # changes the configuration to that of base and adapter together
    edit: dict = None             # written over adapter_config.json afterwards: what people write by hand
    quantised: bool = False       # the base in Q8_0, as GGUF
    size: float = 0.15            # of the factors' values
    exact: bool = True            # fp64 can be computed (experts cannot)


def random_factors(model, size):
    """Both factors, so large that a wrong row or scale shows, and no larger: rounding must not."""
    with torch.no_grad():
        for name, tensor in sorted(model.named_parameters()):
            if "lora_" in name:
                generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
                tensor.copy_(size * torch.randn(tensor.shape, generator=generator))


def write_quantised(path, model):
    """Q8_0 where rows are of whole blocks; the model then holds what the file says."""
    kind = gguf.GGMLQuantizationType.Q8_0

    class Quantised(family_gguf.File):
        def tensor(self, name, value):
            value = value.detach().float().numpy()
            if value.ndim == 1 or value.shape[1] % 32 != 0:
                return super().tensor(name, torch.from_numpy(value))
            self.writer.add_tensor(name, gguf.quants.quantize(numpy.ascontiguousarray(value), kind), raw_dtype=kind)

    plain, family_gguf.File = family_gguf.File, Quantised
    try:
        family_gguf.llama(path, model)
    finally:
        family_gguf.File = plain
    with torch.no_grad():
        for tensor in model.parameters():  # blocks are of rows: their order does not matter
            if tensor.dim() == 2 and tensor.shape[1] % 32 == 0:
                blocks = gguf.quants.quantize(tensor.numpy(), kind)
                tensor.copy_(torch.from_numpy(gguf.quants.dequantize(blocks, kind)))


def write_case(case, out):
    folder, base = out / case.name, FAMILIES / case.base
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "base").write_text(case.base + "\n")
    cls = getattr(transformers, case.model)
    config = cls.config_class.from_pretrained(base)
    case.config(config)
    model = cls.from_pretrained(base, config=config, dtype=torch.float32, attn_implementation="eager").eval()
    if case.quantised:
        write_quantised(folder / "base.gguf", model)
    torch.manual_seed(0)
    tuned = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **case.lora))
    random_factors(tuned, case.size)
    if case.dtype != torch.float32:
        for name, tensor in tuned.named_parameters():
            if "lora_" in name:
                tensor.data = tensor.data.to(case.dtype)
    tuned.save_pretrained(folder, save_embedding_layers=False)  # else a copy of the base's output comes along
    (folder / "README.md").unlink(missing_ok=True)
    for name, tensor in tuned.named_parameters():
        if "lora_" in name:
            tensor.data = tensor.data.float()
    saved = json.loads((folder / "adapter_config.json").read_text())
    saved["base_model_name_or_path"] = case.base  # not where this was made
    for key, value in saved.items():
        if isinstance(value, list):
            value.sort()  # PEFT keeps sets
    saved |= case.edit or {}
    (folder / "adapter_config.json").write_text(json.dumps(saved, indent=1, sort_keys=True) + "\n")
    if case.change:
        weights = base / "model.gguf"
        change = {"format": 1, "base_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(), "base_name": case.base}
        (folder / "headroom_adapter.json").write_text(json.dumps(change | case.change, indent=1) + "\n")

    given = load_file(base / "expected.safetensors")
    ids = given["ids"].long()[:LENGTH]
    rows = given["rows"].long()
    rows = rows[rows < LENGTH]

    def run(model):
        with torch.no_grad():
            return model(input_ids=ids[None], use_cache=False).logits[0]

    single = run(tuned)
    with tuned.disable_adapter():
        without = run(tuned)
    logits = run(tuned.double()) if case.exact else single
    narrow = run(tuned.float().merge_and_unload().to(torch.bfloat16))
    save_file({"ids": ids.float(), "rows": rows.float(), "logits": logits[rows].float().contiguous(),
               "logits_bf16": narrow[rows].contiguous()}, folder / "expected.safetensors")
    print(f"{case.name}: logits of size {logits.abs().mean():.2f}, the adapter moves them by "
          f"{(single - without).abs().mean():.2f}; in fp32 peft errs by {(single - logits).abs().max():.1e}, "
          f"in bf16 by {(narrow - logits).norm() / logits.norm():.1e} of their norm")


def hybrid(kinds, window, theta=None, context=None):
    def change(config):
        config.layer_types = [f"{kind}_attention" for kind in kinds]
        config.sliding_window = window
        if hasattr(config, "use_sliding_window"):
            config.use_sliding_window = True
        if theta:
            config.rope_parameters = {"rope_theta": theta, "rope_type": "default"}
        if context:
            config.max_position_embeddings = context
    record = {"layer_kinds": kinds, "window": window}
    return dict(config=change,
                change=record | ({"rope_base": theta} if theta else {}) | ({"context": context} if context else {}))


CASES = [
    Case("llama_ranks", "llama", "LlamaForCausalLM",
         dict(r=4, lora_alpha=6, target_modules=ALL + ["lm_head"],
              rank_pattern={"q_proj": 6, "model.layers.1.mlp.down_proj": 2, r"layers\.[02]\.self_attn\.v_proj": 3},
              alpha_pattern={"k_proj": 3, "up_proj": 9})),
    Case("llama_rslora", "llama", "LlamaForCausalLM",
         dict(r=5, lora_alpha=3, use_rslora=True,
              target_modules=r".*\.layers\.(0|2)\.(self_attn\.[qkvo]_proj|mlp\.(?:up|down)_proj)"),
         dtype=torch.bfloat16),
    Case("llama_layers", "llama_tied", "LlamaForCausalLM",
         dict(r=3, lora_alpha=3, target_modules=ALL, exclude_modules=["v_proj", "model.layers.1.mlp.up_proj"],
              layers_to_transform=[1], layers_pattern="layers")),
    Case("llama_q8", "llama", "LlamaForCausalLM", dict(r=4, lora_alpha=4, target_modules=ALL), quantised=True),
    Case("qwen3", "qwen3", "Qwen3ForCausalLM", dict(r=4, lora_alpha=8, target_modules=ALL), dtype=torch.float16),
    Case("gemma3", "gemma3", "Gemma3ForCausalLM", dict(r=2, lora_alpha=4, target_modules="all-linear"),
         edit={"target_modules": "all-linear"}),
    Case("qwen3_5", "qwen3_5", "Qwen3_5ForCausalLM", dict(r=3, lora_alpha=6, target_modules="all-linear"),
         size=0.08),
    Case("qwen3_next", "qwen3_next", "Qwen3NextForCausalLM",
         dict(r=3, lora_alpha=6, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "in_proj_qkvz", "in_proj_ba",
                                                 "out_proj"]), size=0.08, exact=False),
    # Llama with windows: in transformers Ministral, whose weights have the same names.
    Case("llama_hybrid", "llama_tied", "MinistralForCausalLM", dict(r=4, lora_alpha=8, target_modules=ALL),
         **hybrid(["sliding", "full"], 12, 50000.0, 4096)),
    Case("qwen3_hybrid", "qwen3", "Qwen3ForCausalLM", dict(r=4, lora_alpha=8, target_modules=ALL),
         **hybrid(["sliding", "sliding", "full"], 10)),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "tests/model/adapters")
    parser.add_argument("names", nargs="*", metavar="CASE")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}")
    for case in CASES:
        if not options.names or case.name in options.names:
            write_case(case, options.out)


if __name__ == "__main__":
    main()
