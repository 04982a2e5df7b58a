#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast a checkpoint is loaded, beside `cat FILE >/dev/null`, and how much memory that takes.

  load_model.py PROGRAM [MODEL] [--repeats N] [--scratch DIR] [--layers N]

PROGRAM is build/headroom. MODEL is a .gguf file or a folder of safetensors; without one a Llama of random bf16 weights
is written to DIR (removed at the end; with 16 layers, the default, 2.5 GB). Loading is what `headroom logits` does between
its first lines of the phases "load" and "prefill": from the file's first byte to weights that can be used, allocated
memory and all. Twice: from the system's cache, and after the files were put out of it, as far as the system lets go of
them. Prints the best and the median of N repeats each, what else the machine did, and the process's peak: allocated
memory alone, and all that was resident.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time


def write_llama(folder, layers, width, mlp, heads, kv_heads, vocabulary):
    folder.mkdir(parents=True)
    head = width // heads
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": width, "intermediate_size": mlp,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head,
        "vocab_size": vocabulary, "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": True, "torch_dtype": "bfloat16"}))
    shapes = {"model.embed_tokens.weight": [vocabulary, width], "model.norm.weight": [width]}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        for name, shape in {"self_attn.q_proj": [width, width], "self_attn.k_proj": [kv_heads * head, width],
                            "self_attn.v_proj": [kv_heads * head, width], "self_attn.o_proj": [width, width],
                            "mlp.gate_proj": [mlp, width], "mlp.up_proj": [mlp, width], "mlp.down_proj": [width, mlp],
                            "input_layernorm": [width], "post_attention_layernorm": [width]}.items():
            shapes[f"{prefix}{name}.weight"] = shape
    header, offset = {}, 0
    for name, shape in shapes.items():
        size = 2
        for part in shape:
            size *= part
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    # Random values between -2^-6 and 2^-6: the exponent's byte is one of two, the other byte is anything.
    block = bytearray(os.urandom(1 << 22))
    block[1::2] = bytes(0x3c | byte & 0x80 for byte in block[1::2])
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for left in range(offset, 0, -len(block)):
            file.write(block[:min(left, len(block))])
        file.flush()
        os.fsync(file.fileno())


def files_of(model):
    return [model] if model.is_file() else sorted(model.glob("*.safetensors"))


def put_out_of_cache(files):
    for path in files:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds_of_cat(files):
    start = time.monotonic()
    for path in files:
        subprocess.run(["sh", "-c", 'cat "$0" >/dev/null', path], check=True)
    return time.monotonic() - start


def load(program, model, scratch):
    """Seconds, peak of allocated and of resident memory in bytes."""
    ids = scratch / "ids.json"
    ids.write_text("[1]")
    command = [program, "logits", model, "--ids", ids, "--out", scratch / "logits.safetensors", "--dtype", "bf16",
               "--device", "cpu"]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = [0, 0]

    def watch():
        while process.poll() is None:
            try:
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                return
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            if "VmHWM" in fields:
                peak[0] = max(peak[0], 1024 * (int(fields["RssAnon"].split()[0]) + int(fields["RssShmem"].split()[0])))
                peak[1] = max(peak[1], 1024 * int(fields["VmHWM"].split()[0]))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begin = end = None
    said = []
    for line in process.stderr:
        now = time.monotonic()
        said.append(line.decode())
        if line.startswith(b"load") and begin is None:
            begin = now
        if line.startswith(b"prefill") and end is None:
            end = now
    process.wait()
    watcher.join()
    if process.returncode or begin is None or end is None:
        sys.exit("".join(said) or "no phases in the output")
    return end - begin, *peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program")
    parser.add_argument("model", nargs="?", type=pathlib.Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--scratch", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()))
    options = parser.parse_args()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="headroom-load-", dir=options.scratch))
    try:
        model = options.model
        if model is None:
            model = scratch / "model"
            write_llama(model, options.layers, 2048, 8192, 32, 8, 128256)
        files = files_of(model)
        size = sum(path.stat().st_size for path in files)
        print(f"{size / 1e9:.2f} GB in {len(files)} file(s); {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        for cold in (False, True):
            cats, loads = [], []
            for _ in range(options.repeats):  # in turn, so that what else runs meets both
                for times, measure in ((cats, lambda: (seconds_of_cat(files), 0, 0)),
                                       (loads, lambda: load(options.program, model, scratch))):
                    if cold:
                        put_out_of_cache(files)
                    times.append(measure())
            ratio = [100 * cat[0] / took[0] for cat, took in zip(cats, loads)]
            cat, took = min(cats)[0], min(loads)[0]
            allocated, resident = max(row[1] for row in loads), max(row[2] for row in loads)
            print(f"{'put out of the cache' if cold else 'in the cache'}: best of {options.repeats}: cat "
                  f"{size / 1e9 / cat:.2f} GB/s, loading {size / 1e9 / took:.2f} GB/s ({100 * cat / took:.0f} %; "
                  f"median of pairs {statistics.median(ratio):.0f} %); peak {allocated / 1e9:.2f} GB allocated, "
                  f"{resident / 1e9:.2f} GB resident; load {os.getloadavg()[0]:.1f}")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
