#!/usr/bin/env bash
# From pretrained encoders and data to attar-base.attar: bash examples/train-base.sh DATA ENCODERS [OPTIONS OF attar-train run]
#
#   bash examples/train-base.sh artifacts/data artifacts/pretrained --precision bf16 --checkpoint-minutes 5
#
# Stopped at any time, the same command goes on where it was. About five hours on two cores; the model card has the parts.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ $# -lt 2 ]; then sed -n 2,6p "$0"; exit 2; fi
data=$1 encoders=$2
shift 2
cargo build --release -p attar-trainer -p attar-quantize
step() {
  target/release/attar-train run "examples/$1.toml" --data "$data" --encoders "$encoders" -o "artifacts/runs/$2" "${@:3}"
}
step train-base base "$@"
step train-base-relevance base-relevance "$@"
step train-teacher teacher "$@"
step train-base-distilled base-distilled --shared artifacts/shared "$@"
target/release/attar-quantize artifacts/runs/base-distilled/student -o artifacts/attar-base.attar --weights int8
