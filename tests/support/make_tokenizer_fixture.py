#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Varied strings and llama.cpp's token ids for them.

  make_tokenizer_fixture.py MODEL.gguf --fixture tests/tokenizer/smollm2_ids.qz   writes the fixture of CTest
  make_tokenizer_fixture.py MODEL.gguf --check build/headroom [--count 10000]     compares `headroom tokenize --jsonl`

Needs llama-cpp-python. The fixture is what Qt's qUncompress reads: JSON, a list of [text, ids, ids with special
tokens parsed] (the third one left out where it equals the second).
"""
import argparse
import json
import pathlib
import random
import struct
import subprocess
import sys
import unicodedata
import zlib

import llama_cpp

SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n", "\n ", "\v", "\f", "\x1c", "\x1f", "\x85", "\xa0",
          "\u1680", "\u180e", "\u2000", "\u2003", "\u2009", "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f",
          "\u2060", "\u3000", "\ufeff", "\t\t", "    ", "\xa0\xa0", "\u3000 "]
LOOKALIKES = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_start", "|im_end|>", "< |im_end|>", "<|im_end |>",
              "<|IM_END|>", "<|im_start|><|im_start|>", "<<|im_end|>>", "<|im_<|im_end|>", "<|im_start|>user\n",
              "<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>", "<issue_start>", "<issue_comment>",
              "<issue_closed>", "<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>",
              "<jupyter_script>", "<empty_output>", "<s>", "</s>", "<unk>", "[INST]", "<pad>", "<0x0A>", "<|", "|>"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'M", "'lL", "'D", "\u2019s",
                "''s", "' s", "'", "''", "'x", "'l", "'r", "'v"]
CODE = ["for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n", "def f(x):\n    return x**2  # square\n",
        "SELECT * FROM t WHERE id=42;", "#include <vector>\r\n", "x = {'a': [1, 2, 3], \"b\": None}", "0xDEADBEEF", "1e-5",
        "a->b::c<d>(e)", "/* ünïcode */", "$PATH:/usr/bin", "if err != nil {\n\t\treturn err\n\t}", "λ x → x",
        "https://example.org/a?b=c&d=%20#e", "user@example.org", "```python\nprint('hi')\n```", "</div>\n", "\\frac{1}{2}",
        "1,234,567.89", "v1.2.3-rc4", "2026-06-07T12:34:56Z", "~~~", "=====", "!!!???", "...", "\u2026", "<!-- -->"]
EMOJI = ["😀", "👍🏽", "👩‍💻", "🏳️‍🌈", "🇩🇪🇫🇷", "👨‍👩‍👧‍👦", "❤️", "☕", "🧑🏿‍🚀", "©", "™", "1️⃣", "🫠", "🪿", "\U0001f6dc"]
SCRIPTS = ["你好，世界。", "日本語のテキスト", "한국어 문장", "Привет, мир", "Γειά σου", "שָׁלוֹם", "السَّلامُ عَلَيْكُم", "नमस्ते दुनिया",
           "สวัสดีชาวโลก", "বাংলা", "தமிழ்", "ሰላም", "Việt Nam", "naïve café", "e\u0301a\u0308", "ﬁﬂ", "Ⅷ", "①②", "½",
           "２０２６", "٣٤٥", "१२३", "๑๒๓", "ǅ", "ß", "ſ", "K", "İi", "𝔘𝔫𝔦", "𐍈", "𒀀", "𠀋𪛔", "\U00031350", "\U00011f50"]
NUMBERS = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] == "N"]
WORDS = ("the of and to in is you that it he was for on are as with his they I at be this have from or one had by word "
         "but not what all were we when your can said there use an each which she do how their if will up other about "
         "Attention Needle HELLO McDonald iPhone COVID unbelievable antidisestablishmentarianism").split()


def any_point(rng):
    while True:
        point = rng.choice([rng.randrange(0x80), rng.randrange(0x800), rng.randrange(0x10000), rng.randrange(0x20000),
                            rng.randrange(0x110000)])
        if not 0xD800 <= point < 0xE000:
            return chr(point)


def make_string(rng, vocabulary):
    def token():
        try:
            return rng.choice(vocabulary).decode()
        except UnicodeDecodeError:
            return ""

    kinds = [lambda: rng.choice(SPACES), lambda: rng.choice(LOOKALIKES), lambda: rng.choice(CODE),
             lambda: rng.choice(EMOJI), lambda: rng.choice(SCRIPTS), lambda: rng.choice(NUMBERS),
             lambda: rng.choice(WORDS) + rng.choice(CONTRACTIONS), lambda: rng.choice(WORDS),
             lambda: " " + rng.choice(WORDS), lambda: str(rng.randrange(10 ** rng.randrange(1, 9))), token,
             lambda: any_point(rng), lambda: chr(rng.randrange(33, 127)), lambda: rng.choice("aA1 .\n-=😀あ") * rng.randrange(1, 40),
             lambda: "".join(rng.choice(SPACES) for _ in range(rng.randrange(1, 5)))]
    chosen = rng.choices(kinds, k=rng.randrange(1, 5))
    return "".join(rng.choice(chosen)() for _ in range(rng.randrange(1, 14)))


def strings(count, vocabulary):
    rng = random.Random(20260607)
    # Every number character of every script, every odd space and look-alike alone and between letters first.
    single = [f"a{s}b{s}{s} {s}1" for s in SPACES + LOOKALIKES] + CONTRACTIONS + CODE + EMOJI + SCRIPTS + [""]
    single += ["x" + "".join(NUMBERS[i:i + 24]) + " y" for i in range(0, len(NUMBERS), 24)]
    while len(single) < count:
        single.append(make_string(rng, vocabulary))
    return single[:count]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--fixture")
    parser.add_argument("--check")
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    llama = llama_cpp.Llama(options.model, vocab_only=True, verbose=False)
    vocabulary = [llama.detokenize([i], special=True) for i in range(llama.n_vocab())]
    texts = strings(options.count or (1500 if options.fixture else 10000), vocabulary)

    def ids(text, special):
        return llama.tokenize(text.encode(), add_bos=False, special=special) if text else []

    if options.fixture:
        rows = []
        for text in texts:
            plain, special = ids(text, False), ids(text, True)
            rows.append([text, plain] if plain == special else [text, plain, special])
        raw = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()
        packed = struct.pack(">I", len(raw)) + zlib.compress(raw, 9)
        pathlib.Path(options.fixture).write_bytes(packed)
        print(f"{len(rows)} strings, {len(packed)} bytes")
    if options.check:
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        wrong = 0
        for special in (False, True):
            command = [options.check, "tokenize", options.model, "--jsonl"] + (["--special"] if special else [])
            out = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout
            ours = [json.loads(line) for line in out.decode().splitlines()]
            assert len(ours) == len(texts), (len(ours), len(texts))
            for text, mine in zip(texts, ours):
                if mine["ids"] != ids(text, special):
                    wrong += 1
                    if wrong <= 10:
                        print(repr(text), special, mine["ids"], ids(text, special), sep="\n  ")
        print(f"{len(texts)} strings, with and without special tokens: {wrong} differ")
        sys.exit(1 if wrong else 0)


main()
