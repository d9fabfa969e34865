#!/usr/bin/env python3
"""Training speed beside PyTorch's: the same full steps (forward, backward, clipping, AdamW; batch 32, rows of full length).

    python3 trainer/nn/benches/pytorch.py --install FOLDER [--threads 2] [--steps 6] [--rounds 4] [--precision f32|bf16]

--install makes a virtual environment with PyTorch in FOLDER, unless it is there, and goes on in it; without it, the present
python3 must have PyTorch. Ours is `cargo run --release -p attar-nn --example speed`. The two take turns, a round is one turn
of each at one shape, and a turn counts its best step, because other work on the machine only ever adds time. Ratios are ours
to theirs of the same round, above 1 where ours is faster: the median, the least and the greatest over the rounds; by the
best step, and by CPU time, which is what is left to compare where other work never lets a step run by itself. There,
OMP_WAIT_POLICY=passive keeps PyTorch's threads from spinning while they wait, which would count as work.
"""

import argparse
import contextlib
import importlib.util
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time
import venv

ROWS = 32
SHAPES = {"4 x 256": (4, 256, 4, 1024), "MiniLM-L6": (6, 384, 12, 1536)}
LENGTHS = (64, 128)
VOCABULARY = 30522


def ours(name, tokens, arguments):
    """Examples a second of the best step, and CPU ms of a step."""
    root = pathlib.Path(__file__).resolve().parents[3]
    command = ["cargo", "run", "--release", "-q", "-p", "attar-nn", "--example", "speed", "--", "--only", f"{name}@{tokens}"]
    command += ["--threads", str(arguments.threads), "--steps", str(arguments.steps), "--precision", arguments.precision]
    output = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = re.search(rf"^{re.escape(name)} +{tokens} +[\d.]+ +([\d.]+) +[\d.]+ +[\d.]+ +[\d.]+ +([\d.]+)", output, re.M)
    if not found:
        sys.exit(f"pytorch.py: no line for {name} at {tokens} tokens from the example speed:\n{output}")
    return float(found.group(1)), float(found.group(2))


def pytorch(arguments):
    """What makes a model of a shape and returns a function that trains one turn at a length."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(arguments.threads)

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

    def computing():
        return torch.autocast("cpu", torch.bfloat16) if arguments.precision == "bf16" else contextlib.nullcontext()

    def trainer(shape, tokens):
        torch.manual_seed(1)
        model = Bert(*shape).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01)
        labels = torch.arange(ROWS) % 3
        types = (torch.arange(tokens) > tokens // 2).long().expand(ROWS, tokens)

        def turn():
            best = float("inf")
            for step in range(arguments.steps):
                if step == 1:  # as the example: the first step also pays for fresh memory
                    cpu = time.process_time()
                # Zipf's law roughly, as the example has it.
                ids = 1000 + (29000 ** torch.rand(ROWS, tokens)).long()
                begun = time.perf_counter()
                with computing():
                    loss = functional.cross_entropy(model(ids, types), labels)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                best = min(best, time.perf_counter() - begun)
                assert loss.isfinite(), "the loss is not finite"
            return ROWS / best, (time.process_time() - cpu) / (arguments.steps - 1) * 1e3

        return turn

    return torch.__version__, trainer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6, help="of a turn, at least 2")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--install", metavar="FOLDER", help="use the virtual environment there; make it with PyTorch first")
    arguments = parser.parse_args()
    arguments.steps = max(arguments.steps, 2)
    if arguments.install:
        python = pathlib.Path(arguments.install).absolute() / "bin" / "python"
        if not python.exists():
            venv.create(arguments.install, with_pip=True)
        if subprocess.run([python, "-c", "import torch, numpy"], stderr=subprocess.DEVNULL).returncode:
            subprocess.run([python, "-m", "pip", "install", "-q", "torch", "numpy"], check=True)
        given = [a for name in ("threads", "steps", "rounds", "precision") for a in (f"--{name}", str(getattr(arguments, name)))]
        os.execv(python, [str(python), __file__, *given])
    if not importlib.util.find_spec("torch"):
        sys.exit("pytorch.py: PyTorch is not installed; --install FOLDER makes a virtual environment with it")
    # Built before anything is timed.
    subprocess.run(["cargo", "build", "--release", "-q", "-p", "attar-nn", "--example", "speed"],
                   cwd=pathlib.Path(__file__).resolve().parent, check=True)
    version, trainer = pytorch(arguments)
    waiting = os.environ.get("OMP_WAIT_POLICY", "not set")
    print(f"{arguments.threads} threads, batch {ROWS}, {arguments.precision}, {arguments.rounds} rounds; "
          f"OMP_WAIT_POLICY {waiting}; load average at the start {os.getloadavg()[0]:.1f}\n")
    print(f"| | Attar, examples/s | PyTorch {version}, examples/s | ratio by best step | ratio by CPU time |")
    print("|---|---:|---:|---|---|")
    middle = statistics.median
    for name, shape in SHAPES.items():
        for tokens in LENGTHS:
            turn = trainer(shape, tokens)
            rounds = [(*ours(name, tokens, arguments), *turn()) for _ in range(arguments.rounds)]
            speeds = [(a, b) for a, _, b, _ in rounds]
            ratios = [[a / b for a, b in speeds], [b / a for _, a, _, b in rounds]]
            cells = [f"{middle(column):.1f}" for column in zip(*speeds)]
            cells += [f"{middle(r):.2f} ({min(r):.2f} to {max(r):.2f})" for r in ratios]
            print(f"| {name}, {tokens} tokens | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
