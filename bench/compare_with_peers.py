#!/usr/bin/env python3
"""Tenon and its peers on the same work, in turn, on this machine: a table of medians and ratios.

    python3 bench/compare_with_peers.py --python <python with torch, transformers, trl> [--peers ../shared/peers]
                                        [--only train,decode,grpo] [--gguf FOLDER]

Every line of the table is one piece of work. The peer's script and Tenon's benchmark run one after the other, so that both
see the same machine; each prints JSON lines (what, dtype, shape, median_ms, min_ms, max_ms, tokens_s).
"""
import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def json_lines(command, folder, limit):
    """The JSON lines a command prints; a failure is reported and gives none."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        print(f"# more than {limit} s: {' '.join(map(str, command))}", file=sys.stderr)
        return []
    if done.returncode:
        print(f"# failed: {' '.join(map(str, command))}\n# {done.stderr.strip()[-300:]}", file=sys.stderr)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')]


class Comparison:
    def __init__(self, args):
        self.args = args
        self.rows = []

    def tenon(self, *arguments):
        return json_lines([self.args.bench, *arguments, "--json"], ROOT, self.args.limit)

    def peer(self, script, *arguments):
        return json_lines([self.args.python, script, *arguments], self.args.peers, self.args.limit)

    def add(self, work, ours, theirs, figure="tokens_s"):
        """The best of our lines beside the best of the peer's, by `figure` (higher is better)."""
        def best(lines):
            return max((line for line in lines if figure in line), key=lambda line: line[figure], default=None)
        self.rows.append((work, best(ours), best(theirs), figure))
        self.print_row(*self.rows[-1])

    @staticmethod
    def print_row(work, ours, theirs, figure):
        def cell(line):
            if line is None:
                return "–"
            return f"{line[figure]:,.0f} ({line['dtype']}, {line['min_ms']:.0f}–{line['max_ms']:.0f} ms)"
        ratio = f"{ours[figure] / theirs[figure]:.2f}" if ours and theirs else "–"
        print(f"| {work} | {cell(ours)} | {cell(theirs)} | {ratio} |", flush=True)

    def train(self):
        for model in ("dense10m", "smollm2-135m", "moe-small"):
            theirs = [line for mode in ("bf16", "f32") for line in self.peer("train_hf.py", "--model", model, "--mode", mode)]
            ours = [line for dtype in ("bf16", "f32") for line in self.tenon("train_step", "--model", model, "--dtype", dtype)]
            self.add(f"training step, {model}, tokens/s", ours, theirs)

    def decode(self):
        for batch in ("1", "32"):
            theirs = []
            for kind in ("f16", "bf16"):
                file = Path(self.args.gguf) / f"smollm2-{kind}.gguf"
                if not file.exists():
                    json_lines([self.args.python, "make_gguf.py", "-", file, kind], self.args.peers, self.args.limit)
                lines = self.peer("decode_llamacpp.py", "--batch", batch, "--model", str(file))
                theirs += [line for line in lines if line["what"].startswith("decode")]
            self.add(f"decoding, smollm2-135m, batch {batch}, tokens/s", self.tenon("decode", "--batch", batch), theirs)

    def grpo(self):
        for model, beta in (("dense10m", "0"), ("smollm2-135m", "0.04")):
            theirs = self.peer("grpo_trl.py", "time", "--model", model, "--dtype", "bf16", "--beta", beta, "--steps", "3")
            ours = self.tenon("grpo_step", "--model", model, "--dtype", "bf16", "--beta", beta)
            self.add(f"GRPO step, {model}, beta {beta}, tokens/s", ours, theirs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="python3", help="a Python with torch, transformers, trl and llama-cpp-python")
    parser.add_argument("--peers", default=str(ROOT.parent / "shared" / "peers"), help="folder of the peers' scripts")
    parser.add_argument("--bench", default=str(ROOT / "build" / "tenon_bench"))
    parser.add_argument("--gguf", default="/tmp", help="where llama.cpp's weight files are kept")
    parser.add_argument("--only", default="train,decode,grpo")
    parser.add_argument("--limit", type=int, default=600, help="seconds one command may take")
    args = parser.parse_args()
    comparison = Comparison(args)
    print("| work | Tenon | peer | ratio |\n|---|---|---|---|")
    for part in args.only.split(","):
        getattr(comparison, part)()


if __name__ == "__main__":
    main()
