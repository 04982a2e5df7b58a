# SPDX-License-Identifier: Apache-2.0
"""Checks and times the CUDA kernels alone, through PyTorch's tensors:
cuda_kernels.py libheadroom_cuda.so [check] [PART …]

Parts: top-k, sparse, index, mass; all where none is named. With `check` it stops after the comparison with fp64 (for
compute-sanitizer, say). Supports for timing are drawn so that 16 neighbouring rows share a pool of 2.46 k keys and 32
one of 2.99 k, the unions measured on a trained model at k = 512 (docs/kernels-cuda.md)."""
import ctypes
import math
import statistics
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

P, I64, I32 = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
ROWS, HALF = 32, 16  # of a union, of half of one
WIDE_RATE = {64: 1.3, 128: 1.45, 256: 1.45}  # as wide_rate() in cuda_kernels.h


class UnionParams(ctypes.Structure):
    _fields_ = [("indices", P), ("counts", P), ("row_begin", I64), ("rows", I64), ("width", I64), ("capacity", I64),
                ("half_capacity", I64), ("keys", P), ("members", P), ("sizes", P), ("half_keys", P),
                ("half_members", P), ("half_sizes", P), ("wide_rate", ctypes.c_float)]


class SparseParams(ctypes.Structure):
    _fields_ = ([(name, P) for name in ("q", "k", "v", "out", "lse")] +
                [(tensor + end, I64) for tensor in ("q", "k", "v", "out") for end in ("_head", "_row")] +
                [("length", I64), ("num_q_heads", I32), ("num_kv_heads", I32), ("head_dim", I32),
                 ("scale", ctypes.c_float), ("unions", UnionParams)])


class TopKParams(ctypes.Structure):
    _fields_ = [("scores", P), ("row_stride", I64), ("row_begin", I64), ("rows", I64), ("shared_rows", I64), ("k", I32),
                ("sinks", I32), ("local", I32), ("indices", P), ("counts", P)]


class IndexParams(ctypes.Structure):
    _fields_ = [("q", P), ("k", P), ("q_row", I64), ("k_row", I64), ("dim", I32), ("row_begin", I64), ("rows", I64),
                ("top", I32), ("sinks", I32), ("local", I32), ("workspace", P), ("indices", P), ("counts", P)]


class MassParams(ctypes.Structure):
    _fields_ = [("q", P), ("k", P), ("lse", P), ("mass", P), ("q_head", I64), ("q_row", I64), ("k_head", I64),
                ("k_row", I64), ("lse_head", I64), ("mass_row", I64), ("row_begin", I64), ("rows", I64),
                ("num_q_heads", I32), ("num_kv_heads", I32), ("head_dim", I32), ("scale", ctypes.c_float)]


class BlockSumParams(ctypes.Structure):
    _fields_ = [("scores", P), ("sums", P), ("row_stride", I64), ("row_begin", I64), ("rows", I64),
                ("shared_rows", I64)]


def function(params):
    return ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(params), P)


class KernelTable(ctypes.Structure):
    _fields_ = [("version", I32), ("build_unions", function(UnionParams)), ("sparse_attention", function(SparseParams)),
                ("top_k", function(TopKParams)), ("index_top_k", function(IndexParams)), ("mass", function(MassParams)),
                ("block_sums", function(BlockSumParams))]


def empty(*shape, dtype):
    return torch.empty(*shape, dtype=dtype, device="cuda")


def call(kernel, params):
    failed = kernel(ctypes.byref(params), torch.cuda.current_stream().cuda_stream)
    if failed:
        raise RuntimeError(failed.decode())


def top_k(scores, row_begin, k, sinks=0, local=1, rows=None, shared_rows=1):
    rows = rows or scores.shape[0]
    indices, counts = empty(rows, k, dtype=torch.int32), empty(rows, dtype=torch.int32)
    call(table.top_k, TopKParams(scores.data_ptr(), scores.stride(0), row_begin, rows, shared_rows, k, sinks, local,
                                 indices.data_ptr(), counts.data_ptr()))
    return indices, counts


def padded(entries):
    return (entries + 127) // 128 * 128


def unions_of(indices, counts, wide_rate):
    """Parameters whose outputs are allocated; the tensors stay alive with them."""
    rows, width = indices.shape
    tiles = (rows + ROWS - 1) // ROWS
    capacity, half = padded(min(ROWS * width, rows)), padded(min(HALF * width, rows))
    outputs = [empty(*shape, dtype=torch.int32) for shape in (
        (tiles, capacity), (tiles, capacity), (tiles,), (2 * tiles, half), (2 * tiles, half), (2 * tiles,))]
    params = UnionParams(indices.data_ptr(), counts.data_ptr(), 0, rows, width, capacity, half,
                         *(tensor.data_ptr() for tensor in outputs), wide_rate)
    params.tensors = (indices, counts, *outputs)
    return params


def index_top_k(q, k, row_begin, rows, top, sinks=0, local=1, workspace=None):
    indices, counts = empty(rows, top, dtype=torch.int32), empty(rows, dtype=torch.int32)
    if workspace is None:
        workspace = index_workspace(rows, row_begin + rows, top)
    call(table.index_top_k, IndexParams(q.data_ptr(), k.data_ptr(), q.stride(0), k.stride(0), q.shape[1], row_begin,
                                        rows, top, sinks, local, workspace.data_ptr(), indices.data_ptr(),
                                        counts.data_ptr()))
    return indices, counts


def index_capacity(top):  # as in cuda_kernels.h
    mean = (top + 15) // 16
    rank = mean + (9 * (math.isqrt(mean - 1) + 1) + 1) // 2 + 1
    return (16 * (rank + 5 * (math.isqrt(rank - 1) + 1)) + 255) // 256 * 256


def index_workspace(rows, row_end, top):
    stride = (row_end // 16 + 127) // 128 * 128 + 128
    sampled = min(max(128, (1 << 26) // stride // 128 * 128), rows)
    return empty(rows * (index_capacity(top) * 8 + 8) + stride * (256 + sampled * 4) + 64 * (row_end + 3) * 4 + 2048,
                 dtype=torch.uint8)


def mass_of(q, k, lse, row_begin, rows):
    mass = torch.full((rows, (row_begin + rows + 3) // 4 * 4), float("nan"), device="cuda")
    call(table.mass, MassParams(q.data_ptr(), k.data_ptr(), lse.data_ptr(), mass.data_ptr(), q.stride(0), q.stride(1),
                                k.stride(0), k.stride(1), lse.stride(0), mass.stride(0), row_begin, rows, q.shape[0],
                                k.shape[0], q.shape[2], q.shape[2] ** -0.5))
    return mass


def sparse_params(q, k, v, unions, out, lse=None):
    strides = [stride for tensor in (q, k, v, out) for stride in tensor.stride()[:2]]
    return SparseParams(q.data_ptr(), k.data_ptr(), v.data_ptr(), out.data_ptr(),
                        None if lse is None else lse.data_ptr(), *strides, q.shape[1], q.shape[0],
                        k.shape[0], q.shape[2], q.shape[2] ** -0.5, unions)


def random_qkv(q_heads, kv_heads, length, dim):
    return [torch.randn(heads, length, dim, device="cuda").bfloat16() for heads in (q_heads, kv_heads, kv_heads)]


def check_top_k():
    wrong = 0
    for rows, row_begin, k, kind, sinks, local in (
            (64, 0, 8, "normal", 0, 1), (100, 900, 128, "normal", 0, 1), (37, 4000, 512, "normal", 4, 16),
            (20, 3000, 300, "equal", 0, 1), (20, 9000, 700, "few", 3, 5), (8, 60000, 2048, "normal", 0, 1),
            (8, 20000, 2048, "equal", 0, 1), (6, 5000, 600, "nan", 0, 1), (5, 12000, 100, "zeros", 0, 1)):
        scores = torch.randn(rows, (row_begin + rows + 3) // 4 * 4, device="cuda")
        if kind == "equal":
            scores.fill_(0.5)
        elif kind == "few":
            scores = (scores * 4).round() / 4
        elif kind == "nan":
            scores[torch.rand_like(scores) < 0.9] = float("nan")
        elif kind == "zeros":
            scores = torch.where(torch.rand_like(scores) < 0.5, 0.0, -0.0)
        indices, counts = top_k(scores, row_begin, k, sinks, local)
        for row in range(rows):
            history = row_begin + row + 1
            values = scores[row, :history].cpu().double().nan_to_num(nan=-1e300)
            position = torch.arange(history)
            values[(position < sinks) | (position >= history - local)] = float("inf")
            order = torch.sort(values, descending=True, stable=True).indices.tolist()
            expected = sorted(order[:min(k, history)])
            wrong += expected != indices[row, :int(counts[row])].tolist() or bool((indices[row, history:] != -1).any())
    print(f"top-k: {wrong} rows differ")
    return wrong


def check_sparse():
    wrong = 0
    for q_heads, kv_heads, dim, length, width in ((9, 3, 64, 333, 40), (16, 4, 256, 500, 64), (32, 8, 128, 700, 100),
                                                  (8, 1, 64, 257, 31), (4, 4, 128, 130, 200), (12, 2, 256, 70, 16)):
        q, k, v = random_qkv(q_heads, kv_heads, length, dim)
        indices, counts = top_k(torch.randn(length, (length + 3) // 4 * 4, device="cuda"), 0, width)
        counts[length // 2] = 0  # a row without keys
        mask = torch.zeros(length, length, dtype=torch.bool, device="cuda")
        for row in range(length):
            mask[row, indices[row, :int(counts[row])].long()] = True
        wide_k, wide_v = (t.repeat_interleave(q_heads // kv_heads, 0) for t in (k, v))
        scores = (q.double() @ wide_k.double().transpose(1, 2) * dim ** -0.5).masked_fill(~mask, float("-inf"))
        exact = torch.softmax(scores, -1).nan_to_num(0) @ wide_v.double()
        bias = torch.zeros(length, length, dtype=torch.bfloat16, device="cuda").masked_fill(~mask, float("-inf"))
        torchs = scaled_dot_product_attention(q[None], wide_k[None], wide_v[None], bias, scale=dim ** -0.5)[0]
        torchs = torchs.nan_to_num(0)
        exact_lse = torch.logsumexp(scores, -1)
        seen = exact_lse.isfinite()
        for kind, rate in (("halves", 0), ("whole", 1e9), ("chosen", 1.2)):
            unions = unions_of(indices, counts, rate)
            call(table.build_unions, unions)
            out, again = torch.full_like(q, float("nan")), torch.full_like(q, float("nan"))
            lse = torch.full((q_heads, length), float("nan"), device="cuda")
            call(table.sparse_attention, sparse_params(q, k, v, unions, out, lse))
            call(table.sparse_attention, sparse_params(q, k, v, unions, again))
            error, allowed = ((t.double() - exact).abs().max().item() for t in (out, torchs))
            lse_error = (lse.double() - exact_lse)[seen].abs().max().item()
            ok = (error <= 2 * allowed and lse_error < 1e-5 and torch.equal(out, again)
                  and torch.equal(lse.isfinite(), seen))
            wrong += not ok
            print(f"sparse {q_heads}:{kv_heads} of {dim}, {length} rows, {kind} ({(unions.tensors[4] >= 0).sum()} of "
                  f"{len(unions.tensors[4])} tiles whole): error {error:.2e}, LibTorch's {allowed:.2e}, "
                  f"lse {lse_error:.0e}, {'ok' if ok else 'WRONG'}", flush=True)
    return wrong


def stable_top(values, row_begin, k, sinks, local):
    """Of [rows, keys] fp64 scores on the GPU: the k best of each row's history as a mask, forced keys first."""
    rows, columns = values.shape
    row, key = torch.arange(row_begin, row_begin + rows, device="cuda")[:, None], torch.arange(columns, device="cuda")
    values = values.nan_to_num(nan=-1e300).masked_fill((key < sinks) | (key > row - local), float("inf"))
    values = values.masked_fill(key > row, float("-inf"))
    order = torch.sort(values, dim=1, descending=True, stable=True).indices[:, :k]
    return torch.zeros_like(values, dtype=torch.bool).scatter_(1, order, True) & (key <= row)


def mask_of(indices, columns):
    mask = torch.zeros(indices.shape[0], columns + 1, dtype=torch.bool, device="cuda")
    return mask.scatter_(1, indices.long().masked_fill(indices < 0, columns), True)[:, :columns]


def check_index():
    wrong = 0
    for dim, row_begin, rows, top, kind, sinks, local in (
            (128, 0, 700, 64, "whole", 0, 1), (128, 3000, 333, 300, "whole", 4, 200),
            (64, 9000, 257, 512, "whole", 0, 1), (128, 30000, 300, 2048, "normal", 0, 1),
            (128, 30000, 130, 2048, "whole", 3, 5), (128, 9000, 130, 300, "equal", 0, 1),
            (128, 20000, 70, 1000, "nan", 2, 1), (128, 5000, 129, 256, "infinite", 0, 1),
            (128, 60000, 64, 8192, "normal", 0, 1),
            (128, 0, 1, 5, "normal", 0, 1), (64, 20000, 64, 600, "outliers", 0, 1)):
        length = row_begin + rows
        q, k = (torch.randn(length, dim, device="cuda") for _ in range(2))
        if kind in ("whole", "nan", "infinite"):  # products that are exact in any order; many are equal
            q, k = q.round(), k.round()
        if kind == "equal":
            k[:] = k[:1]
        if kind == "nan":
            k[torch.rand(length, device="cuda") < 0.3] = float("nan")
        if kind == "infinite":
            k[torch.rand(length, device="cuda") < 0.2] = float("-inf")
            q = q.abs() + 1
        if kind == "outliers":
            k[::1000] *= 1e4
        q, k = q.bfloat16(), k.bfloat16()
        indices, counts = index_top_k(q, k, row_begin, rows, top, sinks, local)
        again, _ = index_top_k(q, k, row_begin, rows, top, sinks, local)
        values = q[row_begin:].double() @ k.double().t()
        expected, found = stable_top(values, row_begin, top, sinks, local), mask_of(indices, length)
        history = torch.arange(row_begin + 1, length + 1, device="cuda")
        ascending = ((indices[:, 1:] > indices[:, :-1]) | (indices[:, 1:] < 0)).all()
        differ = expected != found
        if kind in ("normal", "outliers"):  # but for keys of all but equal scores
            least = values.masked_fill(~expected, float("inf")).amin(1, keepdim=True)
            near = (values - least).abs() <= 1e-5 * values.abs().amax(1, keepdim=True)
            differ &= ~near
        ok = (not differ.any() and torch.equal(counts.long(), history.clamp(max=top)) and torch.equal(indices, again)
              and torch.equal(found.sum(1), counts.long()) and bool(ascending))
        wrong += not ok
        print(f"index {dim}, rows {row_begin} to {length}, k {top}, {kind}: {int(differ.any(1).sum())} rows differ, "
              f"{'ok' if ok else 'WRONG'}", flush=True)
    return wrong


def exact_lse(q, k):
    wide = k.repeat_interleave(q.shape[0] // k.shape[0], 0)
    scores = q.double() @ wide.double().transpose(1, 2) * q.shape[2] ** -0.5
    length = q.shape[1]
    return scores.masked_fill(torch.ones(length, length, dtype=torch.bool, device="cuda").triu(1), float("-inf"))


def check_mass():
    wrong = 0
    for q_heads, kv_heads, dim, length, row_begin in ((9, 3, 64, 333, 0), (16, 4, 256, 500, 130),
                                                      (32, 8, 128, 700, 256),
                                                      (4, 4, 128, 130, 0), (3, 1, 256, 1500, 5), (2, 1, 64, 1, 0)):
        q, k, _ = random_qkv(q_heads, kv_heads, length, dim)
        scores = exact_lse(q, k)
        lse = torch.logsumexp(scores, -1)
        exact = torch.softmax(scores, -1).mean(0)[row_begin:]
        single = lse.float().contiguous()
        mass = mass_of(q, k, single, row_begin, length - row_begin)
        again = mass_of(q, k, single, row_begin, length - row_begin)
        error = (mass[:, :length].double() - exact).abs().max().item()
        relative = ((mass[:, :length].double() - exact).abs() / exact.clamp(min=1e-12)).max().item()
        share = 4
        sums = torch.full((-(-mass.shape[0] // share), mass.shape[1]), float("nan"), device="cuda")
        call(table.block_sums, BlockSumParams(mass.data_ptr(), sums.data_ptr(), mass.stride(0), row_begin, mass.shape[0],
                                              share))
        padding = torch.zeros(-mass.shape[0] % share, length, device="cuda", dtype=torch.float64)
        expected = torch.cat([mass[:, :length].double(), padding]).reshape(-1, share, length).sum(1).float()
        ends = row_begin + (torch.arange(sums.shape[0], device="cuda")[:, None] + 1) * share
        summed = torch.arange(length, device="cuda") < ends.clamp(max=length)
        ok = (error < 5e-6 and torch.equal(mass[:, :length], again[:, :length])
              and torch.equal(sums[:, :length][summed], expected[summed]))
        wrong += not ok
        print(f"mass {q_heads}:{kv_heads} of {dim}, rows {row_begin} to {length}: error {error:.1e}, "
              f"relative {relative:.1e}, {'ok' if ok else 'WRONG'}", flush=True)
    return wrong


def milliseconds(work, repeats=7):
    times = []
    for repeat in range(repeats + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    low, median, high = statistics.quantiles(times[2:], n=4)
    return f"{median:.2f} [{low:.2f}-{high:.2f}] ms", median


def drawn_supports(length, k, half_factor=2.46, factor=2.99):
    """32 rows share a pool of keys, of which each half of them draws from its own part."""
    indices, counts = empty(length, k, dtype=torch.int32), torch.full((length,), k, dtype=torch.int32, device="cuda")
    whole, half = int(factor * k), int(half_factor * k)
    for first in range(0, length, 128 * ROWS):
        tiles = min(128, (length - first) // ROWS)
        seen = torch.arange(tiles, device="cuda")[:, None] * ROWS + first + 1
        keys = (torch.rand(tiles, whole, device="cuda") * seen).int()
        chosen = torch.rand(tiles, ROWS, half, device="cuda").topk(k, -1).indices
        chosen[:, HALF:] += whole - half
        drawn = torch.gather(keys[:, None].expand(-1, ROWS, -1), 2, chosen).sort(-1).values
        indices[first:first + tiles * ROWS] = drawn.reshape(-1, k)
    for row in range(min(k, length)):  # rows within the budget have their whole history
        indices[row, :row + 1] = torch.arange(row + 1, device="cuda", dtype=torch.int32)
        counts[row] = row + 1
    return indices, counts


def time_sparse(k=2048, lengths=(32768, 131072)):
    for q_heads, kv_heads, dim in ((16, 4, 256), (32, 8, 128)):
        for length in lengths:
            q, key, v = random_qkv(q_heads, kv_heads, length, dim)
            out = torch.empty_like(q)
            supports = drawn_supports(length, k)
            line = f"{q_heads}:{kv_heads} of {dim}, {length} tokens, k {k}"
            for kind, rate in (("halves", 0), ("whole", 1e9), ("chosen", WIDE_RATE[dim])):
                unions = unions_of(*supports, rate)
                building, building_ms = milliseconds(lambda: call(table.build_unions, unions))
                params = sparse_params(q, key, v, unions, out)
                attention, median = milliseconds(lambda: call(table.sparse_attention, params))
                sizes, halves = unions.tensors[4].clamp(min=0).double(), unions.tensors[7].clamp(min=0).double()
                pairs = ROWS * sizes.sum().item() + HALF * halves.sum().item()
                line += (f"; {kind}: unions {building}, attention {attention}, both {building_ms + median:.2f} ms, "
                         f"{4 * dim * q_heads * pairs / median / 1e9:.0f} TFLOP/s on unions of mean "
                         f"{pairs / length:.0f} keys a row")
                del unions, params
            for backend, name in ((SDPBackend.FLASH_ATTENTION, "FA2"), (SDPBackend.CUDNN_ATTENTION, "cuDNN")):
                with sdpa_kernel(backend):
                    dense, _ = milliseconds(lambda: scaled_dot_product_attention(
                        q[None], key[None], v[None], is_causal=True, enable_gqa=True), 5)
                line += f"; {name} {dense}"
            print(line, flush=True)


def rotated(x, cosine, sine):
    low, high = x.chunk(2, -1)
    return torch.cat([low * cosine - high * sine, high * cosine + low * sine], -1)


def time_index(k=2048, lengths=(32768, 131072), width=4096, dim=128):
    for length in lengths:
        x = torch.randn(length, width, device="cuda").bfloat16()
        weights = (torch.randn(2 * dim, width, device="cuda") / width ** 0.5).bfloat16()
        rates = 1e4 ** (-torch.arange(dim // 2, device="cuda") / (dim // 2))
        angles = torch.arange(length, device="cuda")[:, None] * rates
        cosine, sine = angles.cos(), angles.sin()

        def project():
            both = torch.mm(x, weights.t(), out_dtype=torch.float32)
            q, key = both[:, :dim], both[:, dim:]
            key = key * torch.rsqrt(key.square().mean(1, True) + 1e-6)
            return rotated(q, cosine, sine).bfloat16(), rotated(key, cosine, sine).bfloat16()

        q, key = project()
        rows = min(length, 2 ** 30 // (8 * index_capacity(k)) // 128 * 128)
        workspace = index_workspace(rows, length, k)

        def select():
            for begin in range(0, length, rows):
                index_top_k(q, key, begin, min(rows, length - begin), k, workspace=workspace)

        print(f"index, {length} tokens, width {width}, k {k}, {rows} rows at once: projection "
              f"{milliseconds(project)[0]}, score and top-k {milliseconds(select)[0]}, "
              f"all {milliseconds(lambda: (project(), select()))[0]}", flush=True)


def time_mass(k=2048, lengths=(32768, 131072)):
    for q_heads, kv_heads, dim in ((16, 4, 256), (32, 8, 128)):
        for length in lengths:
            q, key, v = random_qkv(q_heads, kv_heads, length, dim)
            q *= 4  # peaked, as trained models are
            rows = max(128, 2 ** 27 // length // 128 * 128)

            def dense(lse):
                return torch.ops.aten._scaled_dot_product_cudnn_attention(
                    q[None], key[None], v[None], None, lse, 0.0, True, False, scale=dim ** -0.5)

            lse = dense(True)[1].reshape(q_heads, length).contiguous()

            def pass_2(select):
                for begin in range(0, length, rows):
                    mass = mass_of(q, key, lse, begin, min(rows, length - begin))
                    if select:
                        top_k(mass, begin, k)

            plain, base = milliseconds(lambda: dense(False), 5)
            with_lse, first = milliseconds(lambda: dense(True), 5)
            scores, _ = milliseconds(lambda: pass_2(False), 5)
            selected, second = milliseconds(lambda: pass_2(True), 5)
            print(f"oracle {q_heads}:{kv_heads} of {dim}, {length} tokens, k {k}: cuDNN {plain}, with log-sum-exp "
                  f"{with_lse}, mass {scores}, with top-k {selected}: "
                  f"{(first + second) / base:.2f} x cuDNN", flush=True)


library = ctypes.CDLL(sys.argv[1])
library.headroom_cuda_kernels.restype = ctypes.POINTER(KernelTable)
table = library.headroom_cuda_kernels().contents
torch.manual_seed(0)
parts = {"top-k": (check_top_k, None), "sparse": (check_sparse, time_sparse), "index": (check_index, time_index),
         "mass": (check_mass, time_mass)}
named = [part for part in sys.argv[2:] if part != "check"] or list(parts)
wrong = sum(parts[part][0]() for part in named)
print(f"{wrong} wrong", flush=True)
for part in named:
    if "check" not in sys.argv[2:] and parts[part][1]:
        parts[part][1]()
sys.exit(wrong != 0)
