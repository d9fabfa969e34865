#!/usr/bin/env bash
# From pretrained encoders and data to both bundles: bash examples/train-students.sh DATA ENCODERS [OPTIONS OF attar-train run]
#
#   FEATURES='--features cuda' bash examples/train-students.sh artifacts/data artifacts/pretrained --device cuda --precision bf16
#
# Runs go to the folder `runs` beside ENCODERS, where the later ones find the earlier ones' students, and what they share to `shared` there.
# Stopped at any time, the same command goes on where it was. With `--features cuda` in FEATURES the trainer is built for a GPU
# (trainer/README.md says how). Teacher t4 and each student's last steps run on the CPU in any case: some four hours on two cores.
set -euo pipefail
if [ $# -lt 2 ]; then sed -n 2,8p "$0" >&2; exit 2; fi
for folder in "$1" "$2"; do
  [ -d "$folder" ] || { echo "train-students.sh: $folder: no such folder" >&2; exit 2; }
done
data=$(realpath "$1") encoders=$(realpath "$2")
work=$(dirname "$encoders")
shift 2
cd "$(dirname "$0")/.."
# shellcheck disable=SC2086 # FEATURES are words
cargo build --release -p attar-trainer -p attar-quantize ${FEATURES:-}
on_cpu=()
for ((i = 1; i <= $#; i++)); do
  case "${!i}" in
  --device) i=$((i + 1)) ;;
  --device=*) ;;
  *) on_cpu+=("${!i}") ;;
  esac
done
train() {
  target/release/attar-train run "examples/train-$1.toml" --data "$data" --encoders "$encoders" --shared "$work/shared" -o "$work/runs/$1" "${@:2}"
}
train base "$@"
train small "$@"
train base-last "${on_cpu[@]}"
train base-ranked "${on_cpu[@]}"
train small-last "${on_cpu[@]}"
train small-ranked "${on_cpu[@]}"
for student in base small; do
  target/release/attar-train mean "$work/runs/$student-last/student" "$work/runs/$student-ranked/student" -o "$work/runs/$student-mean/student"
done
target/release/attar-quantize "$work/runs/base-mean/student" -o "$work/attar-base.attar" --weights int8
# int4 word embeddings are not what training simulated: with them least squared error is the better choice.
target/release/attar-quantize "$work/runs/small-mean/student" -o "$work/attar-small.attar" --weights int8 --embeddings int4 --ranges mse
