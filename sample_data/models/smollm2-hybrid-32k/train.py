#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the model smollm2-hybrid-32k: SmolLM2-135M-Instruct with full attention in every fourth layer (3, 7, …, 27),
windows of 512 tokens in the others, RoPE base 1e6 and 32,768 tokens of context, by a LoRA adapter of rank 32. One GPU,
half an hour at most; needs torch, transformers, peft, gguf and tokenizers.

  make_text.py FOLDER                              the text that it learns from besides Python's own library
  train.py train --text FOLDER [--minutes 25]      writes adapter_config.json, adapter_model.safetensors (bf16),
                                                   headroom_adapter.json and log.jsonl beside this file (or into --out)
  train.py logits --ids F.json --to F.safetensors  what transformers and peft compute from base and adapter in fp32:
                                                   compare with `headroom logits smollm2-hybrid-32k --ids F.json …`
  train.py train --tiny                            a few steps on a CPU, to see that everything works

What it learns from: half of the steps are conversations about one long context with several questions (keys with one or
several values, values that pass from name to name, most frequent words), half are plain text of the folders named. So
that the base's own abilities stay, some steps are short text, or conversations that the base itself has led, whose
predictions are held to the base's (KL). Files, words and requests are split by a hash, one in eight is never trained on
and serves the figures in the log; so does one wording of each kind. Neither wordings nor words are those of Headroom's tasks."""
import argparse
import hashlib
import json
import math
import os
import pathlib
import random
import time

import gguf
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
ATTENTION = {"full_attention": None, "sliding_attention": None}  # masks are made in attend()


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
    config._attn_implementation = "headroom_bands"
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


def attend(module, query, key, value, attention_mask, scaling, dropout=0.0, sliding_window=None, **_):
    """Causal attention; with a window of W each block of W queries sees its own block of keys and the one before. A
    query sees the W keys that end with its own."""
    length, repeat = query.shape[2], query.shape[1] // key.shape[1]
    if length == 1:  # one more token of a chat sees everything before it (the base alone decodes: it has no windows)
        out = F.scaled_dot_product_attention(query, key, value, scale=scaling, enable_gqa=True)
        return out.transpose(1, 2), None
    key, value = key.repeat_interleave(repeat, 1), value.repeat_interleave(repeat, 1)
    if sliding_window is None or length <= sliding_window:
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
        return out.transpose(1, 2), None
    w, batch, heads = sliding_window, query.shape[0], query.shape[1]
    blocks = -(-length // w)
    query, key, value = (F.pad(x, (0, 0, 0, blocks * w - length)).unflatten(2, (blocks, w))
                         for x in (query, key, value))

    def with_previous(x):
        return torch.cat([F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :-1], x], 3).transpose(1, 2).flatten(0, 1)

    i, j = torch.arange(w, device=query.device)[:, None], torch.arange(2 * w, device=query.device)[None]
    band = (j > i) & (j <= i + w)  # key j of the two blocks lies w + i - j positions before query i
    allowed = band.expand(blocks, w, 2 * w).clone()
    allowed[0, :, :w] = False  # nothing comes before the first block
    allowed = allowed.repeat(batch, 1, 1)[:, None]
    out = F.scaled_dot_product_attention(query.transpose(1, 2).flatten(0, 1), with_previous(key), with_previous(value),
                                         attn_mask=allowed, scale=scaling)
    out = out.unflatten(0, (batch, blocks)).transpose(1, 2).flatten(2, 3)[:, :, :length]
    return out.transpose(1, 2), None


transformers.AttentionInterface.register("headroom_bands", attend)


def check_attention():
    """attend() against a plain mask of the same meaning."""
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 37, 8), torch.randn(2, 2, 37, 8), torch.randn(2, 2, 37, 8)
    for window in (None, 5, 16, 64):
        t, s = torch.arange(37)[:, None], torch.arange(37)[None]
        allowed = (s <= t) & (t - s < (window or 37))
        plain = F.scaled_dot_product_attention(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1),
                                               attn_mask=allowed, scale=0.3).transpose(1, 2)
        found = attend(None, q, k, v, None, 0.3, sliding_window=window)[0]
        assert (found - plain).abs().max() < 1e-5, window


# --- what it learns from ---

def held_out(text):
    """One in eight, whatever the machine and the order."""
    return hashlib.sha256(text.encode()).digest()[0] % 8 == 0


class Texts:
    """Plain text of files, as one list of token ids for each part of the split; that of held-out prose once more."""
    def __init__(self, folders, prose, bpe, most_bytes):
        self.ids, self.prose = {False: [], True: []}, []
        prose = [pathlib.Path(folder) for folder in prose]
        files = sorted(f for folder in folders for f in pathlib.Path(folder).rglob("*")
                       if f.suffix in {".txt", ".rst", ".md", ".py", ".c", ".h", ".cpp", ".tex"} and f.is_file())
        random.Random(1).shuffle(files)
        taken, self.files = 0, {False: 0, True: 0}
        for file in files:
            text = file.read_bytes()[:1_000_000].decode("utf-8", "ignore")
            if len(text) < 2000 or taken > most_bytes:
                continue
            part = held_out(text)
            taken += len(text)
            self.files[part] += 1
            ids = bpe.encode(text, add_special_tokens=False).ids + [0]  # 0: <|endoftext|>
            self.ids[part] += ids
            if part and any(folder in file.parents for folder in prose):
                self.prose += ids
        assert min(len(ids) for ids in self.ids.values()) > 4096, "--text: there is too little text to learn from"

    def piece(self, rng, length, evaluation=False, prose=False):
        ids = self.prose if prose else self.ids[evaluation]
        return ids[(start := rng.randrange(max(1, len(ids) - length))):start + length]


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
FACTS = [("The cabinet of {key} opens with {value}.", "What opens the cabinet of {key}?"),
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
        keys = self.words[evaluation].some(rng, round(2 ** rng.uniform(0, min(5.6, math.log2(room / 80)))))
        values = {key: [self.value(rng, evaluation) for _ in range(rng.choice([1, 1, 1, 2, 4]))] for key in keys}
        sentences = [fact.format(key=key, value=value) for key in keys for value in values[key]]
        rng.shuffle(sentences)
        asked = rng.sample(keys, min(len(keys), rng.choice([1, 2, 4, 8, 16])))
        rounds = []
        while asked:  # sometimes several keys in one question; values in the order of the context
            count = rng.choice([1, 1, 1, 2, 4])
            some, asked = asked[:count], asked[count:]
            found = [v for key in some
                     for v in sorted(values[key], key=lambda v: sentences.index(fact.format(key=key, value=v)))]
            rounds.append((" ".join(question.format(key=key) for key in some), ", ".join(found)))
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
        """(ids, weights) of `length` tokens at most: those of the answers add up to 1, those of the rest to 0.05, however
        long the context is (a weight of 0.05 a token let long contexts drown their answers: nothing was retrieved)."""
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
        ids, weights = ids[:length], weights[:length]
        told = max(1, sum(w == 1 for w in weights))
        return ids, [1 / told if w == 1 else 0.05 / max(1, len(ids) - told) for w in weights]


TOPICS = """bread, bicycles, the moon, earthquakes, chess, photosynthesis, rivers, coffee, dictionaries, glaciers, honey bees,
lighthouses, magnets, maps, memory, mountains, music, the ocean, oxygen, paper, planets, railways, rain, salt, shadows, sleep,
soap, sound, steel, the sun, tea, telescopes, tides, trees, vaccines, volcanoes, wheat, whales, windmills, wool, yeast, debt,
elections, friendship, gardening, insurance, libraries, patience, recipes, running""".replace("\n", " ").split(", ")
REQUESTS = ["Explain {t} in three sentences.", "What should a child know about {t}?", "Write a short poem about {t}.",
            "List five facts about {t}.", "Why are people interested in {t}?", "Tell me a short story in which {t} matter.",
            "How would you begin a lecture on {t}?", "Give me two questions about {t}, and answer them."]


@torch.no_grad()
def chats(base, bpe, device, tokens=128, topics=TOPICS):
    """What the base itself answers, token by token its likeliest: {held out or not: [ids]}. Requests of one length go
    together; those of the six commonest lengths are made."""
    groups, made = {}, {False: [], True: []}
    for text in (request.format(t=topic) for topic in topics for request in REQUESTS):
        ids = bpe.encode(f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n"
                         "<|im_start|>assistant\n", add_special_tokens=False).ids
        groups.setdefault(len(ids), []).append((held_out(text), ids))
    for group in sorted(groups.values(), key=len)[-6:]:
        cache, new = transformers.DynamicCache(), torch.tensor([ids for _, ids in group], device=device)
        answers = [new]
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            for _ in range(tokens):
                hidden = base.model(input_ids=new, attention_mask=ATTENTION, past_key_values=cache, use_cache=True)
                new = base.lm_head(hidden.last_hidden_state[:, -1:]).argmax(-1)
                answers.append(new)
        for (part, prompt), ids in zip(group, torch.cat(answers, 1).tolist()):
            ends = [i for i in range(len(prompt), len(ids)) if ids[i] == 2]
            made[part].append(ids[:ends[0] + 1] if ends else ids)
    return made


# --- training ---

def hidden_states(model, ids):
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner.model(input_ids=ids, attention_mask=ATTENTION, use_cache=False).last_hidden_state, inner.lm_head


def weighted_loss(model, ids, weights, chunk=4096):
    """Mean over the weights of -log p(next); logits of a few thousand rows at a time."""
    hidden, head = hidden_states(model, ids)
    hidden, targets, weights = hidden[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), weights[:, 1:].flatten()

    def part(rows, wanted, by):
        return (F.cross_entropy(head(rows).float(), wanted, reduction="none") * by).sum()

    total = sum(checkpoint(part, hidden[i:i + chunk], targets[i:i + chunk], weights[i:i + chunk], use_reentrant=False)
                for i in range(0, hidden.shape[0], chunk))
    return total / weights.sum().clamp_min(1e-6)


def kept_loss(model, base, ids):
    """KL(base || model), nats a token."""
    hidden, head = hidden_states(model, ids)
    with torch.no_grad():
        theirs, their_head = hidden_states(base, ids)
    total = 0
    for row, their_row in zip(hidden, theirs):
        with torch.no_grad():
            wanted = F.log_softmax(their_head(their_row).float(), -1)
        total = total + checkpoint(lambda r, w: F.kl_div(F.log_softmax(head(r).float(), -1), w, log_target=True,
                                                         reduction="batchmean"), row, wanted, use_reentrant=False)
    return total / ids.shape[0]


def mean_nll(model, pieces):
    losses = [weighted_loss(model, ids, torch.ones(ids.shape, device=ids.device)).item() for ids in pieces]
    return sum(losses) / len(losses)


@torch.no_grad()
def figures(model, base, texts, talks, led, options, device):
    """On what was held out: NLL of text by length, that of prose and the base's at 2K, KL to the base along its own
    answers, and the share of answers whose every token is the likeliest."""
    rng, found = random.Random(20261130), {}
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        found["kl_chats"] = float(sum(kept_loss(model, base, torch.tensor([ids], device=device))
                                      for ids in led[True]) / max(1, len(led[True])))
        if texts.prose:
            pieces = [torch.tensor([texts.piece(rng, 2048, prose=True)], device=device)
                      for _ in range(4 * options.samples)]
            found["nll_prose"], found["nll_prose_base"] = mean_nll(model, pieces), mean_nll(base, pieces)
        for length in options.lengths:
            pieces = [torch.tensor([texts.piece(rng, length, True)], device=device) for _ in range(options.samples)]
            found[f"nll_{length}"] = mean_nll(model, pieces)
            if length == options.lengths[0]:
                found[f"nll_{length}_base"] = mean_nll(base, pieces)
            for kind in ("facts", "chains", "counts"):
                right = total = 0
                for _ in range(options.samples):
                    ids, weights = talks.make(rng, length, True, kind)
                    ids, mask = torch.tensor([ids], device=device), torch.tensor(weights, device=device)
                    mask = mask == mask.max()
                    hidden, head = hidden_states(model, ids)
                    spans = mask.nonzero().flatten()
                    if not len(spans):
                        continue
                    hits = head(hidden[0, spans - 1]).argmax(-1) == ids[0, spans]
                    ends = torch.cat([(spans[1:] - spans[:-1]) > 1, torch.tensor([True], device=device)])
                    starts = torch.cat([torch.zeros(1, dtype=torch.long, device=device), ends.nonzero().flatten() + 1])
                    for a, b in zip(starts[:-1].tolist(), starts[1:].tolist()):
                        right, total = right + bool(hits[a:b].all()), total + 1
                found[f"{kind}_{length}"] = round(right / max(1, total), 4)
    return found


def make_batch(rng, done, texts, talks, led, options):
    """Longer sequences later; all of a batch are as long (chats are cut to the shortest)."""
    kind = rng.choices(["talk", "text", "keep", "chat"], [1, 1, options.keep, options.keep])[0]
    if kind == "chat":
        rows = rng.sample(led[False], min(32, len(led[False])))
        ids = torch.tensor([row[:min(map(len, rows))] for row in rows])
        return kind, ids, torch.ones(ids.shape)
    most = 1 if kind == "keep" else math.ceil(len(options.lengths) * (0.4 + done))
    length = rng.choice(options.lengths[:most])
    count = max(1, options.tokens // length // (4 if kind == "keep" else 1))
    ids, weights = torch.zeros(count, length, dtype=torch.long), torch.zeros(count, length)
    for i in range(count):
        row, by = talks.make(rng, length) if kind == "talk" else (texts.piece(rng, length), 1.0)
        ids[i, :len(row)], weights[i, :len(row)] = torch.tensor(row), torch.tensor(by)
    return kind, ids, weights


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
    check_attention()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(options.seed)
    meta, weights = read_gguf(options.gguf)
    bpe = make_tokenizer(meta)
    model, kinds = make_model(meta, weights, True)
    base, _ = make_model(meta, weights, False)
    texts = Texts(options.text, options.prose or [], bpe, options.text_bytes)
    talks = Conversations(bpe, texts)
    tuned = peft.get_peft_model(model, peft.LoraConfig(r=options.rank, lora_alpha=2 * options.rank, lora_dropout=0.0,
                                                       target_modules=MODULES, task_type="CAUSAL_LM")).to(device)
    base.to(device)
    led = chats(base, bpe, device, *((8, TOPICS[:8]) if options.tiny else ()))
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    tuned.train()
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
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu")
    rng, began, seen, saved = random.Random(options.seed), time.monotonic(), 0, time.monotonic()
    for step in range(options.steps):
        done = max(step / options.steps, (time.monotonic() - began) / (60 * options.minutes))
        if done >= 1:
            break
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / options.warmup)
            group["lr"] = options.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done)))
        kind, ids, by = make_batch(rng, done, texts, talks, led, options)
        ids, by = ids.to(device), by.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = 2 * kept_loss(tuned, base, ids) if kind in ("keep", "chat") else weighted_loss(tuned, ids, by)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seen += ids.numel()
        if step % options.log_every == 0:
            say(step=step, kind=kind, length=ids.shape[1], loss=round(loss.item(), 4), norm=round(norm.item(), 3),
                tokens=seen, seconds=round(time.monotonic() - began, 1))
        if time.monotonic() - saved > 120:  # what there is if the machine goes
            write_adapter(tuned, kinds, options)
            saved = time.monotonic()
    tuned.eval()
    write_adapter(tuned, kinds, options)
    say(trained_seconds=round(time.monotonic() - began, 1), tokens=seen,
        held_out={k: round(v, 4) for k, v in figures(tuned, base, texts, talks, led, options, device).items()})


def logits(options):
    """Of base and adapter in fp32, as saved: the adapter's bf16 values, its factors applied unmerged."""
    meta, weights = read_gguf(options.gguf)
    model, _ = make_model(meta, weights, True)
    tuned = peft.PeftModel.from_pretrained(model, options.out).float().eval()
    ids = torch.tensor([json.loads(options.ids.read_text())])
    with torch.no_grad():
        hidden, head = hidden_states(tuned, ids)
        save_file({"logits": torch.cat([head(rows) for rows in hidden[0].split(256)]).contiguous()}, options.to)


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
        command.add_argument("--minutes", type=float, default=25)
        command.add_argument("--steps", type=int, default=100_000, help="whichever of the two ends first")
        command.add_argument("--tokens", type=int, default=32768, help="of a step")
        command.add_argument("--lengths", type=int, nargs="*", default=[2048, 4096, 8192, 16384, 32768])
        command.add_argument("--keep", type=float, default=0.15, help="steps held to the base, to one of another kind")
        command.add_argument("--rank", type=int, default=32)
        command.add_argument("--lr", type=float, default=2e-3)
        command.add_argument("--warmup", type=int, default=50)
        command.add_argument("--samples", type=int, default=16, help="of each figure")
        command.add_argument("--log-every", type=int, default=20)
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
