#!/usr/bin/env bash
# Labels 7,128 pairs once in one process and once with two Ray workers, and compares the bytes.
#
#   examples/label-on-ray/run.sh        needs python3 with `pip install ray==2.60.0`, and cargo or ATTAR_TRAIN=PROGRAM
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
if [ -z "${ATTAR_TRAIN:-}" ]; then
  cargo build --release -q -p attar-trainer
  ATTAR_TRAIN=target/release/attar-train
fi
ATTAR_TRAIN=$(realpath "$ATTAR_TRAIN")

# A teacher that trains in seconds, and every premise of the tiny data with other rows' hypotheses.
"$ATTAR_TRAIN" run examples/train-tiny.toml -o "$folder/tiny" --quiet >/dev/null
python3 - examples/tiny/nli_train.tsv "$folder/pairs.tsv" <<'PY'
import sys
rows = [line.rstrip("\n").split("\t") for line in open(sys.argv[1], encoding="utf-8")]
a, b = rows[0].index("text_a"), rows[0].index("text_b")
premises, hypotheses = sorted({row[a] for row in rows[1:]}), sorted({row[b] for row in rows[1:]})
pairs = [(p, h) for p in premises for h in hypotheses]
with open(sys.argv[2], "w", encoding="utf-8") as f:
    f.write("id\ttext_a\ttext_b\n" + "".join(f"{i}\t{p}\t{h}\n" for i, (p, h) in enumerate(pairs)))
PY

label=("$ATTAR_TRAIN" label --teacher "$folder/tiny/student" --kind classifier --head nli --data "$folder/pairs.tsv" --threads 1)
"${label[@]}" -o "$folder/one" --quiet
echo "one process: $(ls "$folder/one" | wc -l) shards"
"${PYTHON:-python3}" examples/label-on-ray/label.py --workers 2 -- "${label[@]}" -o "$folder/ray" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
diff -r "$folder/one" "$folder/ray"
echo "two Ray workers: $(ls "$folder/ray" | wc -l) shards, the same bytes"
