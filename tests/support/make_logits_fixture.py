#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/model/smollm2_logits.safetensors and gemma3_logits.safetensors: reference logits of a real model by
transformers, which dequantises the same GGUF file to fp32.

  make_logits_fixture.py MODEL.gguf OUT.safetensors [TEXT]

The ids are those of the text (a file of ours); without one the model writes it itself, sampled after a sentence of
ours, so nobody else's text is stored. Needs torch, transformers, accelerate, gguf and safetensors; the file holds, all
as F32:
  ids [1000]; top_ids [1000, 2], top_values [1000, 2]; columns [24], values [1000, 24]: these columns' logits."""
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

BEGINNING = "How much of what a reader has already seen does the next word of a story depend on? To find out,"
POSITIONS, COLUMNS = 1000, 24


def main():
    model_file = pathlib.Path(sys.argv[1])
    out = pathlib.Path(sys.argv[2])
    model = AutoModelForCausalLM.from_pretrained(model_file.parent, gguf_file=model_file.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model_file.parent, gguf_file=model_file.name)
    torch.manual_seed(1)
    with torch.no_grad():
        if len(sys.argv) > 3:
            ids = tokenizer(pathlib.Path(sys.argv[3]).read_text(), return_tensors="pt").input_ids[0, :POSITIONS]
        else:
            prompt = tokenizer(BEGINNING, return_tensors="pt").input_ids
            ids = model.generate(prompt, do_sample=True, temperature=0.9, top_p=0.95, min_length=POSITIONS,
                                 max_length=POSITIONS, pad_token_id=0)[0]
        logits = model(ids[None]).logits[0]
    top = logits.topk(2, dim=-1)
    columns = torch.randperm(logits.shape[1])[:COLUMNS].sort().values
    save_file({"ids": ids.float(), "top_ids": top.indices.float(), "top_values": top.values.contiguous(),
               "columns": columns.float(), "values": logits[:, columns].contiguous()}, out)
    print(tokenizer.decode(ids[:200]))


if __name__ == "__main__":
    main()
