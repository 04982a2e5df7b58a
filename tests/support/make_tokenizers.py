#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small tokenizers of every family, and what the references make of 100,000 strings with them.

  make_tokenizers.py                writes tests/tokenizer/families.qz and families.json
  make_tokenizers.py --keep [FAMILY ...] [--count N]        trains nothing anew; replaces the hashes of those families, or of all
  make_tokenizers.py --check PROGRAM [FAMILY ...] [--count N]   compares PROGRAM's (build/headroom) ids string by string, and says where
                                    they differ

families.qz (what Qt's qUncompress reads) holds the tokenizer.json of each family, trained on this repository's text with
the family's own pipeline, and the pieces that strings are made of; families.json the versions and, for each family and
reference, one hash for each 1,000 strings. Strings are made by string_of(), which tests/tokenizer/test_families.cpp has
too. References: the package `tokenizers` for tokenizer.json, llama.cpp (through the shared library of the package
`xllamacpp`) for the GGUF that gguf_of() makes of the same vocabulary.
"""
import argparse
import ctypes
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zlib

import gguf
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent.parent / "tokenizer"
ROOT = HERE.parent.parent
COUNT, BLOCK = 100_000, 1000
SLOW, FEW = {("gpt_oss", "llama.cpp"), ("tekken", "llama.cpp")}, 5000  # std::regex: minutes for a thousand strings
MASK = (1 << 64) - 1
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
LEAD = r"[^\r\n\p{L}\p{N}]?"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERNS = {
    "llama3": CONTRACTIONS + "|" + LEAD + r"\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES,
    "qwen2": CONTRACTIONS + "|" + LEAD + r"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*" + SPACES,
    "qwen35": CONTRACTIONS + "|" + LEAD + r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + SPACES,
    "gpt_oss": LEAD + UPPER + "*" + LOWER + "+" + CONTRACTIONS + "?|" + LEAD + UPPER + "+" + LOWER + "*" + CONTRACTIONS +
               r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES,
    "tekken": LEAD + UPPER + "*" + LOWER + "+|" + LEAD + UPPER + "+" + LOWER + r"*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*" + SPACES,
}
PRE = {"llama3": "llama-bpe", "qwen2": "qwen2", "qwen35": "qwen35", "gpt_oss": "gpt-4o", "tekken": "tekken",
       "smollm": "smollm", "gpt2": "gpt-2"}


# --- text ---

def pieces():
    spaces = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n", "\n ", "\v", "\f", "\x1c", "\x85", "\xa0", "\u1680",
              "\u180e", "\u2003", "\u200b", "\u2028", "\u202f", "\u3000", "\ufeff", "\t\t", "    ", "\xa0\xa0"]
    marks = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_end", "im_end|>", "<s>", "</s>", "<unk>", "<0x0A>", "<think>",
             "<b>", "</h1>", "[INST]", "▁", "▁▁", "mask", "[MASK]", "[LEFT]", "Word", "[NORM]", "[norm]", "<bos>", "\u0120"]
    contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'lL", "'\u017f", "\u2019s", "''", "'"]
    scripts = ["你好，世界。", "日本語のテキスト", "한국어 문장", "\u1100\u1161\u11a8", "Привет, мир", "ЁЛКА", "Γειά σου", "ΣΊΣΥΦΟΣ", "שָׁלוֹם",
               "السَّلامُ", "नमस्ते दुनिया", "สวัสดี", "বাংলা", "தமிழ்", "ሰላም", "Việt Nam", "naïve café", "e\u0301a\u0308", "ﬁﬂ",
               "Ⅷ", "①②", "½", "２０２６", "٣٤٥", "१२३", "ǅ", "ß", "ſ", "\u212a", "İi", "𝔘𝔫𝔦", "𐍈", "𠀋", "\u0344", "\u0958", "\u1e9b\u0323",
               "\ufb1d", "a\u0327\u0301", "\u0301", "ʰx", "ªº", "xʼy", "日Aa", "aB", "ABc", "ABCd", "Ωmega", "étÉ", "\u0300A", "中A"]
    code = ["for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n", "def f(x):\n    return x**2", "0xDEADBEEF", "1e-5", "a->b::c<d>(e)",
            "https://example.org/a?b=c&d=%20#e", "</div>\n", "1,234,567.89", "2026-06-07T12:34:56Z", "~~~", "=====", "!!!", "...", "…",
            "//", "/\n", "$x", "a_b", "#"]
    emoji = ["😀", "👍🏽", "👩\u200d💻", "🇩🇪", "❤\ufe0f", "1\ufe0f\u20e3", "™"]
    words = ("the of and to in is you that it he was for on are as with his they I at be this have from or one had by word but "
             "Attention Needle HELLO McDonald iPhone unbelievable tokenizer checkpoint headroom").split()
    return spaces + marks + contractions + scripts + code + emoji + words + [" " + word for word in words]


class Random:
    """splitmix64"""

    def __init__(self, seed):
        self.state = seed

    def below(self, count):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return (z ^ (z >> 31)) % count


def assigned():
    """Ranges of code points that every reference knows: those of Unicode 9.0, as old as the normal forms of `tokenizers`
    are (a mark that is younger is not put in order there)."""
    script = r'for (0..0x10ffff) { next if $_ >= 0xd800 && $_ < 0xe000; print "$_\n" if chr($_) =~ /\p{Present_In: 9.0}/ }'
    points = [int(line) for line in subprocess.run(["perl", "-e", script], stdout=subprocess.PIPE, check=True).stdout.split()]
    runs = []
    for point in points:
        if runs and runs[-1][1] == point:
            runs[-1][1] = point + 1
        else:
            runs.append([point, point + 1])
    return runs


def string_of(random, parts, runs):
    out = []
    for _ in range(1 + random.below(10)):
        kind = random.below(8)
        if kind < 5:
            out.append(parts[random.below(len(parts))])
        elif kind == 5:
            first, last = runs[random.below(len(runs))]
            out.append(chr(first + random.below(last - first)))
        elif kind == 6:
            out.append(chr(33 + random.below(94)))
        else:
            part = parts[random.below(len(parts))]
            out.append(part * (1 + random.below(6)))
    return "".join(out)


def strings(parts, runs):
    random = Random(20260607)
    return [string_of(random, parts, runs) for _ in range(COUNT)]


# --- tokenizers ---

def corpus():
    texts = sorted([*ROOT.glob("core/**/*.cpp"), *ROOT.glob("docs/*.md"), *ROOT.glob("sample_data/prompts/*.txt")])
    lines = [line for path in texts for line in path.read_text().split("\n")]
    return lines + [part * 3 + " " + part for part in pieces() for _ in range(4)]


def byte_level(pattern, lines, specials, size=1500, normalizer=None, before=None, use_regex=False, more=(), **model):
    steps = list(before or [])
    if pattern:
        steps.append(pre_tokenizers.Split(Regex(pattern), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex))
    made = Tokenizer(models.BPE(**model))
    if normalizer:
        made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    made.add_tokens([AddedToken(text, special=False, normalized=False) for text in more])
    return made


def sentence_piece(lines, first, size=1200):
    """Vocabulary and merges of a BPE on characters whose words begin with '▁'; `first` and the bytes come first."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=size, show_progress=False, limit_alphabet=200))
    trained = json.loads(made.to_str())["model"]
    texts = list(first) + [f"<0x{byte:02X}>" for byte in range(256)]
    texts += sorted((text for text in trained["vocab"] if text not in texts), key=trained["vocab"].get)
    return {text: i for i, text in enumerate(texts)}, [tuple(merge) for merge in trained["merges"]]


def template(token, made):
    return processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A {token} $B",
                                         special_tokens=[(token, made.token_to_id(token))])


def make_families():
    lines = corpus()
    chat = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    made = {
        "gpt2": byte_level(None, lines, ["<|endoftext|>"], use_regex=True),
        "smollm": byte_level(None, lines, chat, use_regex=True, before=[pre_tokenizers.Digits(True)]),
        "qwen2": byte_level(PATTERNS["qwen2"], lines, chat, normalizer=normalizers.NFC(), more=["<think>", "<b>"]),
        "qwen35": byte_level(PATTERNS["qwen35"], lines, chat, normalizer=normalizers.NFC(), more=["<think>", "</h1>"]),
        "llama3": byte_level(PATTERNS["llama3"], lines, chat, ignore_merges=True),
        "gpt_oss": byte_level(PATTERNS["gpt_oss"], lines, chat),
        "tekken": byte_level(PATTERNS["tekken"], lines, ["<s>", "</s>", "[INST]"], ignore_merges=True),
    }
    made["llama3"].post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                                         template("<|im_start|>", made["llama3"])])

    def on_characters(vocabulary, merges, specials, more=()):
        result = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        result.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
        result.add_tokens([AddedToken(text, special=False, normalized=False) for text in more])
        result.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
        return result

    vocabulary, merges = sentence_piece(lines, ["<unk>", "<s>", "</s>"])
    for name in ("llama2", "mistral"):
        made[name] = on_characters(vocabulary, merges, ["<unk>", "<s>", "</s>"])
        made[name].post_processor = template("<s>", made[name])
        made[name].decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                                decoders.Strip(" ", 1, 0)])
    made["llama2"].normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made["mistral"].pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    vocabulary, merges = sentence_piece(lines, ["<pad>", "<eos>", "<bos>", "<unk>", "▁▁", "▁▁▁", "\n\n", "<b>", "</h1>"])
    made["gemma"] = on_characters(vocabulary, merges, ["<pad>", "<eos>", "<bos>", "<unk>"], ["▁▁", "▁▁▁", "\n\n", "<b>", "</h1>"])
    made["gemma"].normalizer = normalizers.Replace(" ", "▁")
    made["gemma"].pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made["gemma"].post_processor = template("<bos>", made["gemma"])

    for name, fallback in (("unigram", False), ("unigram_bytes", True)):
        trained = Tokenizer(models.Unigram())
        trained.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(),
                                                   normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()])
        trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
        trained.train_from_iterator(lines, trainers.UnigramTrainer(vocab_size=1500, show_progress=False, unk_token="<unk>",
                                                                   special_tokens=["<unk>", "</s>"]))
        vocab = [(text, round(score, 6)) for text, score in json.loads(trained.to_str())["model"]["vocab"]]
        if fallback:
            vocab += [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
        trained.model = models.Unigram(vocab, unk_id=0, byte_fallback=fallback)
        trained.decoder = decoders.Metaspace(prepend_scheme="always")
        made[name] = trained

    odd = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    odd.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.Strip(), normalizers.NFKD()])
    odd.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"[\p{Han}\p{Hiragana}]+|\d{2}(?=\S)|(?i:the)"), "merged_with_next"),
        pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.Digits(False),
        pre_tokenizers.Split(Regex(r"\p{Lu}?\p{Ll}+"), "removed", invert=True) if False else pre_tokenizers.WhitespaceSplit()])
    odd.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=900, show_progress=False, limit_alphabet=120,
                                                       special_tokens=["<unk>"]))
    odd.add_special_tokens([AddedToken("[MASK]", lstrip=True, rstrip=True, special=True, normalized=False)])
    odd.add_tokens([AddedToken("[LEFT]", lstrip=True, normalized=False), AddedToken("Word", single_word=True, normalized=False),
                    AddedToken("[NORM]", normalized=True)])
    made["odd"] = odd
    return {name: value.to_str() for name, value in made.items()}


# --- references ---

class Llama:
    """llama.cpp's tokenizer of a GGUF file."""

    library = None

    def __init__(self, path):
        import xllamacpp
        if Llama.library is None:
            class Params(ctypes.Structure):  # more room than any version's struct llama_model_params
                _fields_ = [("raw", ctypes.c_uint8 * 256)]
            library = ctypes.CDLL(os.path.join(os.path.dirname(xllamacpp.__file__), "xllamacpp.abi3.so"))
            library.llama_model_default_params.restype = Params
            library.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Params]
            library.llama_model_load_from_file.restype = ctypes.c_void_p
            library.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
            library.llama_model_get_vocab.restype = ctypes.c_void_p
            library.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32,
                                               ctypes.POINTER(ctypes.c_int32), ctypes.c_int32, ctypes.c_bool, ctypes.c_bool]
            Llama.quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
            library.llama_log_set(Llama.quiet, None)
            library.llama_backend_init()
            Llama.library = library
        params = Llama.library.llama_model_default_params()
        params.raw[72] = 1  # vocab_only
        model = Llama.library.llama_model_load_from_file(str(path).encode(), params)
        assert model, path
        self.vocabulary = Llama.library.llama_model_get_vocab(model)

    def ids(self, text, special):
        raw = text.encode()
        room = len(raw) * 2 + 16
        buffer = (ctypes.c_int32 * room)()
        count = Llama.library.llama_tokenize(self.vocabulary, raw, len(raw), buffer, room, False, special)
        assert count >= 0
        return buffer[:count]


def gguf_of(name, text, path):
    """The vocabulary of a family's tokenizer.json as a GGUF file without tensors."""
    data = json.loads(text)
    vocabulary = dict(data["model"]["vocab"])
    types = {}
    for token in data["added_tokens"]:
        vocabulary[token["content"]] = token["id"]
        types[token["id"]] = 3 if token["special"] else 4
    texts = sorted(vocabulary, key=vocabulary.get)
    writer = gguf.GGUFWriter(path, "llama")
    kind = "gpt2" if name in PRE else "llama"
    merges = [" ".join(merge) for merge in data["model"]["merges"]]
    writer.add_tokenizer_model(kind)
    if kind == "gpt2":
        writer.add_tokenizer_pre(PRE[name])
        writer.add_token_merges(merges)
    else:
        scores = {"".join(merge): -float(rank) for rank, merge in reversed(list(enumerate(data["model"]["merges"])))}
        writer.add_token_scores([scores.get(token, -1000.0) for token in texts])
        for i, token in enumerate(texts):
            if len(token) == 6 and token.startswith("<0x"):
                types[i] = 6
        types[vocabulary["<unk>"]] = 2
        writer.add_add_space_prefix(name != "gemma")
        writer.add_unk_token_id(vocabulary["<unk>"])
        if name == "gemma":  # user-defined pieces are matched in the text as it is
            texts = [token.replace("▁", " ") if types.get(i) == 4 else token for i, token in enumerate(texts)]
    writer.add_token_list(texts)
    writer.add_token_types([types.get(i, 1) for i in range(len(texts))])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def references(families, folder):
    """(name, reference, ids of a text and whether control tokens are parsed, path of the model)"""
    for name, text in families.items():
        made = Tokenizer.from_str(text)

        def by_tokenizers(string, special, made=made):
            made.encode_special_tokens = not special
            return made.encode(string, add_special_tokens=False).ids

        home = folder / name
        home.mkdir()
        (home / "tokenizer.json").write_text(text)
        (home / "config.json").write_text("{}")
        header = b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        (home / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        yield name, "tokenizers", by_tokenizers, home
        if name in PRE or name in ("llama2", "gemma"):
            path = folder / f"{name}.gguf"
            gguf_of(name, text, str(path))
            with open(path, "ab") as file:
                file.write(bytes(64))
            yield name, "llama.cpp", Llama(path).ids, path


def ways(name):
    """Control tokens as text and parsed. The package's Unigram writes control tokens for text that looks like them, also
    where it is told not to parse them; ours are written by templates alone."""
    return (True,) if name.startswith("unigram") else (False, True)


def hash_ids(rows):
    value = 0xCBF29CE484222325
    for ids in rows:
        for number in [len(ids), *ids]:
            value = ((value ^ number) * 0x100000001B3) & MASK
    return f"{value:016x}"


def save(file, out, keep):
    """After each reference, since some take long; hashes of other families stay where `keep`."""
    if keep and file.exists():
        out = {**out, "hashes": {**json.loads(file.read_text())["hashes"], **out["hashes"]}}
    file.write_text(json.dumps(out, indent=0, sort_keys=True) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check")
    parser.add_argument("families", nargs="*")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--reference")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    packed = HERE / "families.qz"
    if options.check or options.families:
        data = json.loads(zlib.decompress(packed.read_bytes()[4:]))
    else:
        kept = json.loads(zlib.decompress(packed.read_bytes()[4:]))["tokenizers"] if options.keep else None
        data = {"pieces": pieces(), "runs": assigned(), "tokenizers": kept or make_families()}
        raw = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
        packed.write_bytes(struct.pack(">I", len(raw)) + zlib.compress(raw, 9))
        print(f"{packed.stat().st_size} bytes")
    all_texts = strings(data["pieces"], data["runs"])
    chosen = {name: text for name, text in data["tokenizers"].items() if not options.families or name in options.families}
    hashes = HERE / "families.json"
    out = {"made with": {"tokenizers": tokenizers.__version__}, "hashes": {}}
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, reference, ids_of, path in references(chosen, pathlib.Path(folder)):
            if options.reference not in (None, reference):
                continue
            texts = all_texts[:min(options.count, FEW if (name, reference) in SLOW else COUNT)]
            if not options.check:
                for special in ways(name):
                    key = f"{name} {reference} {'special' if special else 'plain'}"
                    out["hashes"][key] = [hash_ids(ids_of(text, special) for text in texts[i:i + BLOCK])
                                          for i in range(0, len(texts), BLOCK)]
                    print(key, flush=True)
                save(hashes, out, bool(options.families))
                continue
            lines = "".join(json.dumps(text) + "\n" for text in texts)
            for special in ways(name):
                command = [options.check, "tokenize", str(path), "--jsonl", "--no-bos"] + (["--special"] if special else [])
                found = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
                bad = 0
                ours = [json.loads(line)["ids"] for line in found.decode().splitlines()]
                for text, mine in zip(texts, ours):
                    if mine != list(ids_of(text, special)):
                        bad += 1
                        if bad <= 4:
                            print(repr(text), mine, list(ids_of(text, special)), sep="\n  ")
                print(f"{name} {reference} special={special}: {len(ours)} strings, {bad} differ", flush=True)
                wrong += bad + (len(ours) != len(texts))
    if options.check:
        sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
