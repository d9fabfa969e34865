#!/usr/bin/env bash
# The bindings beyond `cargo test -p attar-ffi`: C under valgrind, Kotlin on the JVM, Swift's module map.
#   bash runtime/ffi/check.sh
# What a machine cannot check is skipped, and said. ATTAR_MODEL names another bundle than runtime/models/attar-base.attar.
# ATTAR_FFI_LIBRARY names a folder with a libattar_ffi.so that was built with the feature jni; then nothing is built here, and
# `cargo test -p attar-ffi` is left to whoever built it (.ci/run does, with the whole workspace).
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
library=${ATTAR_FFI_LIBRARY:-${CARGO_TARGET_DIR:-$root/target}/debug}
library=$(cd "$root" && realpath -m "$library")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -z "${ATTAR_FFI_LIBRARY:-}" ]; then
  echo "-- C: examples, misuse, exported symbols"
  (cd "$root" && cargo test --quiet -p attar-ffi && cargo build --quiet -p attar-ffi --features jni)
fi
export ATTAR_FFI_LIBRARY=$library

echo "-- C under valgrind"
if command -v valgrind >/dev/null && command -v cc >/dev/null; then
  cc -std=c99 -D_POSIX_C_SOURCE=200809L -g -O1 -I include tests/c/misuse.c "$library/libattar_ffi.so" \
    -Wl,-rpath,"$library" -lm -o "$work/misuse"
  mkdir "$work/folder"
  # No invalid access, no use of uninitialised memory, and everything that was made is given back.
  valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,indirect \
    --errors-for-leak-kinds=definite,indirect "$work/misuse" "$work/folder" "${ATTAR_MODEL:-$root/runtime/models/attar-base.attar}"
else
  echo "skipped: valgrind (not installed)"
fi

echo "-- Kotlin"
bash kotlin/test.sh

echo "-- Swift"
clang=$(command -v clang || ls /usr/bin/clang-[0-9]* 2>/dev/null | sort -V | tail -n 1 || true)
if [ -n "$clang" ]; then
  printf '@import CAttar;\nint main(void) { return attar_version() == 0; }\n' >"$work/module.m"
  "$clang" -fmodules -fmodules-cache-path="$work/modules" -fmodule-map-file=swift/Sources/CAttar/module.modulemap \
    -Wall -Wextra -Werror -fsyntax-only "$work/module.m"
  echo "swift: the module map holds"
else
  echo "skipped: the module map (no clang)"
fi
if command -v swift >/dev/null; then
  (cd swift && LD_LIBRARY_PATH="$library" swift test -Xlinker "-L$library")
else
  echo "skipped: swift test (no Swift)"
fi
