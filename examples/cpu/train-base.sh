#!/usr/bin/env bash
# Without a GPU, from pretrained encoders and data to attar-base.attar as it was before train-students.sh: bash examples/cpu/train-base.sh DATA ENCODERS [OPTIONS OF attar-train run]
#
#   bash examples/cpu/train-base.sh artifacts/data artifacts/pretrained --precision bf16 --checkpoint-minutes 5
#
# Runs go to the folder `runs` beside ENCODERS, where the later ones find the earlier ones' students, and what they share to `shared` there.
# Stopped at any time, the same command goes on where it was. About five hours on two cores; the model card has the parts.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n 2,7p "$0" >&2; exit 2; fi
for folder in "$1" "$2"; do
  [ -d "$folder" ] || { echo "train-base.sh: $folder: no such folder" >&2; exit 2; }
done
data=$(realpath "$1") encoders=$(realpath "$2")
work=$(dirname "$encoders")
shift 2
cd "$(dirname "$0")/../.."
cargo build --release -p attar-trainer -p attar-quantize
step() {
  target/release/attar-train run "examples/cpu/$1.toml" --data "$data" --encoders "$encoders" -o "$work/runs/$2" "${@:3}"
}
step train-base cpu-base "$@"
step train-base-relevance base-relevance "$@"
step train-teacher teacher "$@"
step train-base-distilled base-distilled --shared "$work/shared" "$@"
target/release/attar-quantize "$work/runs/base-distilled/student" -o "$work/attar-base.attar" --weights int8
