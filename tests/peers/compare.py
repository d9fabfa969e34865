"""Times attar beside its peers, interleaved, and prints a Markdown table of medians.

    compare.py MODELS --attar BINARY --bundle FILE [--lengths 16,32,...] [--threads 1] [--rounds 7] [--kernel NAME]
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys


class Worker:
    def __init__(self, engine, model, threads):
        here = pathlib.Path(__file__).parent
        self.process = subprocess.Popen([sys.executable, here / "worker.py", engine, model, str(threads)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"{engine} did not start; run worker.py by hand to see why")

    def times(self, batch, tokens, repeats):
        self.process.stdin.write(f"{batch} {tokens} {repeats}\n")
        self.process.stdin.flush()
        return [float(t) for t in self.process.stdout.readline().split()]


class Attar:
    def __init__(self, binary, bundle, threads, kernel):
        self.command = [binary, "bench", "--model", bundle, "--threads", str(threads), "--json"]
        self.environment = dict(os.environ, **({"ATTAR_KERNEL": kernel} if kernel else {}))

    def times(self, batch, tokens, repeats):
        out = subprocess.run(self.command + ["--lengths", str(tokens), "--batch", str(batch)], check=True,
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.environment)
        return [json.loads(out.stdout)["results"][0]["median_ms"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=pathlib.Path)
    parser.add_argument("--attar", required=True)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--lengths", default="16,32,64,128,256")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kernel", default="")
    a = parser.parse_args()
    engines = {
        "Attar int8": Attar(a.attar, a.bundle, a.threads, a.kernel),
        "OpenVINO int8": Worker("openvino", a.models / "openvino_int8.xml", a.threads),
        "ONNX Runtime int8": Worker("ort", a.models / "ort_int8.onnx", a.threads),
        "ONNX Runtime f32": Worker("ort", a.models / "f32.onnx", a.threads),
    }
    print("| batch x tokens | " + " | ".join(engines) + " | Attar / best int8 peer |")
    print("|---|" + "---:|" * (len(engines) + 1))
    for batch, tokens in [(1, int(n)) for n in a.lengths.split(",")] + [(16, 128)]:
        seen = {name: [] for name in engines}
        for _ in range(a.rounds):
            for name in random.sample(list(engines), len(engines)):
                seen[name] += engines[name].times(batch, tokens, 15 if batch == 1 else 3)
        medians = {name: statistics.median(times) for name, times in seen.items()}
        best = min(medians["OpenVINO int8"], medians["ONNX Runtime int8"])
        cells = " | ".join(f"{medians[name]:.2f}" for name in engines)
        print(f"| {batch}x{tokens} | {cells} | {medians['Attar int8'] / best:.2f} |", flush=True)


if __name__ == "__main__":
    main()
