# SPDX-License-Identifier: Apache-2.0
"""Keys in the union of neighbouring queries' supports over the keys of one query, from the supports that a record keeps:
union_factors.py RUN.h5 [METHOD …] [--neighbours 8,16,32,64,128] [--blocks 256]

What a kernel that gathers keys once for a block of queries has to read (docs/kernels-cuda.md). Blocks are drawn evenly
from those whose first query has more history than two budgets."""
import argparse
import re

import h5py
import numpy as np


class Supports:
    """Keys of one query, from bitmaps or lists (docs/record.md)."""

    def __init__(self, group):
        self.bits = None
        if isinstance(group, h5py.Dataset):
            self.bits = group if group.ndim == 2 else None
            if self.bits is None:
                raise ValueError("supports that differ by head have a union for each of them")
            self.length = group.shape[0]
        else:
            self.rows = group["rows"][0]
            self.keys = group["keys"]
            self.length = len(self.rows) - 1

    def of(self, first, count):
        """[count] arrays of keys."""
        if self.bits is not None:
            bits = np.unpackbits(self.bits[first:first + count], axis=1, bitorder="little")
            return [np.flatnonzero(row) for row in bits]
        places = self.rows[first:first + count + 1]
        keys = self.keys[places[0]:places[-1]]
        return np.split(keys, places[1:-1] - places[0])


def factor(supports, neighbours, blocks):
    budget = max(len(keys) for keys in supports.of(supports.length - 8, 8))
    first = -(-2 * budget // neighbours)
    last = supports.length // neighbours
    if last <= first:
        return float("nan")
    chosen = np.unique(np.linspace(first, last - 1, min(blocks, last - first)).astype(int))
    union, single = 0, 0.0
    for block in chosen:
        rows = supports.of(block * neighbours, neighbours)
        union += len(np.unique(np.concatenate(rows)))
        single += sum(map(len, rows)) / neighbours
    return union / single


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("record")
    parser.add_argument("methods", nargs="*")
    parser.add_argument("--neighbours", default="8,16,32,64,128")
    parser.add_argument("--blocks", type=int, default=256)
    options = parser.parse_args()
    neighbours = [int(n) for n in options.neighbours.split(",")]
    found = {}
    with h5py.File(options.record) as record:
        def note(name):
            match = re.fullmatch(r"(?:.*/)?([^/]+)/layers/(\d+)/supports/support", name)
            if match and (not options.methods or match[1] in options.methods):
                found[match[1], int(match[2])] = name
        record.visit(note)
        by_method = {}
        print(f"{'method':24}{'layer':>6}" + "".join(f"{n:>8}" for n in neighbours))
        for (method, layer), name in sorted(found.items()):
            supports = Supports(record[name])
            factors = [factor(supports, n, options.blocks) for n in neighbours]
            by_method.setdefault(method, []).append(factors)
            print(f"{method:24}{layer:>6}" + "".join(f"{value:>8.2f}" for value in factors), flush=True)
        for method, rows in by_method.items():
            print(f"{method:24}{'mean':>6}" + "".join(f"{value:>8.2f}" for value in np.mean(rows, axis=0)))


if __name__ == "__main__":
    main()
