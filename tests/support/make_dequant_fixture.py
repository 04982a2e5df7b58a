#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/checkpoint/dequant_<TYPE>.bin: stored blocks and what gguf.quants.dequantize makes of them.

Layout, little-endian: number of values (u32), number of stored bytes (u32), the bytes, the values (fp32). Blocks are
random bits with finite scales, so every bit of a block is exercised, then quantised normal numbers where gguf can.
FP8 (E4M3), which gguf does not know, is torch's: every code but NaN, four times.
"""
import pathlib
import struct

import gguf
import numpy as np
import torch

# GGML type, and the byte offsets of half-precision scales within a block.
TYPES = {"F32": [], "F16": [], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
         "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "Q2_K": [80, 82], "Q3_K": [108], "IQ4_NL": [0],
         "IQ4_XS": [0], "MXFP4": []}
folder = pathlib.Path(__file__).resolve().parent.parent / "checkpoint"
rng = np.random.default_rng(7)
for name, scales in TYPES.items():
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = max(1, 1024 // elements)
    raw = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    if name == "F32":
        raw = rng.standard_normal(blocks).astype(np.float32).view(np.uint8).reshape(blocks, 4)
    if name == "F16":  # every exponent but that of infinities, and subnormals
        raw = np.linspace(0, 0x7BFF, blocks).astype(np.uint16)
        raw[1::2] |= 0x8000
        raw = raw.view(np.uint8).reshape(blocks, 2)
    if name == "BF16":
        raw = rng.standard_normal(blocks).astype(np.float32).view(np.uint16)[1::2].copy()
        blocks = raw.size
        raw = raw.view(np.uint8).reshape(blocks, 2)
    if name == "MXFP4":  # the scale is one byte, a power of two: all but those whose products overflow
        raw[:, 0] = np.linspace(0, 250, blocks).astype(np.uint8)
    for offset in scales:
        half = rng.standard_normal(blocks).astype(np.float16)
        half[0] = np.float16(6e-8)  # subnormal
        raw[:, offset:offset + 2] = half.view(np.uint8).reshape(blocks, 2)
    values = gguf.quants.dequantize(raw.reshape(-1), kind).astype(np.float32).reshape(-1)
    out = struct.pack("<II", values.size, raw.size) + raw.tobytes() + values.tobytes()
    (folder / f"dequant_{name}.bin").write_bytes(out)
    print(name, values.size, len(out), bool(np.isfinite(values).all()))
codes = np.tile(np.array([code for code in range(256) if code & 127 != 127], dtype=np.uint8), 4)
values = torch.from_numpy(codes).view(torch.float8_e4m3fn).float().numpy()
(folder / "dequant_F8_E4M3.bin").write_bytes(
    struct.pack("<II", values.size, codes.size) + codes.tobytes() + values.tobytes())
