#!/usr/bin/env python3
"""Prints what teachers say to pairs whose second text has the words of the first, in another order or with some replaced.

    tests/overlap-labels.py PAIRS.tsv LABELS...

PAIRS.tsv is what `[[pairs]]` with `reword` built (`SHARED/pairs/pairs-NAME-HASH.tsv`), LABELS the teachers' folders of soft labels
(`SHARED/labels/NAME-HASH`). Needs pyarrow (`pip install pyarrow`).
"""

import pathlib
import sys
from collections import Counter

if len(sys.argv) < 3:
    sys.exit(__doc__)
try:
    import pyarrow.parquet as parquet
except ImportError:
    sys.exit("overlap-labels.py: pyarrow is missing: pip install pyarrow")


def kind(first, second):
    first, second = ([word.strip(".,!?\"'();:") for word in text.lower().split()] for text in (first, second))
    if first != second and sorted(first) == sorted(second):
        return "two words exchanged"
    if len(first) == len(second) and sum(a == b for a, b in zip(first, second)) >= 0.4 * len(first):
        return "words replaced"
    return "other"


def labels_of(folder, ids):
    """The most likely label of each row, out of the data set's folder that has these rows."""
    for head in sorted(folder.glob("*/*")):
        shards = sorted(head.glob("shard-*.parquet"))
        if sum(parquet.ParquetFile(shard).metadata.num_rows for shard in shards) != len(ids):
            continue
        tables = [parquet.read_table(shard).to_pydict() for shard in shards]
        if [i for table in tables for i in table["id"]] != ids:
            continue
        names = [name for name in tables[0] if name not in ("row", "id")]
        return [max(zip(row, names))[1] for table in tables for row in zip(*(table[name] for name in names))]
    sys.exit(f"overlap-labels.py: {folder}: no soft labels of these {len(ids)} pairs")


try:
    with open(sys.argv[1], encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
except OSError as error:
    sys.exit(f"overlap-labels.py: {error}")
rows = [row for row in rows if row[-1] == "reworded" and len(row) == 5]
if not rows:
    sys.exit(f"overlap-labels.py: {sys.argv[1]}: no reworded pairs; expected id, text_a, text_b, label, kind as `[[pairs]]` writes them")
kinds = [kind(row[1], row[2]) for row in rows]
for folder in map(pathlib.Path, sys.argv[2:]):
    labels = labels_of(folder, [row[0] for row in rows])
    for name, count in Counter(kinds).items():
        said = Counter(label for label, of in zip(labels, kinds) if of == name)
        shares = ", ".join(f"{label} {100 * said[label] / count:.1f} %" for label in sorted(said))
        print(f"{folder.name}: {name}, {count} pairs: {shares}")
