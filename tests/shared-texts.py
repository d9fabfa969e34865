#!/usr/bin/env python3
"""Counts what files of training pairs share with the sets that are measured on: whole pairs, in either order, and single texts.

    tests/shared-texts.py --data DATA [--where COLUMN=VALUE] FILE...

DATA holds mnli/dev_matched.tsv, mnli/dev_mismatched.tsv, snli/dev.tsv and snli/test.tsv, plain or as .zst; a FILE has a header with
text_a and text_b, such as mnli/train_subset.tsv or pairs that `attar-train run` built; of one that has the COLUMN, rows with VALUE
in it. Letters and digits count, in lower case.
"""
import argparse
import pathlib
import subprocess
import sys

MEASURED = ["mnli/dev_matched.tsv", "mnli/dev_mismatched.tsv", "snli/dev.tsv", "snli/test.tsv"]


def rows(path, where=None):
    if not path.exists() and path.with_name(path.name + ".zst").exists():
        path = path.with_name(path.name + ".zst")
    if not path.exists():
        sys.exit(f"{path}: no such file, plain or with .zst")
    raw = subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout if path.suffix == ".zst" else path.read_bytes()
    lines = raw.decode().rstrip("\n").split("\n")
    columns = lines[0].split("\t")
    if not {"text_a", "text_b"} <= set(columns):
        sys.exit(f"{path}:1: columns {', '.join(columns)}; expected text_a and text_b among them")
    a, b = columns.index("text_a"), columns.index("text_b")
    name, _, value = (where or "").partition("=")
    at = columns.index(name) if name in columns else None
    for line in lines[1:]:
        fields = line.split("\t")
        if at is not None and fields[at] != value:
            continue
        yield normal(fields[a]), normal(fields[b])


def normal(text):
    return "".join(c for c in text.lower() if c.isalnum())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--where", metavar="COLUMN=VALUE")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    measured = {name: list(rows(args.data / name)) for name in MEASURED}
    for file in args.files:
        pairs = set(rows(file, args.where))
        texts = {text for pair in pairs for text in pair}
        print(f"{file}: {len(pairs)} different pairs")
        for name, of_set in measured.items():
            whole = sum(pair in pairs or pair[::-1] in pairs for pair in of_set)
            first, second = ({pair[side] for pair in of_set} for side in (0, 1))
            print(
                f"  {name}: {whole} of {len(of_set)} pairs, {len(first & texts)} of {len(first)} first texts, "
                f"{len(second & texts)} of {len(second)} second texts"
            )


main()
