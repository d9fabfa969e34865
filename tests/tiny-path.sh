#!/usr/bin/env bash
# The whole path on a tiny student, in seconds: attar-train, attar-quantize, attar; and what a bad bundle gets.
# ATTAR_BIN names a folder that has the three programs already, such as target/debug after `cargo test --workspace`.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
run() {
  local package=$1 binary=$2; shift 2
  if [ -n "${ATTAR_BIN:-}" ]; then "$ATTAR_BIN/$binary" "$@"; else cargo run -q -p "$package" --bin "$binary" -- "$@"; fi
}

echo "train"
run attar-trainer attar-train run examples/train-tiny.toml -o "$folder/run" --quiet
echo "quantize"
run attar-quantize attar-quantize "$folder/run/student" -o "$folder/tiny.attar" --weights int8 \
  --check examples/tiny/nli_dev.tsv --head nli --max-drop 3
echo "score"
run attar-cli attar score --model "$folder/tiny.attar" --head nli --pairs examples/tiny/nli_dev.tsv --json >"$folder/scores"
python3 - "$folder/scores" examples/tiny/nli_dev.tsv <<'PY'
import json, sys
scores = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
rows = [line.rstrip("\n").split("\t") for line in open(sys.argv[2], encoding="utf-8")][1:]
assert len(scores) == len(rows), (len(scores), len(rows))
right = sum(s["id"] == r[0] and s["label"] == r[3] for s, r in zip(scores, rows))
print(f"accuracy {100 * right / len(rows):.1f} % of {len(rows)} rows")
assert right >= 0.9 * len(rows), "a tiny student learns these rows almost perfectly; expected 90 %"
PY

echo "a truncated bundle"
head -c 20000 "$folder/tiny.attar" >"$folder/truncated.attar"
code=0; run attar-cli attar info "$folder/truncated.attar" 2>"$folder/error" || code=$?
cat "$folder/error"
[ "$code" = 2 ] && grep -q "truncated.attar" "$folder/error" || { echo "expected exit 2 and the file's name" >&2; exit 1; }

echo "a flipped bit"
python3 - "$folder/tiny.attar" "$folder/flipped.attar" <<'PY'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
data[len(data) // 2] ^= 4
open(sys.argv[2], "wb").write(data)
PY
code=0; run attar-cli attar score --model "$folder/flipped.attar" --question Q --passage P 2>"$folder/error" || code=$?
cat "$folder/error"
[ "$code" = 2 ] && grep -q "flipped.attar" "$folder/error" || { echo "expected exit 2 and the file's name" >&2; exit 1; }
echo "the tiny path is whole"
