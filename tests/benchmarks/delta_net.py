# SPDX-License-Identifier: Apache-2.0
"""Checks and times gated DeltaNet's kernels alone, through PyTorch's tensors:
delta_net.py libheadroom_cuda.so [MORE.so …] [check [small] | time | fla]

Checks: against the recurrence row by row in fp64, bound by twice the error of the chunked computation with LibTorch
whose products take operands rounded to bf16, as the kernels' do. With several modules, each in turn. `small`: 130
rows at most, for compute-sanitizer. `fla` times the public Triton kernels too, where the package can be imported."""
import ctypes
import statistics
import sys
import time

import torch
from torch.nn.functional import pad, silu, softplus

P, I64, I32 = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
D, CHUNK = 128, 64
DEVICE = "cuda"
CASES = (  # key heads, value heads, rows, tiled heads, keys alike, fresh state, rows of each call
    (16, 32, 1, False, False, True, None), (16, 32, 63, False, True, False, None),
    (16, 32, 64, False, False, True, None), (16, 32, 65, True, True, False, None),
    (16, 32, 1000, False, True, True, None), (16, 32, 1000, False, True, True, [1, 64, 2, 300, 633]),
    (16, 32, 4097, False, False, True, None), (16, 48, 777, True, True, False, [500, 277]),
    (16, 16, 4097, False, True, True, [4096, 1]), (1, 1, 130, False, True, False, None))


class DeltaNetParams(ctypes.Structure):
    _fields_ = ([(name, P) for name in ("qkv", "before", "rates", "conv", "decay", "time", "state", "out", "workspace")]
                + [(name, I64) for name in ("qkv_row", "rates_row", "out_row", "rows")]
                + [(name, I32) for name in ("key_heads", "value_heads", "tiled_heads", "parts")])


class DeltaGateParams(ctypes.Structure):
    _fields_ = ([(name, P) for name in ("heads", "gate", "norm", "out")]
                + [(name, I64) for name in ("heads_row", "gate_row", "out_row", "rows")]
                + [("value_heads", I32), ("epsilon", ctypes.c_float)])


def function(params):
    return ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(params), P)


class KernelTable(ctypes.Structure):
    _fields_ = [("version", I32), ("others", P * 6), ("delta_net", function(DeltaNetParams)),
                ("delta_gate", function(DeltaGateParams))]


def call(kernel, params):
    failed = kernel(ctypes.byref(params), torch.cuda.current_stream().cuda_stream)
    if failed:
        raise RuntimeError(failed.decode())


class Layer:
    """Random weights and inputs of one layer. `alike`: neighbouring keys resemble each other, as real ones do."""

    def __init__(self, key_heads, value_heads, rows, tiled=False, alike=False, generator=None):
        self.key_heads, self.value_heads, self.rows, self.tiled = key_heads, value_heads, rows, tiled
        self.channels = (2 * key_heads + value_heads) * D

        def normal(*shape):
            return torch.randn(*shape, device=DEVICE, generator=generator)

        qkvz = normal(rows, self.channels + value_heads * D)
        if alike:
            qkvz[:, :2 * key_heads * D] = 0.3 * qkvz[:, :2 * key_heads * D] + normal(2 * key_heads * D)
        self.qkvz = qkvz.bfloat16()
        self.rates = (2 * normal(rows, 2 * value_heads)).bfloat16()
        self.conv = 0.5 * normal(4, self.channels)
        low, high = -7, 2.8  # from heads that forget little in a thousand rows to those that forget at once
        self.decay = -torch.exp(low + (high - low) * torch.rand(value_heads, device=DEVICE, generator=generator))
        self.time = normal(value_heads)

    def convolved(self, before, dtype):
        """q, k, v as the rule takes them, [heads, rows, D], value heads in order."""
        reach = torch.cat([before, self.qkvz[:, :self.channels]]).to(dtype)
        mixed = silu(sum(reach[i:i + self.rows] * self.conv[i].to(dtype) for i in range(4)))
        heads = mixed.view(self.rows, -1, D).transpose(0, 1)
        q, k, v = heads.split([self.key_heads, self.key_heads, self.value_heads])
        q, k = (x * torch.rsqrt(x.square().sum(-1, True) + 1e-6) for x in (q, k))
        return q * D ** -0.5, k, v

    def gates(self, dtype):
        rates = self.rates.to(dtype).t()
        return (self.decay.to(dtype)[:, None] * softplus(rates[self.value_heads:] + self.time.to(dtype)[:, None]),
                rates[:self.value_heads].sigmoid())

    def key_head(self):
        heads = torch.arange(self.value_heads, device=DEVICE)
        return heads % self.key_heads if self.tiled else heads // (self.value_heads // self.key_heads)

    def by_key_head(self, state):
        """[value heads, …] in order -> as the kernels keep it."""
        group = self.value_heads // self.key_heads
        if not self.tiled:
            return state
        return state.view(group, self.key_heads, D, D).transpose(0, 1).reshape(self.value_heads, D, D)

    def zeros(self):
        return torch.zeros(3, self.channels, dtype=torch.bfloat16, device=DEVICE)


def exact(layer, before, state):
    """Row by row in fp64. `state` [value heads, D, D] in order; returns the output [rows, value heads, D] and S."""
    q, k, v = layer.convolved(before, torch.float64)
    order = layer.key_head()
    q, k = q[order], k[order]
    decay, rate = layer.gates(torch.float64)
    state, out = state.double().clone(), torch.empty(layer.rows, layer.value_heads, D, dtype=torch.float64,
                                                     device=DEVICE)
    factor = decay.exp()
    for row in range(layer.rows):
        state *= factor[:, row, None, None]
        held = torch.bmm(k[:, None, row], state)
        state.baddbmm_(k[:, row, :, None], rate[:, row, None, None] * (v[:, None, row] - held))
        out[row] = torch.bmm(q[:, None, row], state)[:, 0]
    return out, state


def rounded(x):
    return x.bfloat16().float()


def chunked(layer, before, state):
    """In chunks, operands of products rounded to bf16, sums in fp32."""
    q, k, v = (rounded(x) for x in layer.convolved(before, torch.float32))
    order = layer.key_head()
    decay, rate = layer.gates(torch.float32)
    missing = -layer.rows % CHUNK
    chunks = (layer.rows + missing) // CHUNK
    q, k, v = (pad(x, (0, 0, 0, missing)).view(-1, chunks, CHUNK, D) for x in (q[order], k[order], v))
    decay, rate = (pad(x, (0, missing)).view(-1, chunks, CHUNK, 1) for x in (decay, rate))
    sums = decay.cumsum(2)
    later = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=DEVICE).triu(1)
    left = (sums - sums.transpose(2, 3)).masked_fill(later, float("-inf")).exp()
    triangle = ((k @ k.transpose(2, 3)) * left * rate).tril(-1)
    unit = torch.eye(CHUNK, device=DEVICE)
    inverse = rounded(torch.linalg.solve_triangular(triangle + unit, unit.expand_as(triangle), upper=False))
    written = inverse @ rounded(v * rate)
    read_keys = rounded(inverse @ rounded(k * rate * sums.exp()))
    within = rounded((q @ k.transpose(2, 3)) * left)
    queries, last = rounded(q * sums.exp()), sums[:, :, -1:]
    at_end = rounded(k * (last - sums).exp())
    state, out = state.float().clone(), []
    for chunk in range(chunks):
        fresh = written[:, chunk] - read_keys[:, chunk] @ rounded(state)
        out.append(queries[:, chunk] @ rounded(state) + within[:, chunk] @ rounded(fresh))
        state = state * last[:, chunk].exp() + at_end[:, chunk].transpose(1, 2) @ rounded(fresh)
    return rounded(torch.cat(out, 1)[:, :layer.rows]).transpose(0, 1), state


class Kernels:
    def __init__(self, path):
        library = ctypes.CDLL(path)
        library.headroom_cuda_kernels.restype = ctypes.POINTER(KernelTable)
        self.table = library.headroom_cuda_kernels().contents

    def params(self, layer, state, out, before=None, first=0, rows=None, parts=7, workspace=None):
        rows = layer.rows - first if rows is None else rows
        if workspace is None:
            workspace = torch.full((workspace_bytes(rows, layer.key_heads, layer.value_heads),), 255,
                                   dtype=torch.uint8, device=DEVICE)
        params = DeltaNetParams(layer.qkvz[first:].data_ptr(), None if before is None else before.data_ptr(),
                                layer.rates[first:].data_ptr(), layer.conv.data_ptr(), layer.decay.data_ptr(),
                                layer.time.data_ptr(), state.data_ptr(), out[first:].data_ptr(), workspace.data_ptr(),
                                layer.qkvz.stride(0), layer.rates.stride(0), out.stride(0), rows, layer.key_heads,
                                layer.value_heads, int(layer.tiled), parts)
        params.kept = (layer, state, out, before, workspace)
        return params

    def run(self, layer, state, before=None, pieces=None):
        """Output [rows, value heads, D] bf16 and S as the kernels keep it; NaN where nothing was written."""
        state = layer.by_key_head(state).float().clone()
        out = torch.full((layer.rows, layer.value_heads * D), float("nan"), dtype=torch.bfloat16, device=DEVICE)
        first = 0
        for rows in pieces or [layer.rows]:
            params = self.params(layer, state, out, before, first, rows)
            call(self.table.delta_net, params)
            first += rows
            reach = layer.qkvz[:first, :layer.channels]
            earlier = layer.zeros() if before is None else before
            before = torch.cat([earlier, reach])[-3:].contiguous() if first < 3 else reach[-3:].contiguous()
        return out.view(layer.rows, layer.value_heads, D), state


def workspace_bytes(rows, key_heads, value_heads):  # as delta_workspace_bytes()
    return (rows + 63) // 64 * (2 * key_heads * 16384 + value_heads * (16384 + 2 * 8192 + 768))


def check_rule(kernels, generator, most_rows):
    wrong = 0
    for key_heads, value_heads, rows, tiled, alike, fresh, pieces in CASES:
        if rows > most_rows:
            continue
        layer = Layer(key_heads, value_heads, rows, tiled, alike, generator)
        state = torch.zeros(value_heads, D, D, device=DEVICE)
        before = None
        if not fresh:
            state += 0.3 * torch.randn(value_heads, D, D, device=DEVICE, generator=generator)
            before = torch.randn(3, layer.channels, device=DEVICE, generator=generator).bfloat16()
        earlier = layer.zeros() if before is None else before
        want, want_state = exact(layer, earlier, state)
        torchs, torchs_state = chunked(layer, earlier, state)
        out, found_state = kernels.run(layer, state, before, pieces)
        again, again_state = kernels.run(layer, state, before, pieces)
        error, allowed = ((x.double() - want).abs().max().item() for x in (out, torchs))
        mean, mean_allowed = ((x.double() - want).square().mean().sqrt().item() for x in (out, torchs))
        expected = layer.by_key_head(want_state)
        state_error = (found_state.double() - expected).abs().max().item()
        state_allowed = (torchs_state.double() - want_state).abs().max().item()
        ok = (error <= 2 * allowed + 1e-7 and mean <= 2 * mean_allowed and state_error <= 2 * state_allowed + 1e-6
              and torch.equal(out, again) and torch.equal(found_state, again_state))
        wrong += not ok
        print(f"  {key_heads}:{value_heads} heads{', tiled' * tiled}, {rows} rows{', alike' * alike}"
              f"{'' if fresh else ', continued'}{f' in {len(pieces)} pieces' if pieces else ''}: error {error:.1e}, "
              f"LibTorch's {allowed:.1e} (rms {mean:.1e}, {mean_allowed:.1e}), state {state_error:.1e}, "
              f"{state_allowed:.1e}, repeat {'equal' if torch.equal(out, again) else 'DIFFERS'}: "
              f"{'ok' if ok else 'WRONG'}", flush=True)
    return wrong


def check_nan(kernels, generator):
    """A NaN in one value of one head stays in that column, and reaches every row from its own on."""
    layer = Layer(2, 4, 300, False, True, generator)
    state = torch.zeros(4, D, D, device=DEVICE)
    clean, _ = kernels.run(layer, state)
    row, column = 150, 4 * D + 2 * D + 7  # of v's third head
    layer.qkvz[row, column] = float("nan")
    out, after = kernels.run(layer, state)
    ill = out.isnan()
    elsewhere = torch.ones_like(ill)
    elsewhere[row // CHUNK * CHUNK:, 2, 7] = False
    ok = bool(ill[row:, 2, 7].all()) and torch.equal(out[elsewhere], clean[elsewhere]) and bool(
        after.isnan()[2, :, 7].all()) and int(after.isnan().sum()) == D
    layer.qkvz[row, 2 * D] = float("nan")  # a key: all of its value heads, nothing before its chunk, nothing elsewhere
    out, _ = kernels.run(layer, state)
    ill = out.isnan()
    ok_key = not ill[:row // CHUNK * CHUNK].any() and bool(ill[row:, :2].all()) and not ill[:, 3].any()
    print(f"  NaN: of a value {'ok' if ok else 'WRONG'}, of a key {'ok' if ok_key else 'WRONG'}", flush=True)
    return (not ok) + (not ok_key)


def gate_params(heads, gate, norm, out):
    return DeltaGateParams(heads.data_ptr(), gate.data_ptr(), norm.data_ptr(), out.data_ptr(), heads.stride(0),
                           gate.stride(0), out.stride(0), heads.shape[0], heads.shape[1] // D, 1e-6)


def gated(heads, gate, norm, dtype):
    x = heads.to(dtype).view(heads.shape[0], -1, D)
    x = x * torch.rsqrt(x.square().mean(2, True) + 1e-6) * norm.to(dtype)
    return x.view(heads.shape) * silu(gate.to(dtype))


def check_gate(kernels, generator):
    wrong = 0
    for rows, heads in ((1, 1), (37, 32), (1000, 48)):
        x = torch.randn(rows, heads * D, device=DEVICE, generator=generator).bfloat16()
        z = (3 * torch.randn(rows, heads * D + 64, device=DEVICE, generator=generator)).bfloat16()[:, 64:]
        norm = torch.rand(D, device=DEVICE, generator=generator)
        out = torch.full_like(x, float("nan"))
        call(kernels.table.delta_gate, gate_params(x, z, norm, out))
        want = gated(x, z, norm, torch.float64)
        error, allowed = ((y.double() - want).abs().max().item()
                          for y in (out, gated(x, z, norm, torch.float32).bfloat16()))
        ok = error <= 2 * allowed
        wrong += not ok
        print(f"  norm and gate, {rows} rows, {heads} heads: error {error:.1e}, LibTorch's {allowed:.1e}: "
              f"{'ok' if ok else 'WRONG'}", flush=True)
    return wrong


def milliseconds(work, repeats=7):
    times = []
    for _ in range(repeats + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    low, median, high = statistics.quantiles(times[2:], n=4)
    return f"{median:.3f} [{low:.3f}-{high:.3f}]", median


def engine_path(layer, state):
    """What the engine does without these kernels: core/model/mixers/delta_net.cpp and delta_rule.cpp, by operators."""
    before, order, out = layer.zeros(), layer.key_head(), []
    for first in range(0, layer.rows, 8192):
        part = object.__new__(Layer)
        part.__dict__.update(layer.__dict__)
        part.qkvz, part.rates = layer.qkvz[first:first + 8192], layer.rates[first:first + 8192]
        part.rows = part.qkvz.shape[0]
        q, k, v = part.convolved(before, torch.float32)
        before = part.qkvz[-3:, :layer.channels]
        decay, rate = part.gates(torch.float32)
        chunks = part.rows // CHUNK
        q, k, v = (x.reshape(-1, chunks, CHUNK, D) for x in (q[order], k[order], v))
        sums, rate = decay.reshape(-1, chunks, CHUNK, 1).cumsum(2), rate.reshape(-1, chunks, CHUNK, 1)
        later = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=DEVICE).triu(1)
        left = (sums - sums.transpose(2, 3)).masked_fill(later, float("-inf")).exp()
        unit = torch.eye(CHUNK, device=DEVICE)
        triangle = ((k @ k.transpose(2, 3)) * left * rate).tril(-1) + unit
        inverse = torch.linalg.solve_triangular(triangle, unit.expand_as(triangle), upper=False)
        written, read_keys = inverse @ (v * rate), inverse @ (k * rate * sums.exp())
        within, queries, last = (q @ k.transpose(2, 3)) * left, q * sums.exp(), sums[:, :, -1:]
        at_end, all_left = (k * (last - sums).exp()).transpose(2, 3), last.exp()
        for chunk in range(chunks):
            fresh = written[:, chunk] - read_keys[:, chunk] @ state
            out.append(queries[:, chunk] @ state + within[:, chunk] @ fresh)
            state = state * all_left[:, chunk] + at_end[:, chunk] @ fresh
    return torch.cat(out, 1).bfloat16()


def time_rule(named, lengths=(8192, 32768, 131072), key_heads=16, value_heads=32):
    for rows in lengths:
        layer = Layer(key_heads, value_heads, rows)
        state = torch.zeros(value_heads, D, D, device=DEVICE)
        out = torch.empty(rows, value_heads * D, dtype=torch.bfloat16, device=DEVICE)
        workspace = torch.empty(workspace_bytes(rows, key_heads, value_heads), dtype=torch.uint8, device=DEVICE)
        chunks = rows // CHUNK
        for name, kernels in named:
            texts, found = [], {}
            for part, what in ((1, "convolution"), (2, "chunks"), (4, "states"), (6, "rule"), (7, "all")):
                params = kernels.params(layer, state, out, parts=part, workspace=workspace)
                state.zero_()
                text, found[what] = milliseconds(lambda: call(kernels.table.delta_net, params))
                texts.append(f"{what} {text}")
            norm, gated_out = torch.rand(D, device=DEVICE), torch.empty_like(out)
            params = gate_params(out, layer.qkvz[:, layer.channels:], norm, gated_out)
            text, _ = milliseconds(lambda: call(kernels.table.delta_gate, params))
            # A state's products: 5 of 64 x 128 x 128 a chunk and head, less what the two triangles leave out.
            flops = value_heads * chunks * (3 * 2 * 64 * 128 * 128 + 2 * 2 * 64 * 64 * 128)
            moved = rows * 2 * (2 * layer.channels)
            print(f"{name}, {rows} rows: {', '.join(texts)}, norm and gate {text} ms; states "
                  f"{flops / found['states'] / 1e9:.0f} TFLOP/s, {found['states'] * 1e6 / chunks:.0f} ns a chunk, "
                  f"convolution {moved / found['convolution'] / 1e9:.2f} TB/s", flush=True)
        if rows <= 32768:
            text, _ = milliseconds(lambda: engine_path(layer, torch.zeros_like(state)), 3)
            print(f"LibTorch's operators (fp32), {rows} rows, convolution and rule: {text} ms", flush=True)
        del workspace, out
        torch.cuda.empty_cache()


def time_fla(lengths=(8192, 32768)):
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    for rows in lengths:
        q, k, v = (torch.randn(1, rows, heads, D, device=DEVICE).bfloat16() for heads in (32, 32, 32))
        q, k = (torch.nn.functional.normalize(x.float(), dim=-1).bfloat16() for x in (q, k))
        g = -torch.rand(1, rows, 32, device=DEVICE)
        beta = torch.rand(1, rows, 32, device=DEVICE).bfloat16()
        start = time.time()
        with torch.no_grad():
            text, _ = milliseconds(lambda: chunk_gated_delta_rule(q, k, v, g, beta, output_final_state=True))
        print(f"public Triton kernels, rule alone, 32:32 heads, {rows} rows: {text} ms "
              f"({time.time() - start:.0f} s with their tuning)", flush=True)


def main():
    words = sys.argv[1:]
    modules, asked = [w for w in words if w.endswith(".so")], [w for w in words if not w.endswith(".so")]
    torch.backends.cuda.matmul.allow_tf32 = False
    named, wrong = [(path.split("/")[-1], Kernels(path)) for path in modules], 0
    if not asked or "check" in asked:
        for name, kernels in named:
            print(name, flush=True)
            generator = torch.Generator(DEVICE).manual_seed(0)
            ill = check_rule(kernels, generator, 130 if "small" in asked else 1 << 30)
            ill += check_nan(kernels, generator) + check_gate(kernels, generator)
            print(f"{name}: {ill} wrong", flush=True)
            wrong += ill
    if not asked or "time" in asked:
        with torch.no_grad():
            time_rule(named)
    if "fla" in asked:
        time_fla()
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
