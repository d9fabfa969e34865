#!/usr/bin/env bash
# What int8 costs in each engine, and a batch of uneven pairs: trained.sh STUDENT PAIRS.tsv [ARGUMENT OF trained.py...]
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${ATTAR_PEERS:-artifacts/peers}
[ -x "$work/venv/bin/python" ] || { echo "trained.sh: run tests/peers/run.sh first: it makes $work/venv" >&2; exit 2; }
"$work/venv/bin/python" -c 'import tokenizers' 2>/dev/null || "$work/venv/bin/pip" install -q tokenizers
cargo build --release -q -p attar-cli -p attar-quantize
exec "$work/venv/bin/python" tests/peers/trained.py "$@" --attar target/release/attar --quantize target/release/attar-quantize \
  --work "$work/trained"
