#!/usr/bin/env bash
# Compiles the Kotlin wrapper and runs it on the JVM against the native library.
#   bash runtime/ffi/kotlin/test.sh [BUNDLE]      BUNDLE: default runtime/models/attar-base.attar
# Needs Java 17 or newer, and kotlinc or npm (which fetches it once into ~/.cache/attar-kotlin). Skipped, visibly, without them.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../../.. && pwd)
bundle=${1:-${ATTAR_MODEL:-$root/runtime/models/attar-base.attar}}
bundle=$(realpath "$bundle")

if ! java -version >/dev/null 2>&1; then
  echo "skipped: Kotlin (no java)"
  exit 0
fi
if command -v kotlinc >/dev/null; then
  kotlinc=(kotlinc)
elif command -v npm >/dev/null; then
  cache=${XDG_CACHE_HOME:-$HOME/.cache}/attar-kotlin
  mkdir -p "$cache"
  if [ ! -d "$cache/node_modules/kotlin-compiler" ] && ! npm install --silent --no-fund --prefix "$cache" kotlin-compiler@2.4.20 >&2; then
    echo "skipped: Kotlin (no kotlinc, and npm could not fetch kotlin-compiler)"
    exit 0
  fi
  kotlinc=(bash "$cache/node_modules/kotlin-compiler/bin/kotlinc")
else
  echo "skipped: Kotlin (no kotlinc, no npm)"
  exit 0
fi

library=${ATTAR_FFI_LIBRARY:-}
if [ -z "$library" ]; then
  (cd "$root" && cargo build --quiet -p attar-ffi --features jni)
  library=${CARGO_TARGET_DIR:-$root/target}/debug
fi

# Every native method that Kotlin declares is there, and no other.
declared=$(sed -n 's/^ *external fun \([A-Za-z]*\).*/Java_dev_attar_Native_\1/p' src/main/kotlin/dev/attar/Native.kt | sort)
exported=$(nm -D --defined-only -j "$library/libattar_ffi.so" | grep '^Java_' | sort)
diff <(echo "$declared") <(echo "$exported") || { echo "Native.kt and jni.rs differ" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${kotlinc[@]}" src/main -Xexplicit-api=strict -Werror -d "$work/attar"
"${kotlinc[@]}" src/test -Werror -cp "$work/attar" -include-runtime -d "$work/check.jar"
java -Xcheck:jni -Djava.library.path="$library" -cp "$work/attar:$work/check.jar" CheckKt "$bundle" >"$work/out" 2>&1 ||
  { cat "$work/out" >&2; exit 1; }
if grep -q -i 'warning.*jni\|fatal error in native' "$work/out"; then
  cat "$work/out" >&2
  exit 1
fi
tail -n 1 "$work/out"
