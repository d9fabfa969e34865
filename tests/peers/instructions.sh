#!/usr/bin/env bash
# Instructions that Attar executes on 64-bit Arm for one pair, under qemu: a cost that does not depend on the machine.
#
#   tests/peers/instructions.sh [--tokens 64] [--bundle runtime/models/attar-base.attar] [--program PROGRAM]
#
# The program scores the same pair 2 and 6 times on one thread; a fourth of the difference is one pair, free of opening the bundle.
# Counts are not time: they know no caches, no widths of a core, and no memory. --program counts another engine's program
# instead, aarch64 as well; it is called as `PROGRAM BUNDLE TOKENS CALLS`, as runtime/examples/repeat_score.rs is.
# Needs Debian or Ubuntu with qemu 6 to 8, and the right to install packages, or the packages already there.
set -euo pipefail
cd "$(dirname "$0")/../.."
tokens=64 bundle=runtime/models/attar-base.attar program=
while [ $# -gt 0 ]; do
  case $1 in
    --tokens) tokens=$2 ;;
    --bundle) bundle=$2 ;;
    --program) program=$2 ;;
    *) echo "instructions.sh: unknown argument $1" >&2; exit 2 ;;
  esac
  shift 2
done
if [ -z "$program" ]; then
  targets/build.sh aarch64-unknown-linux-gnu --release -p attar --example repeat_score
  program=${CARGO_TARGET_DIR:-target/cross}/aarch64-unknown-linux-gnu/release/examples/repeat_score
fi
# The static emulator of the tests cannot load plugins.
if ! command -v qemu-aarch64 >/dev/null; then
  root=(); [ "$(id -u)" = 0 ] || root=(sudo)
  "${root[@]}" apt-get update -q >&2
  "${root[@]}" apt-get install -y -q --no-install-recommends qemu-user >&2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -O2 -Wall -Wextra -shared -fPIC -o "$work/libcount.so" tests/peers/count_instructions.c

# count CPU CALLS: "instructions vector vector_memory memory", and the program's line in $work/said.
count() {
  qemu-aarch64 -cpu "$1" -L /usr/aarch64-linux-gnu -plugin "$work/libcount.so" "$program" "$bundle" "$tokens" "$2" \
    >"$work/said" 2>"$work/counted" || { cat "$work/counted" >&2; exit 1; }
  sed -nE 's/^counted: instructions=([0-9]+) vector=([0-9]+) vector_memory=([0-9]+) memory=([0-9]+)$/\1 \2 \3 \4/p' "$work/counted"
}

echo "one pair of $tokens tokens, million instructions ($(qemu-aarch64 --version | head -1))"
echo
echo "| CPU | kernel | all | vector | vector loads and stores | other loads and stores |"
echo "|---|---|---:|---:|---:|---:|"
for cpu in cortex-a53 cortex-a76 max; do
  few=$(count "$cpu" 2)
  many=$(count "$cpu" 6)
  [ "$(wc -w <<<"$few$many")" -ge 7 ] || { echo "instructions.sh: the plugin printed nothing: is qemu's plugin interface version 1?" >&2; exit 1; }
  kernel=$(sed -nE 's/^.* calls, ([^:]+):.*$/\1/p' "$work/said")
  awk -v cpu="$cpu" -v kernel="$kernel" -v few="$few" -v many="$many" 'BEGIN {
    split(few, a, " "); split(many, b, " ")
    printf "| %s | %s |", cpu, kernel
    for (i = 1; i <= 4; i++) printf " %.1f |", (b[i] - a[i]) / 4e6
    printf "\n"
  }'
done
