#!/usr/bin/env python3
"""Training speed beside PyTorch's: the same full steps (forward, backward, clipping, AdamW; f32, batch 32, rows of full length).

    python3 trainer/nn/benches/pytorch.py [--threads 2] [--steps 6] [--install FOLDER]

Ours comes from `cargo run --release -p attar-nn --example speed`. PyTorch is measured where it is installed; --install makes a
virtual environment in FOLDER with it first. Both print the best step, because other work on the machine only ever adds time.
Only our half has been run so far: the machine this was written on had no PyTorch.
"""

import argparse
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import time
import venv

ROWS = 32
SHAPES = {"4 x 256": (4, 256, 4, 1024), "MiniLM-L6": (6, 384, 12, 1536)}
LENGTHS = (64, 128)
VOCABULARY = 30522


def ours(threads, steps):
    """Examples a second by (model, tokens)."""
    root = pathlib.Path(__file__).resolve().parents[3]
    command = ["cargo", "run", "--release", "-q", "-p", "attar-nn", "--example", "speed", "--"]
    command += ["--threads", str(threads), "--steps", str(steps)]
    output = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = re.findall(r"^(4 x 256|MiniLM-L6) +(\d+) +([\d.]+) +([\d.]+)", output, re.M)
    if len(lines) != len(SHAPES) * len(LENGTHS):
        sys.exit(f"pytorch.py: {len(lines)} lines from the example speed, expected {len(SHAPES) * len(LENGTHS)}:\n{output}")
    return {(name, int(tokens)): float(speed) for name, tokens, _, speed in lines}


def pytorch(threads, steps):
    """The same for PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(threads)

    class Layer(nn.Module):
        def __init__(self, hidden, heads, inner):
            super().__init__()
            self.heads = heads
            self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
            self.up, self.down = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
            self.norm1, self.norm2 = nn.LayerNorm(hidden, eps=1e-12), nn.LayerNorm(hidden, eps=1e-12)
            self.drop = nn.Dropout(0.1)

        def forward(self, x):
            b, s, h = x.shape
            q, k, v = self.qkv(x).view(b, s, 3, self.heads, h // self.heads).permute(2, 0, 3, 1, 4)
            context = functional.scaled_dot_product_attention(q, k, v, dropout_p=0.1)
            x = self.norm1(x + self.drop(self.out(context.transpose(1, 2).reshape(b, s, h))))
            return self.norm2(x + self.drop(self.down(functional.gelu(self.up(x)))))

    class Bert(nn.Module):
        def __init__(self, layers, hidden, heads, inner):
            super().__init__()
            self.word, self.position = nn.Embedding(VOCABULARY, hidden), nn.Embedding(512, hidden)
            self.types, self.norm = nn.Embedding(2, hidden), nn.LayerNorm(hidden, eps=1e-12)
            self.layers = nn.Sequential(*[Layer(hidden, heads, inner) for _ in range(layers)])
            self.pooler, self.head, self.drop = nn.Linear(hidden, hidden), nn.Linear(hidden, 3), nn.Dropout(0.1)

        def forward(self, ids, types):
            places = torch.arange(ids.shape[1])
            x = self.drop(self.norm(self.word(ids) + self.position(places) + self.types(types)))
            return self.head(self.drop(torch.tanh(self.pooler(self.layers(x)[:, 0]))))

    speeds = {}
    for name, shape in SHAPES.items():
        for tokens in LENGTHS:
            torch.manual_seed(1)
            model = Bert(*shape).train()
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)
            labels = torch.arange(ROWS) % 3
            types = (torch.arange(tokens) > tokens // 2).long().expand(ROWS, tokens)
            best = float("inf")
            for _ in range(steps):
                # Zipf's law roughly, as the example has it.
                ids = 1000 + (29000 ** torch.rand(ROWS, tokens)).long()
                begun = time.perf_counter()
                loss = functional.cross_entropy(model(ids, types), labels)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                best = min(best, time.perf_counter() - begun)
                assert loss.isfinite(), "the loss is not finite"
            speeds[name, tokens] = ROWS / best
    return torch.__version__, speeds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--install", metavar="FOLDER", help="make a virtual environment with PyTorch there first")
    arguments = parser.parse_args()
    if arguments.install:
        python = pathlib.Path(arguments.install).absolute() / "bin" / "python"
        if not python.exists():
            venv.create(arguments.install, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "torch", "numpy"], check=True)
        os.execv(python, [str(python), __file__, "--threads", str(arguments.threads), "--steps", str(arguments.steps)])
    mine = ours(arguments.threads, arguments.steps)
    if importlib.util.find_spec("torch"):
        version, theirs = pytorch(arguments.threads, arguments.steps)
        title = f"PyTorch {version}"
    else:
        theirs, title = {}, "PyTorch"
        print("pytorch.py: PyTorch is not installed; --install FOLDER makes an environment with it", file=sys.stderr)
    print(f"| {arguments.threads} threads, batch {ROWS}, f32, examples a second | Attar | {title} | ratio |\n|---|---:|---:|---:|")
    for (name, tokens), speed in mine.items():
        other = theirs.get((name, tokens))
        cells = (f"{other:.1f}", f"{speed / other:.2f}") if other else ("not installed", "")
        print(f"| {name}, {tokens} tokens | {speed:.1f} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
