# SPDX-License-Identifier: Apache-2.0
# check_record.py RECORD.h5 [rows]: reads a run record with h5py alone, as docs/record.md describes it, and recomputes
# in fp64 what the program says of it: rows sum to 1, supports of the oracle are the keys with the most mass, captured
# mass and recall, marginals, thumbnails, checksums. Exit 0 and a summary, or 1 and what differs. Runs the example of
# docs/record.md, too, where --example DOCS is given.
import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile

import h5py
import numpy as np

STORED = 1e-4  # sums and captured mass, as promised
TIE = 1e-5  # keys whose masses differ by less may stand for each other
OWN_KEY = {"sinks": 0, "local": 1}  # what a target always holds
problems = []


def check(condition, what):
    if not condition:
        problems.append(what)


def text_of(dataset):
    return bytes(dataset[()]).decode("utf-8")


def no_bad_types(file):
    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            check(item.dtype.kind in "fiu", f"{name}: type {item.dtype}")
            check(item.external is None and not item.is_virtual, f"{name}: data elsewhere")
            if item.size:
                check(item.fletcher32, f"{name}: no fletcher32")

    file.visititems(visit)


def probabilities(stream, rows):
    """p [Hq, rows, L] in fp64, zero above the diagonal."""
    scale, first = float(stream.attrs["scale"]), int(stream.attrs["query_begin"])
    q, k = stream["q"][()].astype(np.float64), stream["k"][()].astype(np.float64)
    lse = stream["lse"][()].astype(np.float64)
    heads, length = len(q), k.shape[1]
    check(q.shape[1] == length - first and lse.shape == q.shape[:2], "stream: shapes")
    k = np.repeat(k, heads // len(k), axis=0)
    scores = scale * np.einsum("hrd,hsd->hrs", q[:, rows - first], k)
    hidden = np.arange(length)[None, :] > rows[:, None]
    scores[:, hidden] = -np.inf
    own = np.log(np.exp(scores - scores.max(-1, keepdims=True)).sum(-1)) + scores.max(-1)
    check(np.abs(own - lse[:, rows - first]).max() < STORED, "stream: lse is not that of its q and k")
    return np.exp(scores - lse[:, rows - first][..., None])


def same_but_for_ties(kept, mass, k, spec, where):
    """`kept` [L] bool holds the forced keys and, of the others, those with the most of mass [t + 1]; k in all."""
    history = len(mass)
    count = min(k, history)
    check(kept.sum() == count and not kept[history:].any(), f"{where}: {kept.sum()} keys kept, not {count}")
    if count == history:
        return
    order = np.arange(history)
    # Unset in the specification: no sinks, the own position alone.
    forced = (order < spec.get("sinks", 0)) | (order >= history - spec.get("local", 1))
    best = np.argsort(-np.where(forced, np.inf, mass), kind="stable")[:count]
    border = mass[best[-1]]
    differing = np.setxor1d(best, np.flatnonzero(kept))
    check(all(abs(mass[s] - border) <= TIE * border for s in differing), f"{where}: other keys than those with most mass")


def check_layer(group, layer, summary, captured, recalls, rows, length, spec):
    where = f"{summary['id']}, layer {layer}"
    stream = group["stream"]
    rows = rows[rows >= int(stream.attrs["query_begin"])]
    p = probabilities(stream, rows)
    check(np.abs(p.sum(-1) - 1).max() < STORED, f"{where}: rows do not sum to 1")
    mass = p.mean(0)
    whole = len(rows) == length
    if whole:
        received = np.concatenate([p.sum(1), mass.sum(0)[None]]) / (length - np.arange(length))
        check(np.abs(received - group["mass_received"][()]).max() < STORED, f"{where}: mass received")
    if whole and "thumbnails" in group:
        thumbnails = group["thumbnails"]
        cell, size = int(thumbnails.attrs["cell"]), thumbnails["max"].shape[1]
        full = np.zeros((len(p) + 1, size * cell, size * cell))
        full[:-1, :length, :length], full[-1, :length, :length] = p, mass
        most = full.reshape(len(full), size, cell, size, cell).max((2, 4))
        # 8 bits of mantissa
        check((np.abs(thumbnails["max"][()] - most) <= 2.0**-8 * most + 1e-6).all(), f"{where}: thumbnail of maxima")
    if "supports" not in group:
        return 0
    shared = summary["scope"] == "layer"
    bits = {}  # [groups, L, L]
    for kind in ("support", "target", "wasted"):
        packed = group[f"supports/{kind}"]
        if isinstance(packed, h5py.Group):  # lists of keys
            starts, keys = packed["rows"][()], packed["keys"][()]
            bits[kind] = np.zeros((len(starts), length, length), bool)
            for g, of_group in enumerate(starts):
                for t in range(length):
                    row = keys[of_group[t] : of_group[t + 1]]
                    check((np.diff(row) > 0).all(), f"{where}: {kind}, row {t} ascends")
                    bits[kind][g, t, row] = True
            continue
        raw = packed[()][None] if shared else packed[()]
        for g, one in enumerate(raw):
            stated = packed.attrs["sha256" if shared else f"sha256_{g}"].decode()
            check(hashlib.sha256(one.tobytes()).hexdigest() == stated, f"{where}: checksum of {kind}")
        bits[kind] = np.unpackbits(raw, axis=2, bitorder="little")[:, :, :length].astype(bool)
    groups = {"layer": 1, "kv_head": len(stream["k"]), "q_head": len(p)}[summary["scope"]]
    check(len(bits["support"]) == groups, f"{where}: {len(bits['support'])} supports, not {groups}")
    masses = p.reshape(groups, len(p) // groups, *p.shape[1:]).mean(1)  # of each group's heads
    budget, plain = summary["budget_tokens"], summary["granularity"] == 1
    for i, t in enumerate(rows):
        for g in range(groups) if budget and plain else ():
            row = masses[g, i, : t + 1]
            # The best choice under the same rules: with the forced keys of a method that ranks keys.
            forced = spec if summary["score"] != "none" else OWN_KEY
            same_but_for_ties(bits["target"][g, t], row, budget, forced, f"{where}, row {t}: target")
            if (summary["role"], summary["score"]) == ("reference", "mass"):
                same_but_for_ties(bits["support"][g, t], row, budget, spec, f"{where}, row {t}: support")
    if whole:
        long = rows >= budget if budget else np.ones(length, bool)
        kept = (masses * bits["support"]).sum(2).mean(0)
        check(not bits["support"][:, ~np.tri(length, dtype=bool)].any(), f"{where}: keys behind the query")
        if budget and plain and long.any():
            stated = captured[layer]
            differs = abs(kept[long].mean() - stated)
            check(differs < STORED, f"{where}: captured mass {kept[long].mean():.6f}, the record says {stated:.6f}")
        if budget and len(recalls) and long.any():
            hits = ((bits["support"] & bits["target"]).sum(2) / np.maximum(bits["target"].sum(2), 1)).mean(0)
            stated = recalls[layer]
            check(abs(hits[long].mean() - stated) < STORED, f"{where}: recall {hits[long].mean():.6f}, not {stated:.6f}")
        if budget and not long.any():
            check(np.isnan(captured[layer]), f"{where}: a captured mass of no rows, {captured[layer]:.6f}")
        frequency = bits["support"].sum(1) / (length - np.arange(length))
        stated = group["selection_frequency"][()]
        check(np.abs(frequency - (stated[None] if shared else stated)).max() < STORED, f"{where}: selection frequency")
    return len(rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("record")
    parser.add_argument("--rows", type=int, default=0, help="rows of each layer; 0: all, with what needs all")
    parser.add_argument("--example", help="docs/record.md, whose example is run on the record")
    arguments = parser.parse_args()
    file = h5py.File(arguments.record, "r")
    no_bad_types(file)
    meta = json.loads(text_of(file["/meta/json"]))
    begin, end = file["/tokens/begin"][()], file["/tokens/end"][()]
    length, text = len(begin), bytes(file["/tokens/text"][()])
    text.decode("utf-8")
    check((begin <= end).all() and end.max() <= len(text), "tokens: byte ranges")
    spec = json.loads(meta["spec"]) if isinstance(meta["spec"], str) else meta["spec"]
    rows = np.arange(length)
    if arguments.rows and arguments.rows < length:
        rows = np.unique(np.linspace(0, length - 1, arguments.rows).astype(int))
    layers = supports = 0
    for name in meta["methods"]:
        group = file["/methods"][name]
        summary = json.loads(text_of(group["summary_json"]))
        captured, recalls = group["captured_mass_per_layer"][()], group["oracle_recall_per_layer"][()]
        for layer, kept in group.get("layers", {}).items():
            if "stream" in kept:
                supports += check_layer(kept, int(layer), summary, captured, recalls, rows, length, spec)
                layers += 1
    check(layers > 0, "the record keeps no stream: nothing was checked")
    check(supports > 0 or meta["methods"] == ["dense"], "the record keeps no supports: nothing was checked")
    if arguments.example:
        with open(arguments.example, encoding="utf-8") as page:
            code = re.search(r"```python\n(.*?)```", page.read(), re.DOTALL).group(1)
        with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
            script.write(code)
            script.flush()
            done = subprocess.run([sys.executable, script.name, arguments.record], capture_output=True, text=True)
        check(done.returncode == 0 and meta["model"] in done.stdout, f"the example fails: {done.stderr.strip()}")
    for problem in problems[:20]:
        print(problem)
    print(f"{layers} streams and {supports} rows of supports checked, {len(problems)} differ")
    return 1 if problems else 0


sys.exit(main())
