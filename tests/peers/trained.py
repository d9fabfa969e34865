"""Attar beside ONNX Runtime and OpenVINO on a trained student and real pairs: what int8 costs, and a batch of uneven pairs.

    trained.py STUDENT PAIRS.tsv --attar BINARY --quantize BINARY --work DIR [--head nli] [--pairs 500] [--batch 64]

STUDENT is a student folder, PAIRS a table with the columns text_a and text_b. Prints the root mean square error of each int8
engine's logits against ONNX Runtime's f32 ones, and the median time of one batch of the first pairs: Attar concatenates them,
ONNX Runtime gets them padded to the longest.
"""
import argparse
import csv
import json
import pathlib
import random
import statistics
import subprocess
import sys
import time
import tomllib
import types

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import model as peers
from worker import onnx_runtime, open_vino


def tensors_of(student, head):
    """The student's tensors under the names that model.py's graph has, the head's copies averaged."""
    toml = tomllib.loads((student / "attar.toml").read_text())
    spec = next(h for h in toml["heads"] if h["name"] == head)
    if spec["layers"] != 1:
        sys.exit(f"head {head} has {spec['layers']} layers, expected 1")
    stored = load_file(student / "model.safetensors")
    out = {}
    for name, value in stored.items():
        if name.startswith("heads."):
            continue
        out[name if name.startswith("pooler") else "bert." + name] = value.astype(np.float32)
    out = {n.replace("pooler", "bert.pooler"): v for n, v in out.items()}
    for part in ("weight", "bias"):
        copies = [stored[f"heads.{head}.{c}.0.{part}"] for c in range(spec["copies"])]
        out["classifier." + part] = np.mean(copies, axis=0).astype(np.float32)
    return out, spec["labels"]


def encode(student, rows):
    tokenizer = Tokenizer.from_file(str(student / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [tokenizer.encode(row["text_a"], row["text_b"]) for row in rows]


def padded(encoded):
    longest = max(len(e.ids) for e in encoded)
    fill = lambda values: np.array([list(v) + [0] * (longest - len(v)) for v in values], np.int64)
    return {"input_ids": fill(e.ids for e in encoded), "attention_mask": fill([1] * len(e.ids) for e in encoded),
            "token_type_ids": fill(e.type_ids for e in encoded)}


def quantise(folder, examples):
    import nncf
    import openvino
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(folder / "f32.onnx", folder / "ort_int8.onnx", per_channel=True, reduce_range=False,
                     weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm", "Gather"])
    quantised = nncf.quantize(openvino.Core().read_model(folder / "f32.onnx"), nncf.Dataset(examples),
                              model_type=nncf.ModelType.TRANSFORMER, subset_size=len(examples))
    openvino.save_model(quantised, folder / "openvino_int8.xml", compress_to_fp16=False)


def attar_logits(a, bundle, table, labels):
    out = subprocess.run([a.attar, "score", "--model", bundle, "--pairs", table, "--head", a.head, "--json"], check=True,
                         stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line) for line in out.splitlines()]
    return np.array([[line["logits"][label] for label in labels] for line in lines]), [line["tokens"] for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=pathlib.Path)
    parser.add_argument("table", type=pathlib.Path)
    parser.add_argument("--attar", required=True)
    parser.add_argument("--quantize", required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--head", default="nli")
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    a = parser.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    config = json.loads((a.student / "config.json").read_text())
    shape = types.SimpleNamespace(layers=config["num_hidden_layers"], hidden=config["hidden_size"],
                                  heads=config["num_attention_heads"])
    with open(a.table, encoding="utf-8") as f:
        rows = list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))[: a.pairs + 64]
    # The last 64 calibrate OpenVINO's static scales and are not measured.
    rows, calibration = rows[:-64], rows[-64:]
    table = a.work / "pairs.tsv"
    table.write_text("text_a\ttext_b\n" + "".join(f"{r['text_a']}\t{r['text_b']}\n" for r in rows), encoding="utf-8")
    tensors, labels = tensors_of(a.student, a.head)
    if not (a.work / "openvino_int8.xml").exists():
        peers.graph(shape, tensors, a.work / "f32.onnx")
        quantise(a.work, [padded([e]) for e in encode(a.student, calibration)])
    bundles = {kind: a.work / f"{kind}.attar" for kind in ("f32", "int8")}
    for kind, bundle in bundles.items():
        if not bundle.exists():
            subprocess.run([a.quantize, a.student, "-o", bundle, "--weights", kind], check=True, stdout=subprocess.DEVNULL)
    encoded = encode(a.student, rows)
    f32 = onnx_runtime(a.work / "f32.onnx", 1)
    expected = np.concatenate([f32(padded([e])) for e in encoded])
    print(f"{len(rows)} pairs of {a.table.name}, head {a.head}: logits of standard deviation {expected.std():.3f}\n")
    print("| engine | logit RMSE against ONNX Runtime f32 | largest error | same label, % |")
    print("|---|---:|---:|---:|")
    found = {}
    for kind, bundle in bundles.items():
        found[f"Attar {kind}"], tokens = attar_logits(a, bundle, table, labels)
        if tokens != [len(e.ids) for e in encoded]:
            sys.exit("attar and tokenizers disagree on the number of tokens")
    for name, load, file in (("ONNX Runtime int8", onnx_runtime, "ort_int8.onnx"),
                             ("OpenVINO int8", open_vino, "openvino_int8.xml")):
        run = load(a.work / file, 1)
        found[name] = np.concatenate([np.array(run(padded([e]))) for e in encoded])
    for name, logits in found.items():
        error = logits - expected
        same = 100 * (logits.argmax(1) == expected.argmax(1)).mean()
        print(f"| {name} | {np.sqrt((error ** 2).mean()):.4f} | {abs(error).max():.3f} | {same:.1f} |", flush=True)
    batch = padded(encoded[: a.batch])
    ort = onnx_runtime(a.work / "ort_int8.onnx", 1)
    ort(batch)

    def attar_ms():
        out = subprocess.run([a.attar, "bench", "--model", bundles["int8"], "--pairs", table, "--batch", str(a.batch),
                              "--head", a.head, "--json"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(out.stdout)["results"][0]["median_ms"]

    def ort_ms():
        times = []
        for _ in range(5):
            began = time.perf_counter()
            ort(batch)
            times.append((time.perf_counter() - began) * 1e3)
        return statistics.median(times)

    seen = {attar_ms: [], ort_ms: []}
    for _ in range(a.rounds):
        for engine in random.sample(list(seen), 2):
            seen[engine].append(engine())
    attar, ort = (statistics.median(seen[e]) for e in (attar_ms, ort_ms))
    lengths = [len(e.ids) for e in encoded[: a.batch]]
    print(f"\n{a.batch} pairs of {min(lengths)} to {max(lengths)} tokens, mean {statistics.mean(lengths):.0f}, one thread: "
          f"Attar {attar:.1f} ms, ONNX Runtime int8, padded, {ort:.1f} ms: {attar / ort:.2f}")


if __name__ == "__main__":
    main()
