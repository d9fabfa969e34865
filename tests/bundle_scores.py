"""What the scripts that measure a bundle share: reading the sets and running `attar score --pairs`. Standard library only."""
import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time

csv.field_size_limit(1 << 30)
NLI = {"entailment": "entailment", "neutral": "neutral", "contradiction": "contradiction"}
TWO_WAY = {"entailment": "entailment", "not_entailment": "not_entailment"}
RELEVANCE = {"entailment": "relevant", "not_entailment": "not_relevant", "1": "relevant", "0": "not_relevant"}


def options(description):
    """The options of every such script."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--attar", default="target/release/attar")
    parser.add_argument("--model", help="a bundle; without it the one compiled into the binary")
    parser.add_argument("--limit", type=int, default=0, help="only the first N rows of a set")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="only the sets whose path contains this")
    parser.add_argument("--json", action="store_true")
    return parser


def check_data(folder):
    if not os.path.isdir(folder):
        sys.exit(f"{folder}: no such folder; expected one that holds mnli/dev_matched.tsv and the like")


def show(arguments, name, result):
    """Prints a set's result, or that it is not there (`None`)."""
    if arguments.json:
        print(json.dumps({"set": name, **(result or {"skipped": True})}), flush=True)
    elif result is None:
        print(f"{name:34} skipped: not in {arguments.data}", flush=True)
    else:
        print(f"{name:34} " + "  ".join(f"{k} {v}" for k, v in result.items()), flush=True)


def read_text(path):
    """The file's text; `path` or `path.zst`, None where neither exists."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            return f.read()
    if os.path.exists(path + ".zst"):
        return subprocess.run(["zstd", "-dc", path + ".zst"], check=True, stdout=subprocess.PIPE).stdout.decode("utf-8")
    return None


def read_tsv(path):
    text = read_text(path)
    if text is None:
        return None
    return list(csv.DictReader(text.split("\n"), delimiter="\t", quoting=csv.QUOTE_NONE))


def read_jsonl(path):
    text = read_text(path)
    return None if text is None else [json.loads(line) for line in text.split("\n") if line.strip()]


class Attar:
    def __init__(self, arguments):
        self.command = [arguments.attar, "score", "--json", "--threads", str(arguments.threads)]
        if arguments.model:
            self.command += ["--model", arguments.model]
        # A wrong --attar or --model is told before any set is read.
        self.output([arguments.attar, "info"] + ([arguments.model] if arguments.model else []))

    @staticmethod
    def output(command):
        """What the command prints; ends the program where it fails."""
        try:
            out = subprocess.run(command, stdout=subprocess.PIPE)
        except OSError as error:
            sys.exit(f"{command[0]}: {error.strerror}; expected the program attar (--attar; cargo build --release -p attar-cli)")
        if out.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit code {out.returncode}, its message is above")
        return out.stdout.decode("utf-8")

    def score(self, head, pairs):
        """Scores (text_a, text_b) pairs; returns one object a pair, and the seconds it took."""
        with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as f:
            f.write("id\ttext_a\ttext_b\n")
            f.writelines(f"{i}\t{a}\t{b}\n" for i, (a, b) in enumerate(pairs))
            f.flush()
            began = time.monotonic()
            out = self.output(self.command + ["--head", head, "--pairs", f.name])
            seconds = time.monotonic() - began
        objects = [json.loads(line) for line in out.splitlines()]
        if len(objects) != len(pairs):
            sys.exit(f"attar score gave {len(objects)} objects for {len(pairs)} pairs")
        return objects, seconds


def accuracy(attar, rows, head, gold):
    rows = [r for r in rows if r["label"] in gold and r["text_a"].strip() and r["text_b"].strip()]
    scored, seconds = attar.score(head, [(r["text_a"], r["text_b"]) for r in rows])
    right = sum(s["label"] == gold[r["label"]] for r, s in zip(rows, scored))
    return {"n": len(rows), "accuracy": round(100 * right / len(rows), 2), "pairs_per_second": round(len(rows) / seconds)}
