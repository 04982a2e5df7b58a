#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tokenizers of the models that scripts/fetch-model knows, on 100,000 strings, against llama.cpp.

  real_tokenizers.py --check PROGRAM [MODEL ...] [--count N]   compares PROGRAM's (build/headroom) ids string by string
  real_tokenizers.py --write [MODEL ...]                       writes tests/tokenizer/real_models.json

MODEL: smollm2, gemma3-270m; without one, those that have been fetched. Strings are put together as in
make_tokenizers.py, and of tokens of the model's own vocabulary; tests/tokenizer/test_tokenizer_real.cpp makes the same
ones. Where control tokens are not parsed, strings that hold the text of one are left out and counted: llama.cpp merges
such text into the control token itself, Headroom leaves it text. real_models.json holds, for each model, its SHA-256 and
one hash for each 1,000 strings.
"""
import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import zlib

import gguf

from make_tokenizers import BLOCK, COUNT, HERE, Llama, Random, hash_ids

FILES = {"smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf", "gemma3-270m": "gemma-3-270m-q4_k_m.gguf"}
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "headroom" / "models"
CONTROL = 3


def byte_characters():
    """The character that stands for each byte in a byte-level vocabulary, the other way round."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {**{chr(byte): byte for byte in plain}, **{chr(256 + i): byte for i, byte in enumerate(others)}}


def vocabulary_of(path):
    """Texts of the tokens as they stand in a text ("" where one is no text by itself), and those of control tokens."""
    fields = gguf.GGUFReader(path).fields
    raw = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    if fields["tokenizer.ggml.model"].contents() == "gpt2":
        table = byte_characters()

        def text(token):
            if any(character not in table for character in token):
                return token
            try:
                return bytes(table[character] for character in token).decode()
            except UnicodeDecodeError:
                return ""
    else:
        def text(token):
            return token.replace("▁", " ")
    return [text(token) for token in raw], [token for token, kind in zip(raw, types) if kind == CONTROL]


def string_of(random, parts, runs, vocabulary):
    out = []
    for _ in range(1 + random.below(10)):
        kind = random.below(12)
        if kind < 5:
            out.append(parts[random.below(len(parts))])
        elif kind == 5:
            first, last = runs[random.below(len(runs))]
            out.append(chr(first + random.below(last - first)))
        elif kind == 6:
            out.append(chr(33 + random.below(94)))
        elif kind == 7:
            part = parts[random.below(len(parts))]
            out.append(part * (1 + random.below(6)))
        else:
            out.append(vocabulary[random.below(len(vocabulary))])
    return "".join(out)


def compare(program, path, texts, ids_of, special):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    command = [program, "tokenize", str(path), "--jsonl", "--no-bos"] + (["--special"] if special else [])
    found = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    ours = [json.loads(line)["ids"] for line in found.decode().splitlines()]
    wrong = len(texts) - len(ours)
    for text, mine in zip(texts, ours):
        theirs = list(ids_of(text, special))
        if mine != theirs:
            wrong += 1
            if wrong <= 6:
                print(repr(text), mine, theirs, sep="\n  ")
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--check", metavar="PROGRAM")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--count", type=int, default=COUNT)
    options = parser.parse_args()
    if bool(options.check) == options.write or not set(options.models) <= set(FILES):
        parser.error(f"--check PROGRAM or --write, and MODEL of {', '.join(FILES)}")
    data = json.loads(zlib.decompress((HERE / "families.qz").read_bytes()[4:]))
    fixture = HERE / "real_models.json"
    out = json.loads(fixture.read_text()) if fixture.exists() else {}
    wrong = 0
    for name in options.models or FILES:
        path = CACHE / FILES[name]
        if not path.exists():
            print(f"{name}: not fetched (scripts/fetch-model {name})")
            wrong += name in options.models
            continue
        vocabulary, control = vocabulary_of(path)
        random = Random(20261130)
        texts = [string_of(random, data["pieces"], data["runs"], vocabulary) for _ in range(options.count)]
        ids_of = Llama(path).ids
        entry = out[name] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "hashes": {}}
        for special in (False, True):
            kept = texts if special else [text for text in texts if not any(token in text for token in control)]
            way = "special" if special else "plain"
            if options.check:
                bad = compare(options.check, path, kept, ids_of, special)
                print(f"{name} llama.cpp {way}: {len(kept)} strings, {bad} differ, {len(texts) - len(kept)} with the "
                      "text of a control token left out", flush=True)
                wrong += bad
            else:
                entry["hashes"][way] = [hash_ids(ids_of(text, special) for text in kept[i:i + BLOCK])
                                        for i in range(0, len(kept), BLOCK)]
                print(f"{name} {way}: {len(kept)} strings", flush=True)
    if options.write:
        fixture.write_text(json.dumps(out, indent=0, sort_keys=True) + "\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
