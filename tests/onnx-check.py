#!/usr/bin/env python3
"""Holds an ONNX export against the runtime: the same texts through ONNX Runtime and through an f32 bundle.

    attar-quantize STUDENT -o student.onnx
    attar-quantize STUDENT -o student-f32.attar --weights f32
    tests/onnx-check.py student.onnx --tokenizer STUDENT/tokenizer.json --bundle student-f32.attar [--attar target/release/attar]
                        [--pairs PAIRS.tsv] [--rows 200] [--bound 1e-4]

Prints the largest difference of logits for each output and exits with 1 where one is above the bound. The batch is padded
to its longest pair, and in part scored again one by one, so that the mask and both dynamic dimensions are exercised.
Needs onnxruntime, numpy and tokenizers from PyPI.
"""
import argparse
import csv
import json
import subprocess
import sys
import tempfile

import numpy as np
import onnxruntime
import tokenizers

csv.field_size_limit(1 << 30)
TEXTS = [
    ("Where is the SD card?", "The SD card slot is on the underside of the board."),
    ("x", "y"),
    ("A man plays a guitar.", "Somebody makes music, in the street, and a crowd listens to it until the evening."),
    ("What voltage do the GPIO pins take?", "Roses need sun."),
]


def read_pairs(path, rows):
    if path is None:
        return TEXTS
    with open(path, encoding="utf-8", newline="\n") as f:
        found = csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(row["text_a"], row["text_b"]) for row, _ in zip(found, range(rows))]


def runtime_logits(attar, bundle, head, pairs):
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as f:
        f.write("text_a\ttext_b\n" + "".join(f"{a}\t{b}\n" for a, b in pairs))
        f.flush()
        command = [attar, "score", "--json", "--model", bundle, "--head", head, "--pairs", f.name]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
    return np.array([list(json.loads(line)["logits"].values()) for line in out.splitlines()])


def onnx_logits(session, head, tokenizer, pairs):
    encoded = [tokenizer.encode(a, b) for a, b in pairs]
    longest = max(len(e.ids) for e in encoded)
    batch = {"input_ids": [], "attention_mask": [], "token_type_ids": []}
    for e in encoded:
        rest = [0] * (longest - len(e.ids))
        batch["input_ids"].append(e.ids + rest)
        batch["attention_mask"].append([1] * len(e.ids) + rest)
        batch["token_type_ids"].append(e.type_ids + rest)
    return session.run([head], {name: np.array(value, np.int64) for name, value in batch.items()})[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--attar", default="target/release/attar")
    parser.add_argument("--pairs")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--bound", type=float, default=1e-4)
    a = parser.parse_args()
    session = onnxruntime.InferenceSession(a.onnx, providers=["CPUExecutionProvider"])
    tokenizer = tokenizers.Tokenizer.from_file(a.tokenizer)
    tokenizer.no_truncation()
    # Longer pairs are read in windows by the runtime, which ONNX knows nothing of.
    pairs = [p for p in read_pairs(a.pairs, a.rows) if len(tokenizer.encode(*p).ids) <= 512]
    worst = 0.0
    for head in [output.name for output in session.get_outputs()]:
        expected = runtime_logits(a.attar, a.bundle, head, pairs)
        chunks = [pairs[i:i + 16] for i in range(0, len(pairs), 16)]
        got = np.concatenate([onnx_logits(session, head, tokenizer, chunk) for chunk in chunks])
        alone = np.concatenate([onnx_logits(session, head, tokenizer, [pair]) for pair in pairs[:8]])
        difference = max(np.abs(got - expected).max(), np.abs(alone - expected[:8]).max())
        print(f"{head}: {len(pairs)} pairs, logits {expected.min():.3f} to {expected.max():.3f}, "
              f"largest difference {difference:.2e}")
        worst = max(worst, difference)
    return 0 if worst <= a.bound else 1


if __name__ == "__main__":
    sys.exit(main())
