# SPDX-License-Identifier: Apache-2.0
"""Checks and times the CUDA kernels alone, through PyTorch's tensors: cuda_kernels.py libheadroom_cuda.so [check]

With `check` it stops after the comparison with fp64 (for compute-sanitizer, say). Supports for timing are drawn so that 16
neighbouring rows share a pool of 2.46 k keys, the union measured on a trained model at k = 512 (docs/kernels-cuda.md)."""
import ctypes
import statistics
import sys

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

P, I64, I32 = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
ROWS = 16  # of a union


class UnionParams(ctypes.Structure):
    _fields_ = [("indices", P), ("counts", P), ("row_begin", I64), ("rows", I64), ("width", I64), ("capacity", I64),
                ("keys", P), ("members", P), ("sizes", P)]


class SparseParams(ctypes.Structure):
    _fields_ = ([(name, P) for name in ("q", "k", "v", "out", "lse")] +
                [(tensor + end, I64) for tensor in ("q", "k", "v", "out") for end in ("_head", "_row")] +
                [("length", I64), ("num_q_heads", I32), ("num_kv_heads", I32), ("head_dim", I32),
                 ("scale", ctypes.c_float), ("unions", UnionParams)])


class TopKParams(ctypes.Structure):
    _fields_ = [("scores", P), ("row_stride", I64), ("row_begin", I64), ("rows", I64), ("k", I32), ("sinks", I32),
                ("local", I32), ("indices", P), ("counts", P)]


def function(params):
    return ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(params), P)


class KernelTable(ctypes.Structure):
    _fields_ = [("version", I32), ("build_unions", function(UnionParams)), ("sparse_attention", function(SparseParams)),
                ("top_k", function(TopKParams))]


def empty(*shape, dtype):
    return torch.empty(*shape, dtype=dtype, device="cuda")


def call(kernel, params):
    failed = kernel(ctypes.byref(params), torch.cuda.current_stream().cuda_stream)
    if failed:
        raise RuntimeError(failed.decode())


def top_k(scores, row_begin, k, sinks=0, local=1):
    rows = scores.shape[0]
    indices, counts = empty(rows, k, dtype=torch.int32), empty(rows, dtype=torch.int32)
    call(table.top_k, TopKParams(scores.data_ptr(), scores.stride(0), row_begin, rows, k, sinks, local,
                                 indices.data_ptr(), counts.data_ptr()))
    return indices, counts


def unions_of(indices, counts):
    """Parameters whose outputs are allocated; the tensors stay alive with them."""
    rows, width = indices.shape
    capacity, tiles = (min(ROWS * width, rows) + 63) // 64 * 64, (rows + ROWS - 1) // ROWS
    outputs = (empty(tiles, capacity, dtype=torch.int32), empty(tiles, capacity, dtype=torch.int16),
               empty(tiles, dtype=torch.int32))
    params = UnionParams(indices.data_ptr(), counts.data_ptr(), 0, rows, width, capacity,
                         *(tensor.data_ptr() for tensor in outputs))
    params.tensors = (indices, counts, *outputs)
    return params


def sparse_params(q, k, v, unions, out, lse=None):
    strides = [stride for tensor in (q, k, v, out) for stride in tensor.stride()[:2]]
    return SparseParams(q.data_ptr(), k.data_ptr(), v.data_ptr(), out.data_ptr(), None if lse is None else lse.data_ptr(),
                        *strides, q.shape[1], q.shape[0], k.shape[0], q.shape[2], q.shape[2] ** -0.5, unions)


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
        unions = unions_of(indices, counts)
        call(table.build_unions, unions)
        out, again = torch.full_like(q, float("nan")), torch.full_like(q, float("nan"))
        lse = torch.full((q_heads, length), float("nan"), device="cuda")
        call(table.sparse_attention, sparse_params(q, k, v, unions, out, lse))
        call(table.sparse_attention, sparse_params(q, k, v, unions, again))
        mask = torch.zeros(length, length, dtype=torch.bool, device="cuda")
        for row in range(length):
            mask[row, indices[row, :int(counts[row])].long()] = True
        wide_k, wide_v = (t.repeat_interleave(q_heads // kv_heads, 0) for t in (k, v))
        scores = (q.double() @ wide_k.double().transpose(1, 2) * dim ** -0.5).masked_fill(~mask, float("-inf"))
        exact = torch.softmax(scores, -1).nan_to_num(0) @ wide_v.double()
        bias = torch.zeros(length, length, dtype=torch.bfloat16, device="cuda").masked_fill(~mask, float("-inf"))
        torchs = scaled_dot_product_attention(q[None], wide_k[None], wide_v[None], bias, scale=dim ** -0.5)[0].nan_to_num(0)
        error, allowed = ((t.double() - exact).abs().max().item() for t in (out, torchs))
        exact_lse = torch.logsumexp(scores, -1)
        seen = exact_lse.isfinite()
        lse_error = (lse.double() - exact_lse)[seen].abs().max().item()
        ok = error <= 2 * allowed and lse_error < 1e-5 and torch.equal(out, again) and torch.equal(lse.isfinite(), seen)
        wrong += not ok
        print(f"sparse {q_heads}:{kv_heads} of {dim}, {length} rows: error {error:.2e}, LibTorch's {allowed:.2e}, "
              f"lse {lse_error:.0e}, {'ok' if ok else 'WRONG'}")
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


def drawn_supports(length, k, factor):
    indices, counts = empty(length, k, dtype=torch.int32), torch.full((length,), k, dtype=torch.int32, device="cuda")
    pool = int(factor * k)
    for first in range(0, length, 256 * ROWS):
        tiles = min(256, (length - first) // ROWS)
        seen = torch.arange(tiles, device="cuda")[:, None] * ROWS + first + 1
        keys = (torch.rand(tiles, pool, device="cuda") * seen).int()
        chosen = torch.rand(tiles, ROWS, pool, device="cuda").topk(k, -1).indices
        drawn = torch.gather(keys[:, None].expand(-1, ROWS, -1), 2, chosen).sort(-1).values
        indices[first:first + tiles * ROWS] = drawn.reshape(-1, k)
    for row in range(min(k, length)):  # rows within the budget have their whole history
        indices[row, :row + 1] = torch.arange(row + 1, device="cuda", dtype=torch.int32)
        counts[row] = row + 1
    return indices, counts


def time_all(k=2048):
    for q_heads, kv_heads, dim in ((16, 4, 256), (32, 8, 128)):
        for length in (32768, 131072):
            q, key, v = random_qkv(q_heads, kv_heads, length, dim)
            out = torch.empty_like(q)
            unions = unions_of(*drawn_supports(length, k, 2.46))
            building, _ = milliseconds(lambda: call(table.build_unions, unions))
            params = sparse_params(q, key, v, unions, out)
            attention, median = milliseconds(lambda: call(table.sparse_attention, params))
            sizes = unions.tensors[4].double()
            rate = 4 * dim * q_heads * ROWS * sizes.sum().item() / median / 1e9
            line = (f"{q_heads}:{kv_heads} of {dim}, {length} tokens, k {k}: unions of {sizes.mean():.0f} keys in {building}, "
                    f"attention {attention}, {rate:.0f} TFLOP/s on the union")
            for backend, name in ((SDPBackend.FLASH_ATTENTION, "FA2"), (SDPBackend.CUDNN_ATTENTION, "cuDNN")):
                with sdpa_kernel(backend):
                    dense, _ = milliseconds(lambda: scaled_dot_product_attention(
                        q[None], key[None], v[None], is_causal=True, enable_gqa=True), 5)
                line += f"; {name} {dense}"
            print(line, flush=True)
    for length in (32768, 131072):
        q, key = (torch.randn(length, 128, device="cuda").bfloat16() for _ in range(2))
        chunk = min(2048, 2 ** 27 // length)

        def index(select):
            for begin in range(0, length, chunk):
                scores = torch.mm(q[begin:begin + chunk], key[:begin + chunk].t(), out_dtype=torch.float32)
                if select:
                    top_k(scores, begin, k)

        print(f"index, {length} tokens, k {k}, {chunk} rows at once: product {milliseconds(lambda: index(False))[0]}, "
              f"with top-k {milliseconds(lambda: index(True))[0]}", flush=True)


library = ctypes.CDLL(sys.argv[1])
library.headroom_cuda_kernels.restype = ctypes.POINTER(KernelTable)
table = library.headroom_cuda_kernels().contents
torch.manual_seed(0)
wrong = check_top_k() + check_sparse()
if sys.argv[2:] != ["check"]:
    time_all()
sys.exit(wrong != 0)
