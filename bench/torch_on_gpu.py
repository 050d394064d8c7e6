#!/usr/bin/env python3
"""PyTorch on the GPU beside tenon_bench: a training step of "dense-0.5b" and of "moe-fine", attention and a product.

    python3 bench/torch_on_gpu.py [--only dense,moe,ops] [--steps 5]

The models are plain PyTorch of the shapes in bench/workload_models.cpp: fused attention (SDPA), F.rms_norm, torch's
grouped products where it has them, fused AdamW with bf16 weights (no f32 masters, which Tenon keeps). One JSON line a
figure with the fields of tenon_bench --json; a failure is a line with `error`.
"""
import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn

PEER = f"torch {torch.__version__.split('+')[0]}"
SEQUENCES, LENGTH, VOCABULARY = 8, 2048, 151936


class Rms(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.rms_norm(x, self.weight.shape, self.weight, 1e-6)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.qkv = nn.Linear(c["hidden"], (c["heads"] + 2 * c["kv"]) * c["dim"], bias=c["bias"])
        self.out = nn.Linear(c["heads"] * c["dim"], c["hidden"], bias=False)
        self.norms = nn.ModuleList([Rms(c["dim"]), Rms(c["dim"])]) if c["qk_norm"] else None

    def forward(self, x, cos, sin):
        c = self.c
        q, k, v = self.qkv(x).unflatten(-1, (-1, c["dim"])).transpose(1, 2).split((c["heads"], c["kv"], c["kv"]), 1)
        if self.norms:
            q, k = self.norms[0](q), self.norms[1](k)
        q, k = (t * cos + torch.cat((-t[..., c["dim"] // 2:], t[..., :c["dim"] // 2]), -1) * sin for t in (q, k))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.out(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, hidden, inner):
        super().__init__()
        self.up, self.down = nn.Linear(hidden, 2 * inner, bias=False), nn.Linear(inner, hidden, bias=False)

    def forward(self, x):
        gate, up = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class Experts(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.k = c["top_k"]
        self.router = nn.Linear(c["hidden"], c["experts"], bias=False)
        self.up = nn.Parameter(torch.randn(c["experts"], c["hidden"], 2 * c["expert"]) * 0.02)
        self.down = nn.Parameter(torch.randn(c["experts"], c["expert"], c["hidden"]) * 0.02)
        self.shared = Mlp(c["hidden"], c["expert"])

    def forward(self, x):
        flat = x.flatten(0, 1)
        weights, chosen = self.router(flat).float().sigmoid().topk(self.k)
        weights = weights / weights.sum(-1, keepdim=True)
        order = chosen.flatten().argsort(stable=True)
        ends = torch.bincount(chosen.flatten(), minlength=self.up.shape[0]).cumsum(0).to(torch.int32)
        product = getattr(F, "grouped_mm", None) or torch._grouped_mm
        gate, up = product(flat[order // self.k], self.up, offs=ends).chunk(2, -1)
        y = product(F.silu(gate) * up, self.down, offs=ends) * weights.flatten()[order, None].to(x.dtype)
        return torch.zeros_like(flat).index_add(0, order // self.k, y).view_as(x) + self.shared(x)


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed = nn.Embedding(VOCABULARY, c["hidden"])
        nn.init.normal_(self.embed.weight, std=0.02)
        self.layers = nn.ModuleList()
        for layer in range(c["layers"]):
            dense = not c["experts"] or layer == 0
            self.layers.append(nn.ModuleList([Rms(c["hidden"]), Attention(c), Rms(c["hidden"]),
                                              Mlp(c["hidden"], c["inner"]) if dense else Experts(c)]))
        self.norm = Rms(c["hidden"])

    def forward(self, ids):
        dim = self.c["dim"]
        angle = torch.outer(torch.arange(ids.shape[1]).float(), 1e4 ** (-torch.arange(0, dim, 2).float() / dim)).to(ids.device)
        cos, sin = (torch.cat((t, t), -1).bfloat16() for t in (angle.cos(), angle.sin()))
        x = self.embed(ids)
        for norm1, attention, norm2, mlp in self.layers:
            x = x + attention(norm1(x), cos, sin)
            x = x + mlp(norm2(x))
        hidden, target = self.norm(x)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
        # In chunks that are computed again in the backward: the logits of all tokens are 5 GB, in f32 10.
        part = lambda h, t: F.cross_entropy(F.linear(h, self.embed.weight).float(), t, reduction="sum")
        total = 0
        for h, t in zip(hidden.split(4096), target.split(4096)):
            total = total + torch.utils.checkpoint.checkpoint(part, h, t, use_reentrant=False)
        return total / target.numel()


MODELS = {
    "dense": ("dense-0.5b", dict(hidden=896, layers=24, heads=14, kv=2, dim=64, inner=4864, bias=True, qk_norm=False,
                                 experts=0)),
    "moe": ("moe-fine", dict(hidden=1024, layers=16, heads=16, kv=4, dim=128, inner=4096, bias=False, qk_norm=True,
                             experts=64, top_k=8, expert=512)),
}


def report(what, dtype, shape, samples_ms, **derived):
    median = statistics.median(samples_ms)
    line = dict(what=what, peer=PEER, dtype=dtype, shape=shape, runs=len(samples_ms), median_ms=round(median, 4),
                min_ms=round(min(samples_ms), 4), max_ms=round(max(samples_ms), 4))
    if "tokens" in derived:
        line["tokens_s"] = round(derived["tokens"] / median * 1e3, 1)
    if "flop" in derived:
        line["gflops"] = round(derived["flop"] / median * 1e-6, 1)
    print(json.dumps(line), flush=True)


def samples(call, runs, calls=1):
    out = []
    for run in range(runs + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        torch.cuda.synchronize()
        if run > 1:
            out.append((time.perf_counter() - start) * 1e3 / calls)
    return out


def train(name, config, steps):
    with torch.device("cuda"):
        model = Decoder(config).bfloat16()
        ids = torch.randint(VOCABULARY, (SEQUENCES, LENGTH))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.1, fused=True)

    def step():
        model(ids).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    size = sum(p.numel() for p in model.parameters())
    report("train step", "bf16", f"{name}: {size / 1e6:.1f}M params, {SEQUENCES} x {LENGTH}", samples(step, steps),
           tokens=SEQUENCES * LENGTH)


def ops(steps):
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    report("matmul", "bf16", "8192x8192x8192", samples(lambda: a @ b, steps, 5), flop=2 * 8192**3)
    for causal, kv in ((True, 8), (False, 32)):
        q, k, v = (torch.randn(4, heads, 4096, 128, device="cuda", dtype=torch.bfloat16, requires_grad=True)
                   for heads in (32, kv, kv))
        attend = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
        shape = f"4 x 4096, 32 heads, {kv} of keys, dim 128{', causal' if causal else ''}"
        flop = 4 * 4 * 32 * 4096 * 4096 * 128 / (2 if causal else 1)
        with torch.no_grad():
            report("attention fwd", "bf16", shape, samples(attend, steps, 5), flop=flop)
        y = attend()
        dy = torch.randn_like(y)
        backward = lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True)
        report("attention bwd", "bf16", shape, samples(backward, steps, 5), flop=2.5 * flop)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="dense,moe,ops")
    parser.add_argument("--steps", type=int, default=5)
    args = parser.parse_args()
    for part in args.only.split(","):
        try:
            ops(args.steps) if part == "ops" else train(*MODELS[part], args.steps)
        except Exception as error:  # keep the other figures
            print(json.dumps(dict(what=f"{part} (peer)", peer=PEER, error=f"{type(error).__name__}: {error}"[:200])), flush=True)
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
