# SPDX-License-Identifier: Apache-2.0
"""Checks and times the row-wise CUDA kernels alone (norms, gates, heads with rotation), through PyTorch's tensors:
row_kernels.py libheadroom_cuda.so [check | time]

Checks: against fp64, bound by twice the error of LibTorch's operators in bf16, one after the other."""
import ctypes
import sys

import torch
from torch.nn.functional import silu

import delta_net
from delta_net import I32, I64, P, call, function, milliseconds

FLOAT = ctypes.c_float


class NormRowsParams(ctypes.Structure):
    _fields_ = ([(name, P) for name in ("hidden", "addend", "weight", "out")]
                + [(name, I64) for name in ("hidden_row", "addend_row", "out_row", "rows", "width")]
                + [("epsilon", FLOAT)])


class SiluMulParams(ctypes.Structure):
    _fields_ = [("gate_up", P), ("out", P)] + [(name, I64) for name in ("gate_up_row", "out_row", "rows", "width")]


class SplitHeadsParams(ctypes.Structure):
    _fields_ = ([(name, P) for name in ("qkv", "cosine", "sine", "q_norm", "k_norm", "q", "k", "v", "gate")]
                + [(name, I64) for name in ("qkv_row", "gate_row", "q_head", "k_head", "v_head", "rows")]
                + [(name, I32) for name in ("num_q_heads", "num_kv_heads", "head_dim", "half")] + [("epsilon", FLOAT)])


class GateHeadsParams(ctypes.Structure):
    _fields_ = ([(name, P) for name in ("heads", "gate", "out")]
                + [(name, I64) for name in ("heads_row", "heads_head", "gate_row", "out_row", "rows")]
                + [("num_heads", I32), ("head_dim", I32)])


class KernelTable(ctypes.Structure):
    _fields_ = [("version", I32), ("others", P * 8), ("norm_rows", function(NormRowsParams)),
                ("silu_mul", function(SiluMulParams)), ("split_heads", function(SplitHeadsParams)),
                ("gate_heads", function(GateHeadsParams))]


def device():
    return delta_net.DEVICE


def random(*shape):
    return torch.randn(*shape, device=device()).bfloat16()


def pointer(tensor):
    return None if tensor is None else tensor.data_ptr()


def norm_rows(table, hidden, addend, weight, out):
    call(table.norm_rows, NormRowsParams(pointer(hidden), pointer(addend), pointer(weight), pointer(out),
                                         hidden.stride(0), 0 if addend is None else addend.stride(0),
                                         0 if out is None else out.stride(0), *hidden.shape, 1e-6))


def normed(x, weight):
    wide = x.float() if x.dtype == torch.bfloat16 else x
    return (wide * torch.rsqrt(wide.square().mean(-1, True) + 1e-6) * weight.to(wide.dtype)).to(x.dtype)


class Heads:
    def __init__(self, rows, num_q, num_kv, dim, half, gated, norms):
        self.rows, self.num_q, self.num_kv, self.dim, self.half, self.gated = rows, num_q, num_kv, dim, half, gated
        self.qkv = random(rows, (num_q * (1 + gated) + 2 * num_kv) * dim)
        angles = 100 * torch.rand(rows, half, device=device())
        self.cosine, self.sine = angles.cos(), angles.sin()
        self.q_norm, self.k_norm = (random(dim), random(dim)) if norms else (None, None)

    def run(self, table, length, first):
        """Rows go to places first … of [heads, length, dim]."""
        q, k, v = (torch.full((heads, length, self.dim), float("nan"), device=device()).bfloat16()
                   for heads in (self.num_q, self.num_kv, self.num_kv))
        gate = random(self.rows, self.num_q * self.dim) if self.gated else None
        params = SplitHeadsParams(
            *(pointer(x) for x in (self.qkv, self.cosine, self.sine, self.q_norm, self.k_norm)),
            *(x[:, first:].data_ptr() for x in (q, k, v)), pointer(gate), self.qkv.stride(0),
            0 if gate is None else gate.stride(0), q.stride(0), k.stride(0), v.stride(0), self.rows, self.num_q,
            self.num_kv, self.dim, self.half, 1e-6)
        params.kept = (q, k, v, gate, self)
        call(table.split_heads, params)
        return params, (q, k, v, gate)

    def by_operators(self, dtype):
        x = self.qkv.to(dtype)
        of_q = self.num_q * (1 + self.gated) * self.dim
        q_part = x[:, :of_q].reshape(self.rows, self.num_q, 1 + self.gated, self.dim)
        k, v = x[:, of_q:].reshape(self.rows, 2, self.num_kv, self.dim).unbind(1)
        q, gate = q_part[:, :, 0], q_part[:, :, 1].reshape(self.rows, -1) if self.gated else None
        if self.q_norm is not None:
            q, k = normed(q, self.q_norm), normed(k, self.k_norm)

        def rotated(heads):
            wide = heads.float() if dtype == torch.bfloat16 else heads
            low, high, rest = wide.split([self.half, self.half, self.dim - 2 * self.half], -1)
            cosine, sine = (t.to(wide.dtype)[:, None] for t in (self.cosine, self.sine))
            return torch.cat([low * cosine - high * sine, high * cosine + low * sine, rest], -1).to(dtype)

        return rotated(q).transpose(0, 1), rotated(k).transpose(0, 1), v.transpose(0, 1), gate


def judge(text, found, exact, torchs):
    error, allowed = ((x.double() - exact).abs().max().item() for x in (found, torchs))
    ok = error <= 2 * allowed
    print(f"  {text}: error {error:.1e}, LibTorch's {allowed:.1e}: {'ok' if ok else 'WRONG'}", flush=True)
    return not ok


def check(table):
    wrong = 0
    for rows, width in ((1, 8), (3, 576), (70, 1024), (5, 4096), (33, 6144), (2, 16384)):
        hidden, addend, weight = random(rows, width), random(rows, width), random(width)
        own, out = hidden.clone(), torch.full_like(hidden, float("nan"))
        norm_rows(table, own, addend, weight, out)
        summed = hidden + addend
        wrong += judge(f"sum and norm, {rows} x {width}", out, normed(summed.double(), weight), normed(summed, weight))
        alone, kept = torch.full_like(hidden, float("nan")), hidden.clone()
        norm_rows(table, kept, None, weight, alone)
        only = hidden.clone()
        norm_rows(table, only, addend, weight, None)
        ok = torch.equal(own, summed) and torch.equal(only, summed) and torch.equal(kept, hidden)
        wrong += not ok
        print(f"    sums {'equal' if ok else 'WRONG'}")
        wrong += judge("  norm alone", alone, normed(hidden.double(), weight), normed(hidden, weight))
    for rows, width in ((1, 8), (7, 1536), (3, 12288), (4, 2056)):
        gate_up, out = 4 * random(rows, 2 * width), torch.full((rows, width), float("nan"), device=device()).bfloat16()
        call(table.silu_mul,
             SiluMulParams(pointer(gate_up), pointer(out), gate_up.stride(0), out.stride(0), rows, width))
        gate, up = gate_up[:, :width], gate_up[:, width:]
        wrong += judge(f"silu and product, {rows} x {width}", out, silu(gate.double()) * up.double(),
                       silu(gate.float()).bfloat16() * up)
    for rows, num_q, num_kv, dim, half, gated, norms in (
            (1, 3, 1, 64, 32, False, False), (37, 9, 3, 64, 32, False, True), (65, 32, 8, 128, 64, False, True),
            (130, 16, 4, 256, 32, True, True), (5, 8, 2, 256, 32, True, False), (9, 4, 4, 128, 32, False, False)):
        heads = Heads(rows, num_q, num_kv, dim, half, gated, norms)
        _, found = heads.run(table, rows + 11, 4)
        for name, own, exact, torchs in zip("qkv", found, heads.by_operators(torch.float64),
                                            heads.by_operators(torch.bfloat16)):
            wrong += judge(f"{name} of {num_q}:{num_kv} heads of {dim}, {rows} rows, {2 * half} rotated"
                           f"{', normed' * norms}{', gated' * gated}", own[:, 4:4 + rows], exact,
                           torchs) if name != "v" else not torch.equal(own[:, 4:4 + rows], torchs)
            outside = own.isnan()
            wrong += not (outside[:, :4].all() and outside[:, 4 + rows:].all())
        if gated:
            wrong += not torch.equal(found[3], heads.by_operators(torch.bfloat16)[3])
            out = torch.full_like(found[3], float("nan"))
            turned = found[0][:, 4:4 + rows].transpose(0, 1)
            call(table.gate_heads,
                 GateHeadsParams(turned.data_ptr(), pointer(found[3]), pointer(out), turned.stride(0),
                                 turned.stride(1), found[3].stride(0), out.stride(0), rows, num_q, dim))
            flat = turned.reshape(rows, -1)
            wrong += judge("  gate of heads", out, flat.double() * found[3].double().sigmoid(),
                           flat * found[3].float().sigmoid().bfloat16())
    print(f"row kernels: {wrong} wrong", flush=True)
    return wrong


def time_all(table, rows=32768, width=4096, mlp=12288):
    hidden, addend, weight, out = random(rows, width), random(rows, width), random(width), random(rows, width)

    def line(what, ours, theirs, moved):
        text, median = milliseconds(ours)
        print(f"{what}, {rows} rows: {text} ms, {moved / median / 1e9:.2f} TB/s; LibTorch's operators "
              f"{milliseconds(theirs)[0]} ms", flush=True)

    def norm_by_operators():
        hidden.add_(addend)
        out.copy_(torch.rms_norm(hidden, (width,), weight, 1e-6))

    line(f"sum and norm, {width} wide", lambda: norm_rows(table, hidden, addend, weight, out), norm_by_operators,
         8 * rows * width)
    gate_up, gated = random(rows, 2 * mlp), random(rows, mlp)
    params = SiluMulParams(pointer(gate_up), pointer(gated), gate_up.stride(0), gated.stride(0), rows, mlp)

    def silu_by_operators():
        torch.ops.aten.silu.out(gate_up[:, :mlp], out=gated)
        gated.mul_(gate_up[:, mlp:])

    line(f"silu and product, {mlp} wide", lambda: call(table.silu_mul, params), silu_by_operators, 6 * rows * mlp)
    heads = Heads(rows, 16, 4, 256, 32, True, True)
    params, found = heads.run(table, rows, 0)
    line("16:4 heads of 256, norms, rotation, gates", lambda: call(table.split_heads, params),
         lambda: [x.contiguous() for x in heads.by_operators(torch.bfloat16)], 4 * heads.qkv.numel())
    turned, result = found[0].transpose(0, 1), torch.empty_like(found[3])
    params = GateHeadsParams(turned.data_ptr(), pointer(found[3]), pointer(result), turned.stride(0), turned.stride(1),
                             found[3].stride(0), result.stride(0), rows, 16, 256)
    line("gates of heads", lambda: call(table.gate_heads, params),
         lambda: turned.reshape(rows, -1).mul(found[3].sigmoid()), 6 * result.numel())


def main():
    library = ctypes.CDLL(sys.argv[1])
    library.headroom_cuda_kernels.restype = ctypes.POINTER(KernelTable)
    table = library.headroom_cuda_kernels().contents
    torch.manual_seed(0)
    wrong = check(table) if "time" not in sys.argv[2:] else 0
    if "check" not in sys.argv[2:]:
        time_all(table)
    sys.exit(wrong != 0)


if __name__ == "__main__":
    main()
