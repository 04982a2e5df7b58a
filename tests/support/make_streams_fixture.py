# SPDX-License-Identifier: Apache-2.0
"""Streams of tiny random models of families that Headroom does not know, written by the function in docs/import.md, with
what transformers itself says of their attention.

Run from the repository: python tests/support/make_streams_fixture.py tests/experiment/streams
Made with torch 2.11, transformers 5.x (the versions stand in the files' metadata).
"""
import pathlib
import re
import sys

import torch
import transformers
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
LENGTH = 48


def exporter():
    text = (ROOT / "docs" / "import.md").read_text(encoding="utf-8")
    scope = {}
    exec(re.search(r"```python\n(.*?)```", text, re.S).group(1), scope)
    return scope["export_streams"]


def neox():
    config = transformers.GPTNeoXConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                                        intermediate_size=48, max_position_embeddings=64)
    return transformers.GPTNeoXForCausalLM(config)


def cohere2():  # windows in three of four layers, grouped heads
    config = transformers.Cohere2Config(vocab_size=97, hidden_size=32, num_hidden_layers=4, num_attention_heads=4,
                                        num_key_value_heads=2, intermediate_size=48, sliding_window=8,
                                        pad_token_id=0, bos_token_id=1, eos_token_id=2)
    return transformers.Cohere2ForCausalLM(config)


def main(folder):
    export = exporter()
    for name, make in (("neox", neox), ("cohere2", cohere2)):
        torch.manual_seed(7)
        model = make().eval().float()
        for parameter in model.parameters():  # the usual tiny weights attend to everything alike
            if parameter.dim() > 1:
                parameter.data.mul_(6)
        ids = torch.randint(3, 97, (1, LENGTH), generator=torch.Generator().manual_seed(5))
        text = "".join(f"w{int(i)} " for i in ids[0])
        offsets, at = [], 0
        for i in ids[0]:
            size = len(f"w{int(i)} ")
            offsets.append((at, at + size))
            at += size
        export(model, ids, f"{folder}/{name}.streams.safetensors", text=text, offsets=offsets)
        model.set_attn_implementation("eager")
        with torch.no_grad():
            attentions = model(ids, output_attentions=True, use_cache=False).attentions
        save_file({f"layers.{n}.mass": p[0].mean(0).contiguous() for n, p in enumerate(attentions)},
                  f"{folder}/{name}.mass.safetensors",
                  metadata={"transformers": transformers.__version__, "torch": torch.__version__})


if __name__ == "__main__":
    main(sys.argv[1])
