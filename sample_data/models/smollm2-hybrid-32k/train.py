#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the model smollm2-hybrid-32k: SmolLM2-135M-Instruct with full attention in every fourth layer (3, 7, …, 27),
windows of 512 tokens in the others, RoPE base 1e6 and 32,768 tokens of context, by a LoRA adapter of rank 32. One GPU,
half an hour at most; needs torch, transformers, peft, gguf and tokenizers.

  make_text.py FOLDER                              the text that it learns from besides Python's own library
  train.py train --text FOLDER [--minutes 15]      writes adapter_config.json, adapter_model.safetensors (bf16),
                                                   headroom_adapter.json and log.jsonl beside this file (or into --out)
  train.py logits --ids F.json --to F.safetensors  what transformers and peft compute from base and adapter in fp32:
                                                   compare with `headroom logits smollm2-hybrid-32k --ids F.json …`
  train.py train --tiny                            a few steps on a CPU, to see that everything works

What it learns from: conversations about one long context with many questions (keys with one or several values, values
that pass from name to name, most frequent words); passages that come again far behind their first place; plain text of
the folders named. So that the base's own abilities stay, some steps are short text, or conversations that the base
itself has led, whose predictions are held to the base's (KL). Files, words and requests are split by a hash, one in
eight is never trained on and serves the figures in the log; so does one wording of each kind. Neither wordings nor
words are those of Headroom's tasks."""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import math
import multiprocessing
import os
import pathlib
import random
import time

import gguf
import numpy
import peft
import tokenizers
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from torch.utils.checkpoint import checkpoint

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "headroom"
BASE = CACHE / "models/SmolLM2-135M-Instruct.Q4_1.gguf"
NAME, FULL_EVERY, WINDOW, ROPE_BASE, CONTEXT = "smollm2-hybrid-32k", 4, 512, 1e6, 32768
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


# --- the base, from its GGUF file ---

def read_gguf(path):
    """Metadata by key, and the weights in fp32 under transformers' names; rows of q and k back in its order."""
    reader = gguf.GGUFReader(path)
    meta = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    names = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
             "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    ends = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    heads = {"attn_q": meta["llama.attention.head_count"], "attn_k": meta["llama.attention.head_count_kv"]}
    weights = {}
    for tensor in reader.tensors:
        values = torch.from_numpy(gguf.quants.dequantize(tensor.data, tensor.tensor_type).copy())
        if tensor.name in ends:
            weights[ends[tensor.name]] = values
            continue
        _, layer, part, _ = tensor.name.split(".")
        if part in heads:  # stored for rotation of adjacent pairs
            rows = values.reshape(heads[part], -1, 2, values.shape[-1])
            values = rows.swapaxes(1, 2).reshape(values.shape)
        weights[f"model.layers.{layer}.{names[part]}.weight"] = values.contiguous()
    return meta, weights


def make_model(meta, weights, hybrid):
    """Llama with windows is called Ministral in transformers; without `hybrid` the base itself."""
    count = meta["llama.block_count"]
    kinds = ["full" if not hybrid or i % FULL_EVERY == FULL_EVERY - 1 else "sliding" for i in range(count)]
    heads = meta["llama.attention.head_count"]
    config = transformers.MinistralConfig(
        vocab_size=weights["model.embed_tokens.weight"].shape[0], hidden_size=meta["llama.embedding_length"],
        intermediate_size=meta["llama.feed_forward_length"], num_hidden_layers=count, num_attention_heads=heads,
        num_key_value_heads=meta["llama.attention.head_count_kv"], head_dim=meta["llama.embedding_length"] // heads,
        max_position_embeddings=CONTEXT if hybrid else meta["llama.context_length"], sliding_window=WINDOW,
        rms_norm_eps=meta["llama.attention.layer_norm_rms_epsilon"], tie_word_embeddings=True,
        layer_types=[f"{kind}_attention" for kind in kinds], bos_token_id=1, eos_token_id=2, pad_token_id=None,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE if hybrid else meta["llama.rope.freq_base"]})
    config._attn_implementation = "sdpa"
    model = transformers.MinistralForCausalLM(config).float()
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert missing in ([], ["lm_head.weight"]) and not unexpected, (missing, unexpected)
    model.tie_weights()
    return model.eval(), kinds


def make_tokenizer(meta):
    """As llama.cpp and SmolLM2's own file have it: digits one by one, then GPT-2's pieces of bytes."""
    tokens, kinds = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in meta["tokenizer.ggml.merges"]]
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Digits(individual_digits=True),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)])
    bpe.decoder = tokenizers.decoders.ByteLevel()
    bpe.add_special_tokens([tokens[i] for i, kind in enumerate(kinds) if kind == 3])
    return bpe


def attend(q, k, v, window):
    """Causal attention of q [B, L, Hq, d] over k and v [B, L, Hkv, d]; with a window a query sees the `window` keys that
    end with its own."""
    if q.is_cuda:  # FlashAttention-2
        band = {} if window is None else {"window_size_left": window - 1, "window_size_right": 0}
        return torch.ops.aten._flash_attention_forward(q, k, v, None, None, q.shape[1], k.shape[1], 0.0, True, False,
                                                       **band)[0]
    t = torch.arange(q.shape[1])
    seen = (t <= t[:, None]) & (t[:, None] - t < (window or q.shape[1]))
    return F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=seen,
                                          enable_gqa=True).transpose(1, 2)


class Decoder:
    """The model's own forward pass: transformers' modules give the weights and LoRA's factors, which are added up once a
    step in place of a second path for every token. Products in `dtype`, residuals in fp32."""
    def __init__(self, model, dtype):
        self.dtype, self.model = dtype, model.get_base_model() if hasattr(model, "get_base_model") else model
        config = self.model.config
        self.kinds = [WINDOW if kind == "sliding_attention" else None for kind in config.layer_types]
        self.heads, self.width, self.eps = config.num_attention_heads, config.head_dim, config.rms_norm_eps
        self.theta = config.rope_parameters["rope_theta"]

    def weight(self, linear):
        if not hasattr(linear, "lora_A"):
            return linear.weight.to(self.dtype)
        a, b = linear.lora_A["default"].weight, linear.lora_B["default"].weight
        return torch.addmm(linear.weight, b, a, alpha=linear.scaling["default"]).to(self.dtype)

    def rotation(self, length, device):
        half = torch.arange(0, self.width, 2, device=device).float() / self.width
        angles = torch.arange(length, device=device).float()[:, None] / self.theta ** half
        return torch.cat([angles.cos()] * 2, -1)[:, None], torch.cat([-angles.sin(), angles.sin()], -1)[:, None]

    def hidden_states(self, ids):
        """[B, L, width] in `dtype`, after the last norm."""
        inner = self.model.model
        x = F.embedding(ids, inner.embed_tokens.weight).float()
        cos, sin = self.rotation(ids.shape[1], ids.device)

        def norm(module):
            return F.rms_norm(x, (x.shape[-1],), module.weight, self.eps).to(self.dtype)

        def rotated(h):
            return (h * cos + h.roll(self.width // 2, -1) * sin).to(self.dtype)

        for layer, window in zip(inner.layers, self.kinds):
            a, m = layer.self_attn, layer.mlp
            h = norm(layer.input_layernorm)
            qkv = F.linear(h, torch.cat([self.weight(a.q_proj), self.weight(a.k_proj), self.weight(a.v_proj)]))
            q, k, v = qkv.unflatten(-1, (-1, self.width)).split(
                [self.heads, *[(qkv.shape[-1] // self.width - self.heads) // 2] * 2], 2)
            mixed = attend(rotated(q), rotated(k), v, window).flatten(2)
            x = x + F.linear(mixed, self.weight(a.o_proj))
            gate, up = F.linear(norm(layer.post_attention_layernorm),
                                torch.cat([self.weight(m.gate_proj), self.weight(m.up_proj)])).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, self.weight(m.down_proj))
        return norm(inner.norm)

    def logits(self, rows):
        return F.linear(rows, self.model.lm_head.weight.to(self.dtype)).float()


@torch.no_grad()
def check_decoder(decoder, tuned, device):
    """Decoder against transformers and peft, past the borders of windows; LoRA's second factor is not 0 while it is checked."""
    learnt = [p for name, p in tuned.named_parameters() if "lora_B" in name]
    for p in learnt:
        p.normal_(0, 0.02)
    ids = torch.randint(100, 40000, (2, WINDOW + 300), device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        wanted = tuned(input_ids=ids, use_cache=False).logits.float()
    found = decoder.logits(decoder.hidden_states(ids))
    off = float((found - wanted).norm() / wanted.norm())
    for p in learnt:
        p.zero_()
    assert off < (0.05 if device.type == "cuda" else 1e-4), f"the decoder is off by {off}"
    return off


# --- what it learns from ---

def held_out(text):
    """One in eight, whatever the machine and the order."""
    return hashlib.sha256(text.encode()).digest()[0] % 8 == 0


class Texts:
    """Plain text of files, as one array of token ids for each part of the split; that of held-out prose once more."""
    def __init__(self, folders, prose, bpe, most_bytes):
        prose = [pathlib.Path(folder) for folder in prose]
        files = sorted(f for folder in folders for f in pathlib.Path(folder).rglob("*")
                       if f.suffix in {".txt", ".rst", ".md", ".py", ".c", ".h", ".cpp", ".tex"} and f.is_file())
        random.Random(1).shuffle(files)
        taken, kept, self.files = 0, [], {False: 0, True: 0}
        for file in files:
            text = file.read_bytes()[:1_000_000].decode("utf-8", "ignore")
            if len(text) < 2000 or taken > most_bytes:
                continue
            taken += len(text)
            kept.append((held_out(text), any(folder in file.parents for folder in prose), text))
            self.files[kept[-1][0]] += 1
        ids = {False: [], True: [], "prose": []}
        for (part, in_prose, _), found in zip(kept, bpe.encode_batch_fast([text for *_, text in kept],
                                                                          add_special_tokens=False)):
            piece = numpy.array(found.ids + [0], numpy.int32)  # 0: <|endoftext|>
            ids[part].append(piece)
            if part and in_prose:
                ids["prose"].append(piece)
        self.ids = {part: numpy.concatenate(pieces) if pieces else numpy.zeros(0, numpy.int32)
                    for part, pieces in ids.items()}
        self.prose = self.ids.pop("prose")
        assert min(map(len, self.ids.values())) > 4096, "--text: there is too little text to learn from"

    def piece(self, rng, length, evaluation=False, prose=False):
        ids = self.prose if prose else self.ids[evaluation]
        return ids[(start := rng.randrange(max(1, len(ids) - length))):start + length].tolist()

    def echo(self, rng, length):
        """(ids, weights): passages of text, then the same ones in another order; of each one's second coming all but the
        first tokens, which name it, are what is learnt."""
        size = rng.randrange(48, 256)
        passages = [self.piece(rng, size) for _ in range(max(1, length // (2 * size)))]
        rng.shuffle(again := list(passages))
        ids = [i for passage in passages + again for i in passage]
        return ids, [0.0] * (len(ids) // 2) + ([0.0] * 12 + [1.0] * (size - 12)) * len(again)


class Words:
    """Made of syllables: no list of anybody's."""
    def __init__(self, evaluation):
        first, middle, last = "b d f g k l m n p r s t v z br dr kl pl st tr".split(), "a e i o u ai ea".split(), \
            "bal den fir gon lam mer nak pel rin sot tun vek wim zor".split()
        self.list = [word for a in first for b in middle for c in last
                     if held_out(word := a + b + c) == evaluation]

    def some(self, rng, count):
        return rng.sample(self.list, count)


# Each: sentence of one fact, question for one key. The last of each list is held out.
NOUNS = """code label password weight price colour address signature record answer rank tariff frequency coordinate licence
badge voltage extension balance serial reference score height mark""".split()
FACTS = [(f"{lead} {noun} of {{key}} is {{value}}.", f"What is the {noun} of {{key}}?")
         for noun in NOUNS for lead in ("The", "Note that the")] + [
         (f"{{key}} has the {noun} {{value}}.", f"Which {noun} does {{key}} have?") for noun in NOUNS] + [
         ("The cabinet of {key} opens with {value}.", "What opens the cabinet of {key}?"),
         ("For {key} the clerk wrote down {value}.", "What did the clerk write down for {key}?"),
         ("Parcel {key} left under the number {value}.", "Under what number did parcel {key} leave?"),
         ("Whoever asks for {key} is told {value}.", "What is one told who asks for {key}?"),
         ("The seal on {key} reads {value}.", "What does the seal on {key} read?"),
         ("In the ledger, {key} stands beside {value}.", "What stands beside {key} in the ledger?")]
CHAINS = [("Let {a} be {value}.", "{b} takes what {a} has.", "Which names have {value}?"),
          ("{a} was given {value}.", "{b} was given the same as {a}.", "Who was given {value}?"),
          ("Put {value} into {a}.", "Copy {a} into {b}.", "Where does one find {value}?")]
COUNTS = ["Which {n} words stand most often in the list?", "Name the {n} words that are repeated most.",
          "Of the words above, which {n} come up more than any other?"]
NOISE = ["The rain had stopped before noon.", "Nobody came along the road.", "A lamp burned in the window.",
         "The kettle was put on again.", "Outside, the wind turned.", "Somebody shut the gate."]
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def choose(rng, wordings, evaluation):
    return wordings[-1] if evaluation else rng.choice(wordings[:-1])


class Conversations:
    """One long context, then questions; of each the answer's tokens are what is learnt."""
    def __init__(self, bpe, texts):
        self.bpe, self.texts = bpe, texts
        self.words = {part: Words(part) for part in (False, True)}

    def encode(self, text):
        return self.bpe.encode(text, add_special_tokens=False).ids

    def value(self, rng, evaluation):
        kind = rng.random()
        if kind < 0.6:
            return str(rng.randrange(10 ** rng.randint(3, 7)))
        if kind < 0.8:
            return "-".join("".join(rng.choices("0123456789abcdef", k=n)) for n in (8, 4, 4))
        return self.words[evaluation].some(rng, 1)[0]

    def facts(self, rng, evaluation, room):
        fact, question = choose(rng, FACTS, evaluation)
        keys = self.words[evaluation].some(rng, round(2 ** rng.uniform(0, min(6, math.log2(room / 80)))))
        keys = ["-".join([key, *self.words[evaluation].some(rng, 1)]) if rng.random() < 0.2 else key for key in keys]
        values = {key: [self.value(rng, evaluation) for _ in range(rng.choice([1, 1, 1, 1, 2, 4]))] for key in keys}
        sentences = [fact.format(key=key, value=value) for key in keys for value in values[key]]
        rng.shuffle(sentences)
        asked = rng.sample(keys, min(len(keys), 16 if evaluation else 32))
        rounds, whole = [], rng.random() < 0.3  # an answer may be the whole sentence
        while asked:  # sometimes several keys in one question; values in the order of the context
            count = rng.choice([1, 1, 1, 2, 4])
            some, asked = asked[:count], asked[count:]
            found = [v for key in some
                     for v in sorted(values[key], key=lambda v: sentences.index(fact.format(key=key, value=v)))]
            answer = fact.format(key=some[0], value=found[0]) if whole and len(found) == 1 else ", ".join(found)
            rounds.append((" ".join(question.format(key=key) for key in some), answer))
        return sentences, rounds

    def chains(self, rng, evaluation, room):
        start, step, question = choose(rng, CHAINS, evaluation)
        sentences, rounds = [], []
        names = self.words[evaluation].some(rng, 24)
        for _ in range(rng.randint(1, max(1, min(4, room // 200)))):
            value, hops = str(rng.randrange(10000, 100000)), rng.randint(1, 5)
            chain, names = names[:hops + 1], names[hops + 1:]
            if len(chain) < 2:
                break
            own = [start.format(a=chain[0], value=value)] + [step.format(a=a, b=b) for a, b in zip(chain, chain[1:])]
            sentences += zip(sorted(rng.random() for _ in own), own)  # in order, among the others
            rounds.append((question.format(value=value), ", ".join(chain)))
        return [text for _, text in sorted(sentences)], rounds

    def counts(self, rng, evaluation, room):
        n, seldom = rng.randint(1, 8), rng.randint(1, 3)
        often, items = rng.randint(seldom + 3, 30), room // 4  # about 4 tokens a word
        words = self.words[evaluation].some(rng, n + min(len(self.words[evaluation].list) - n,
                                                         max(8, (items - n * often) // seldom)))
        listed = words[:n] * often + words[n:] * seldom
        rng.shuffle(listed)
        found = sorted(words[:n], key=listed.index)  # in the order of the list, so that there is one answer
        return " ".join(listed), [(choose(rng, COUNTS, evaluation).format(n=n), ", ".join(found))]

    def make(self, rng, length, evaluation=False, kind=None):
        """(ids, weights) of `length` tokens at most: 1 for each of an answer's, 0 for the rest (a weight of 0.05 let long
        contexts drown their answers: nothing was retrieved)."""
        kind = kind or rng.choices(["facts", "chains", "counts"], [6, 2, 2])[0]
        if kind == "counts":
            context, rounds = self.counts(rng, evaluation, length - 200)
            context = self.encode(context)[:length - 200]
        else:
            sentences, rounds = getattr(self, kind)(rng, evaluation, length - 200)
            pieces = [self.encode(" " + sentence) for sentence in sentences]
            tail = sum(len(self.encode(q + a)) + 12 for q, a in rounds) + 60
            room = length - tail - sum(map(len, pieces))
            if rng.random() < 0.3:
                hay = []
                while len(hay) < room:
                    hay += self.encode(" " + rng.choice(NOISE))
            else:
                hay = self.texts.piece(rng, max(0, room), evaluation)
            hay = hay[:max(0, room)]
            cuts = sorted(rng.randrange(len(hay) + 1) for _ in pieces)
            context, done = [], 0
            for cut, piece in zip(cuts, pieces):
                context += hay[done:cut] + piece
                done = cut
            context += hay[done:]
        ids = self.encode(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n") + context
        weights = [0.0] * len(ids)
        for i, (question, answer) in enumerate(rounds):
            start = "\n\n" if i == 0 else "<|im_start|>user\n"
            ask = self.encode(f"{start}{question}<|im_end|>\n<|im_start|>assistant\n")
            tell = self.encode(f"{answer}<|im_end|>")
            ids += ask + tell + self.encode("\n")
            weights += [0.0] * len(ask) + [1.0] * len(tell) + [0.0]
        return ids[:length], weights[:length]


TOPICS = """bread, bicycles, the moon, earthquakes, chess, photosynthesis, rivers, coffee, dictionaries, glaciers, honey bees,
lighthouses, magnets, maps, memory, mountains, music, the ocean, oxygen, paper, planets, railways, rain, salt, shadows, sleep,
soap, sound, steel, the sun, tea, telescopes, tides, trees, vaccines, volcanoes, wheat, whales, windmills, wool, yeast, debt,
elections, friendship, gardening, insurance, libraries, patience, recipes, running""".replace("\n", " ").split(", ")
REQUESTS = ["Explain {t} in three sentences.", "What should a child know about {t}?", "Write a short poem about {t}.",
            "List five facts about {t}.", "Why are people interested in {t}?", "Tell me a short story in which {t} matter.",
            "How would you begin a lecture on {t}?", "Give me two questions about {t}, and answer them."]


@torch.no_grad()
def chats(base, bpe, device, tokens=96, topics=TOPICS):
    """What the base itself answers, token by token its likeliest: {held out or not: [ids]}. Requests of one length go
    together; those of the four commonest lengths are made."""
    groups, made = {}, {False: [], True: []}
    for text in (request.format(t=topic) for topic in topics for request in REQUESTS):
        ids = bpe.encode(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n"
                         "<|im_start|>assistant\n", add_special_tokens=False).ids
        groups.setdefault(len(ids), []).append((held_out(text), ids))
    for group in sorted(groups.values(), key=len)[-4:]:
        cache, new = transformers.DynamicCache(), torch.tensor([ids for _, ids in group], device=device)
        answers = [new]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            for _ in range(tokens):
                hidden = base.model(input_ids=new, past_key_values=cache, use_cache=True)
                new = base.lm_head(hidden.last_hidden_state[:, -1:]).argmax(-1)
                answers.append(new)
        for (part, prompt), ids in zip(group, torch.cat(answers, 1).tolist()):
            ends = [i for i in range(len(prompt), len(ids)) if ids[i] == 2]
            made[part].append(ids[:ends[0] + 1] if ends else ids)
    return made


# --- training ---

def weighted_loss(decoder, ids, weights, chunk=4096):
    """Mean over the weights of -log p(next); logits of a few thousand rows at a time, of those that weigh something."""
    hidden = decoder.hidden_states(ids)[:, :-1].flatten(0, 1)
    targets, weights = ids[:, 1:].flatten(), weights[:, 1:].flatten()
    rows = weights.nonzero().flatten()
    hidden, targets, weights = hidden[rows], targets[rows], weights[rows]

    def part(rows, wanted, by):
        return (F.cross_entropy(decoder.logits(rows), wanted, reduction="none") * by).sum()

    total = sum(checkpoint(part, hidden[i:i + chunk], targets[i:i + chunk], weights[i:i + chunk], use_reentrant=False)
                for i in range(0, hidden.shape[0], chunk))
    return total / weights.sum().clamp_min(1e-6)


def kept_loss(decoder, base, ids):
    """KL(base || model), nats a token."""
    hidden = decoder.hidden_states(ids).flatten(0, 1)
    with torch.no_grad():
        theirs = base.hidden_states(ids).flatten(0, 1)

    def part(rows, their_rows):
        wanted = F.log_softmax(base.logits(their_rows), -1)
        return F.kl_div(F.log_softmax(decoder.logits(rows), -1), wanted, log_target=True, reduction="sum")

    return sum(checkpoint(part, hidden[i:i + 4096], theirs[i:i + 4096], use_reentrant=False)
               for i in range(0, hidden.shape[0], 4096)) / hidden.shape[0]


def mean_nll(decoder, pieces):
    losses = [weighted_loss(decoder, ids, torch.ones(ids.shape, device=ids.device)).item() for ids in pieces]
    return sum(losses) / len(losses)


@torch.no_grad()
def figures(decoder, base, texts, talks, led, options, device):
    """On what was held out: NLL of text by length, that of prose and the base's at 2K, KL to the base along its own
    answers, and the share of answers whose every token is the likeliest."""
    rng, found = random.Random(20261130), {}
    found["kl_chats"] = float(sum(kept_loss(decoder, base, torch.tensor([ids], device=device))
                                  for ids in led[True]) / max(1, len(led[True])))
    if len(texts.prose):
        pieces = [torch.tensor([texts.piece(rng, 2048, prose=True)], device=device) for _ in range(4 * options.samples)]
        found["nll_prose"], found["nll_prose_base"] = mean_nll(decoder, pieces), mean_nll(base, pieces)
    for length in options.lengths:
        pieces = [torch.tensor([texts.piece(rng, length, True)], device=device) for _ in range(options.samples)]
        found[f"nll_{length}"] = mean_nll(decoder, pieces)
        if length == options.lengths[0]:
            found[f"nll_{length}_base"] = mean_nll(base, pieces)
        for kind in ("facts", "chains", "counts"):
            right = total = 0
            for _ in range(options.samples):
                ids, weights = talks.make(rng, length, True, kind)
                ids, spans = torch.tensor([ids], device=device), torch.tensor(weights, device=device).nonzero().flatten()
                if not len(spans):
                    continue
                hits = decoder.logits(decoder.hidden_states(ids)[0, spans - 1]).argmax(-1) == ids[0, spans]
                breaks = ((spans[1:] - spans[:-1]) > 1).nonzero().flatten().tolist()
                answers = zip([0] + [i + 1 for i in breaks], [i + 1 for i in breaks] + [len(spans)])
                for a, b in answers:
                    right, total = right + bool(hits[a:b].all()), total + 1
            found[f"{kind}_{length}"] = round(right / max(1, total), 4)
    return found


def make_batch(seed, done, texts, talks, options):
    """(kind, ids, weights) of a step; longer sequences later, all of a batch as long. Passages that come again teach most
    of the looking back at first."""
    rng = random.Random(seed)
    kind = rng.choices(["talk", "text", "echo", "keep", "chat"],
                       [1, 0.6, max(0.1, 0.6 - done), options.keep, options.keep])[0]
    if kind == "chat":
        return kind, None, None
    most = 1 if kind == "keep" else math.ceil(len(options.lengths) * min(1, 0.3 + 1.2 * done))
    length = rng.choice(options.lengths[:most])
    count = max(1, options.tokens // length // (4 if kind == "keep" else 1))
    ids, weights = torch.zeros(count, length, dtype=torch.long), torch.zeros(count, length)
    for i in range(count):
        row, by = talks.make(rng, length) if kind == "talk" else \
            texts.echo(rng, length) if kind == "echo" else (texts.piece(rng, length), [1.0] * length)
        ids[i, :len(row)], weights[i, :len(row)] = torch.tensor(row), torch.tensor(by)
    return kind, ids, weights


def share_batches(*args):  # of each process that makes batches
    global make_shared
    torch.set_num_threads(1)
    make_shared = lambda seed, done: make_batch(seed, done, *args)  # noqa: E731


def batch_of(seed, done):
    return make_shared(seed, done)


def write_adapter(tuned, kinds, options):
    options.out.mkdir(parents=True, exist_ok=True)
    tuned.save_pretrained(options.out, save_embedding_layers=False)
    (options.out / "README.md").unlink(missing_ok=True)
    file = options.out / "adapter_model.safetensors"
    save_file({name: tensor.to(torch.bfloat16).contiguous().cpu() for name, tensor in load_file(file).items()}, file)
    config = json.loads((options.out / "adapter_config.json").read_text())
    config |= {"base_model_name_or_path": BASE.stem, "target_modules": sorted(config["target_modules"])}
    (options.out / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    change = {"format": 1, "base_sha256": hashlib.sha256(options.gguf.read_bytes()).hexdigest(),
              "base_name": options.gguf.name, "name": NAME + ("-tiny" if options.tiny else ""),
              "layer_kinds": kinds, "window": WINDOW, "rope_base": ROPE_BASE, "context": CONTEXT}
    (options.out / "headroom_adapter.json").write_text(json.dumps(change, indent=1) + "\n")


def train(options):
    began = time.monotonic()
    torch.manual_seed(options.seed)
    meta, weights = read_gguf(options.gguf)
    bpe = make_tokenizer(meta)
    texts = Texts(options.text, options.prose or [], bpe, options.text_bytes)
    talks = Conversations(bpe, texts)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    pool = concurrent.futures.ProcessPoolExecutor(options.makers, multiprocessing.get_context("fork"), share_batches,
                                                  (texts, talks, options))
    ready = collections.deque(pool.submit(batch_of, options.seed * 1_000_003 + i, 0.0) for i in range(2 * options.makers))
    ready[-1].result()  # all processes are there before a GPU is touched
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model, kinds = make_model(meta, weights, True)
    base_model, _ = make_model(meta, weights, False)
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=options.rank, lora_alpha=2 * options.rank, lora_dropout=0.0,
                                                       target_modules=MODULES, task_type="CAUSAL_LM")).to(device)
    base_model.to(device)
    decoder, base = Decoder(tuned, dtype), Decoder(base_model, dtype)
    base.kinds = [None] * len(kinds)
    off = check_decoder(decoder, tuned, device)
    led = chats(base_model, bpe, device, *((8, TOPICS[:8]) if options.tiny else ()))
    learnt = [p for p in tuned.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=options.lr, betas=(0.9, 0.95), weight_decay=0.0)
    options.out.mkdir(parents=True, exist_ok=True)
    log = (options.out / "log.jsonl").open("w")

    def say(**entry):
        line = json.dumps(entry)
        log.write(line + "\n")
        log.flush()
        print(line, flush=True)

    said = {k: v for k, v in vars(options).items() if k not in ("out", "gguf", "text", "prose", "run")}  # no paths
    say(options=said, parameters=sum(p.numel() for p in learnt), torch=torch.__version__, peft=peft.__version__,
        transformers=transformers.__version__, files_trained_on=texts.files[False], files_held_out=texts.files[True],
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu", off_from_peft=round(off, 6),
        chats=len(led[False]), preparing_seconds=round(time.monotonic() - began, 1))
    rng, began, seen, saved, losses = random.Random(options.seed), time.monotonic(), 0, time.monotonic(), {}
    for step in range(options.steps):
        done = max(step / options.steps, (time.monotonic() - began) / (60 * options.minutes))
        if done >= 1:
            break
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / options.warmup)
            group["lr"] = options.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        kind, ids, by = ready.popleft().result()
        ready.append(pool.submit(batch_of, options.seed * 1_000_003 + step + 2 * options.makers, done))
        if kind == "chat":
            rows = rng.sample(led[False], min(48, len(led[False])))
            ids = torch.tensor([row[:min(map(len, rows))] for row in rows])
        ids = ids.to(device)
        loss = 2 * kept_loss(decoder, base, ids) if kind in ("keep", "chat") else \
            weighted_loss(decoder, ids, by.to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen += ids.numel()
        losses.setdefault(f"{kind}_{ids.shape[1]}" if kind != "chat" else kind, []).append(loss.detach())
        if step % options.log_every == 0:
            say(step=step, tokens=seen, seconds=round(time.monotonic() - began, 1),
                losses={kind: round(float(torch.stack(some).mean()), 3) for kind, some in sorted(losses.items())})
            losses = {}
        if time.monotonic() - saved > 120:  # what there is if the machine goes
            write_adapter(tuned, kinds, options)
            saved = time.monotonic()
    pool.shutdown(cancel_futures=True)
    write_adapter(tuned, kinds, options)
    say(trained_seconds=round(time.monotonic() - began, 1), steps=step, tokens=seen,
        held_out={k: round(v, 4) for k, v in figures(decoder, base, texts, talks, led, options, device).items()})


def logits(options):
    """Of base and adapter in fp32, as saved: the adapter's bf16 values, its factors applied unmerged."""
    meta, weights = read_gguf(options.gguf)
    model, _ = make_model(meta, weights, True)
    tuned = peft.PeftModel.from_pretrained(model, options.out).float().eval()
    ids = torch.tensor([json.loads(options.ids.read_text())])
    with torch.no_grad():
        save_file({"logits": tuned(input_ids=ids, use_cache=False).logits[0].contiguous()}, options.to)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("train", train), ("logits", logits)):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--gguf", type=pathlib.Path, default=BASE)
        command.add_argument("--out", type=pathlib.Path, default=HERE, help="folder of the adapter")
        if name == "logits":
            command.add_argument("--ids", type=pathlib.Path, required=True)
            command.add_argument("--to", type=pathlib.Path, required=True)
            continue
        command.add_argument("--text", nargs="*", default=[str(pathlib.Path(os.__file__).parent)])
        command.add_argument("--prose", nargs="*", help="of the text's folders, those of prose: a figure of their own")
        command.add_argument("--text-bytes", type=int, default=60_000_000)
        command.add_argument("--minutes", type=float, default=15)
        command.add_argument("--steps", type=int, default=100_000, help="whichever of the two ends first")
        command.add_argument("--tokens", type=int, default=32768, help="of a step")
        command.add_argument("--lengths", type=int, nargs="*", default=[2048, 4096, 8192, 16384, 32768])
        command.add_argument("--keep", type=float, default=0.15, help="steps held to the base, to one of another kind")
        command.add_argument("--rank", type=int, default=32)
        command.add_argument("--lr", type=float, default=1.5e-3)
        command.add_argument("--warmup", type=int, default=50)
        command.add_argument("--samples", type=int, default=16, help="of each figure")
        command.add_argument("--log-every", type=int, default=50)
        command.add_argument("--makers", type=int, default=4, help="processes that make batches")
        command.add_argument("--seed", type=int, default=7)
        command.add_argument("--tiny", action="store_true", help="see that everything works: minutes on a CPU")
    options = parser.parse_args()
    if getattr(options, "tiny", False):
        options.lengths, options.tokens, options.steps, options.samples = [576, 640], 640, 4, 1
        options.rank, options.log_every, options.text_bytes = 4, 1, 2_000_000
        if options.out == HERE:
            options.out = pathlib.Path("tiny-adapter")
    options.run(options)


if __name__ == "__main__":
    main()
