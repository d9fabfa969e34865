#!/usr/bin/env python3
"""Training speed beside PyTorch's: the same full steps (forward, backward, clipping, AdamW; rows of full length).

    python3 trainer/nn/benches/pytorch.py [--install FOLDER] [--device cpu|cuda] [--precision f32|bf16] [--program FILE]
        [--threads 2] [--steps 6] [--rounds 4] [--rows 32] [--shapes NAME,...] [--lengths 64,128]

--install makes a virtual environment with PyTorch in FOLDER, unless it is there, and goes on in it; without it, the present
python3 must have PyTorch. Ours is `cargo run --release -p attar-nn --example speed`, on a GPU with `--features cuda`, or with
--program that program as it is, and no cargo. The two take turns, a round is one turn of each at one shape, and a turn counts
its best step, because other work on the machine only ever adds time. Ratios are ours to theirs of the same round, above 1
where ours is faster: the median, the least and the greatest over the rounds; by the best step, and on the CPU by CPU time,
which is what is left to compare where other work never lets a step run by itself. There, OMP_WAIT_POLICY=passive keeps
PyTorch's threads from spinning while they wait, which would count as work.

On a GPU there is no ratio by CPU time, which would count waiting for it, and BERT-base is one more shape. PyTorch has TF32
for f32 matrix products, as ours has, and its fused AdamW; it runs eagerly, without torch.compile or CUDA graphs. Both wait for
the GPU before each reading of the clock, and ours reads it twice more within a step. Each turn of ours is a new process, whose
first steps load kernels; steps are short there, so that a turn can well have more of them (--steps 30).
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

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Those of the example.
SHAPES = {"4 x 256": (4, 256, 4, 1024), "MiniLM-L6": (6, 384, 12, 1536), "BERT-base": (12, 768, 12, 3072)}
LENGTHS = ("64", "128")
VOCABULARY = 30522


def cargo(verb, arguments):
    features = ["--features", "cuda"] if arguments.device == "cuda" else []
    return ["cargo", verb, "--release", "-q", "-p", "attar-nn", *features, "--example", "speed"]


def ours(name, tokens, arguments):
    """Examples a second of the best step, and CPU ms of a step."""
    command = [os.path.abspath(arguments.program)] if arguments.program else [*cargo("run", arguments), "--"]
    command += ["--only", f"{name}@{tokens}", "--device", arguments.device, "--precision", arguments.precision]
    command += [a for option in ("threads", "steps", "rows") for a in (f"--{option}", str(getattr(arguments, option)))]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = re.search(rf"^{re.escape(name)} +{tokens} +[\d.]+ +([\d.]+)(?: +[\d.]+){{3}} +([\d.]+|unknown)", output, re.M)
    if not found:
        sys.exit(f"pytorch.py: no line for {name} at {tokens} tokens from the example speed:\n{output}")
    return float(found.group(1)), float(found.group(2).replace("unknown", "nan"))


def pytorch(arguments):
    """PyTorch's version, the device's name, and what makes a model of a shape and returns a function that trains one turn."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(arguments.threads)
    device, rows, cuda = arguments.device, arguments.rows, arguments.device == "cuda"
    if cuda and not torch.cuda.is_available():
        sys.exit(f"pytorch.py: PyTorch {torch.__version__} finds no GPU")
    if cuda:
        torch.backends.cuda.matmul.allow_tf32 = True
    synchronize = torch.cuda.synchronize if cuda else lambda: None

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
            places = torch.arange(ids.shape[1], device=ids.device)
            x = self.drop(self.norm(self.word(ids) + self.position(places) + self.types(types)))
            return self.head(self.drop(torch.tanh(self.pooler(self.layers(x)[:, 0]))))

    def computing():
        return torch.autocast(device, torch.bfloat16) if arguments.precision == "bf16" else contextlib.nullcontext()

    def trainer(shape, tokens):
        torch.manual_seed(1)
        model = Bert(*shape).to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.01, fused=cuda)
        labels = torch.arange(rows, device=device) % 3
        types = (torch.arange(tokens, device=device) > tokens // 2).long().expand(rows, tokens)

        def turn():
            best = float("inf")
            for step in range(arguments.steps):
                if step == 1:  # as the example: the first step also pays for fresh memory
                    cpu = time.process_time()
                # Zipf's law roughly, as the example has it.
                ids = 1000 + (29000 ** torch.rand(rows, tokens, device=device)).long()
                synchronize()
                begun = time.perf_counter()
                with computing():
                    loss = functional.cross_entropy(model(ids, types), labels)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                synchronize()
                best = min(best, time.perf_counter() - begun)
                assert loss.isfinite(), "the loss is not finite"
            return rows / best, (time.process_time() - cpu) / (arguments.steps - 1) * 1e3

        return turn

    return torch.__version__, torch.cuda.get_device_name() if cuda else "CPU", trainer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--program", metavar="FILE", help="the example speed, built; without it cargo builds and runs it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6, help="of a turn, at least 2")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rows", type=int, default=32, help="of a batch")
    parser.add_argument("--shapes", metavar="NAME,...", help=f"of {', '.join(SHAPES)}; all, but BERT-base only on a GPU")
    parser.add_argument("--lengths", metavar="N,...", default=",".join(LENGTHS), help="of rows, in tokens; of 64 and 128")
    parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    parser.add_argument("--install", metavar="FOLDER", help="use the virtual environment there; make it with PyTorch first")
    arguments = parser.parse_args()
    arguments.steps, arguments.rows = max(arguments.steps, 2), max(arguments.rows, 1)
    cuda = arguments.device == "cuda"
    shapes = arguments.shapes.split(",") if arguments.shapes else [name for name in SHAPES if name != "BERT-base" or cuda]
    lengths = arguments.lengths.split(",")
    if unknown := [name for name in shapes if name not in SHAPES] + [n for n in lengths if n not in LENGTHS]:
        parser.error(f"no such shape or length: {', '.join(unknown)}")
    if arguments.install:
        python = pathlib.Path(arguments.install).absolute() / "bin" / "python"
        if not python.exists():
            venv.create(arguments.install, with_pip=True)
        if subprocess.run([python, "-c", "import torch, numpy"], stderr=subprocess.DEVNULL).returncode:
            subprocess.run([python, "-m", "pip", "install", "-q", "torch", "numpy"], check=True)
        given = [f"--{name}={value}" for name, value in vars(arguments).items() if name != "install" and value is not None]
        os.execv(python, [str(python), __file__, *given])
    if not importlib.util.find_spec("torch"):
        sys.exit("pytorch.py: PyTorch is not installed; --install FOLDER makes a virtual environment with it")
    if not arguments.program:  # built before anything is timed
        subprocess.run(cargo("build", arguments), cwd=ROOT, check=True)
    version, device, trainer = pytorch(arguments)
    waiting = "" if cuda else f"OMP_WAIT_POLICY {os.environ.get('OMP_WAIT_POLICY', 'not set')}; "
    print(f"{device}, {arguments.threads} threads, batch {arguments.rows}, {arguments.precision}, {arguments.rounds} rounds of "
          f"{arguments.steps} steps; {waiting}load average at the start {os.getloadavg()[0]:.1f}\n")
    ratio_by = ["best step"] if cuda else ["best step", "CPU time"]
    print(f"| | Attar, examples/s | PyTorch {version}, examples/s |{''.join(f' ratio by {what} |' for what in ratio_by)}")
    print(f"|---|---:|---:|{'---|' * len(ratio_by)}", flush=True)
    middle = statistics.median
    for name in shapes:
        for tokens in map(int, lengths):
            turn = trainer(SHAPES[name], tokens)
            rounds = [(*ours(name, tokens, arguments), *turn()) for _ in range(arguments.rounds)]
            speeds = [(a, b) for a, _, b, _ in rounds]
            ratios = [[a / b for a, b in speeds]] + ([] if cuda else [[b / a for _, a, _, b in rounds]])
            cells = [f"{middle(column):.1f}" for column in zip(*speeds)]
            cells += [f"{middle(r):.2f} ({min(r):.2f} to {max(r):.2f})" for r in ratios]
            print(f"| {name}, {tokens} tokens | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
