#!/usr/bin/env bash
# Builds for another target, and runs its tests under an emulator.
#
#   targets/build.sh TARGET [CARGO_ARGUMENT...]            build: the recipe's packages, or what the arguments say
#   targets/build.sh TARGET --test [CARGO_ARGUMENT...]     tests, once for each emulated CPU of the recipe
#
# TARGET has a recipe beside this script, TARGET.toml. Rust's standard library for it comes from rustup; where rustup can
# fetch none, from Debian's rustc-web packages (rust-debian.sh). ATTAR_CROSS is the cache folder for what is not in packages
# (default ~/.cache/attar-cross); ATTAR_CPUS="a b" replaces the recipe's CPUs; ATTAR_RUST=debian skips rustup.
# Needs Debian or Ubuntu and the right to install packages, or the recipe's packages already there.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${ATTAR_CROSS:-$HOME/.cache/attar-cross}
say() { printf '%s\n' "$*" >&2; }
die() { say "build.sh: $*"; exit 2; }

[ $# -ge 1 ] || die "expected a target: $(cd "$here" && ls ./*.toml | sed 's|^\./||; s|\.toml$||' | tr '\n' ' ')"
target=$1; shift
recipe=$here/$target.toml
[ -f "$recipe" ] || die "no recipe $recipe; there are: $(cd "$here" && ls ./*.toml | sed 's|^\./||; s|\.toml$||' | tr '\n' ' ')"
test=0
if [ "${1:-}" = --test ]; then test=1; shift; fi

# Recipes are flat: `key = "text"` or `key = ["a", "b"]` on one line. A key without a line is empty.
get() { sed -nE "s/^$1 *= *//p" "$recipe" | sed -E 's/^\[(.*)\]$/\1/; s/^"//; s/"$//; s/", *"/\n/g'; }
read_list() { mapfile -t "$1" < <(get "$2"); }

install_packages() {
  local missing=() package
  for package in "$@"; do
    case $package in
      nodejs) command -v node >/dev/null || missing+=("$package") ;;
      *) dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package") ;;
    esac
  done
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  local root=(); [ "$(id -u)" = 0 ] || root=(sudo)
  "${root[@]}" apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
}

read_list packages packages
install_packages "${packages[@]}"
if [ $test = 1 ]; then
  read_list test_packages test_packages
  install_packages "${test_packages[@]}"
fi

# Rust. rustup's own retries take minutes on a network without it, hence the limit.
upper=$(echo "$target" | tr 'a-z-' 'A-Z_'); lower=${target//-/_}
if [ "${ATTAR_RUST:-rustup}" = rustup ] && timeout 300 rustup target add "$target" >&2; then
  say "Rust: $(rustc --version), rustup's $target"
else
  "$here/rust-debian.sh" "$target" >&2
  tree=$cache/rust-debian
  export RUSTC=$tree/bin/rustc RUSTDOC=$tree/bin/rustdoc
  say "Rust: $("$RUSTC" --version), Debian's"
fi
# Kept apart from the host's artifacts, and, by the compiler's name, from another compiler's.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$here/../target/cross}
config=(--target "$target")
key=CARGO_TARGET_$upper

# C compiler and linker.
linker=$(get linker); zig=$(get zig); ndk=$(get ndk); sdk=$(get sdk); rustflags=$(get rustflags)
complete=1
if [ -n "$linker" ]; then
  export "${key}_LINKER=$linker" "CC_$lower=$linker"
elif [ -n "$zig" ]; then
  mkdir -p "$cache/zig/bin"
  [ -x "$cache/zig/venv/bin/python" ] || { python3 -m venv "$cache/zig/venv" && "$cache/zig/venv/bin/pip" -q install 'ziglang==0.15.*'; } >&2
  # cc adds --target=TRIPLE in Rust's spelling, which Zig does not know.
  cat > "$cache/zig/bin/cc-$zig" <<C
#!/usr/bin/env bash
arguments=()
for a in "\$@"; do case \$a in --target=*) ;; *) arguments+=("\$a") ;; esac; done
exec "$cache/zig/venv/bin/python" -m ziglang cc -target $zig "\${arguments[@]}"
C
  printf '#!/bin/sh\nexec "%s" -m ziglang ar "$@"\n' "$cache/zig/venv/bin/python" > "$cache/zig/bin/ar"
  chmod +x "$cache/zig/bin/"*
  export "${key}_LINKER=$cache/zig/bin/cc-$zig" "CC_$lower=$cache/zig/bin/cc-$zig" "AR_$lower=$cache/zig/bin/ar"
elif [ -n "$ndk" ]; then
  clang=$(ls "${ANDROID_NDK_HOME:-/nonexistent}"/toolchains/llvm/prebuilt/*/bin/"$ndk"-clang 2>/dev/null | head -1 || true)
  if [ -n "$clang" ]; then
    export "${key}_LINKER=$clang" "CC_$lower=$clang" "AR_$lower=$(dirname "$clang")/llvm-ar"
  else
    say "ANDROID_NDK_HOME has no $ndk-clang: building the static library only"; complete=0
  fi
elif [ "$sdk" = xcrun ] && ! command -v xcrun >/dev/null; then
  say "no Xcode here: building the static library only"; complete=0
fi
if [ $complete = 0 ]; then
  # A static library is not linked, but tract-linalg has assembly, which any clang assembles; no header of the SDK is read.
  clang=$(ls /usr/bin/clang /usr/bin/clang-[0-9]* 2>/dev/null | tail -1 || true)
  [ -n "$clang" ] || { install_packages clang llvm; clang=/usr/bin/clang; }
  ar=$(ls /usr/bin/llvm-ar /usr/bin/llvm-ar-[0-9]* 2>/dev/null | tail -1 || true)
  mkdir -p "$cache/no-sdk"
  export "CC_$lower=$clang" "AR_$lower=$ar" SDKROOT="$cache/no-sdk"
fi
[ -z "$rustflags" ] || export "${key}_RUSTFLAGS=$rustflags"

if [ $test = 0 ]; then
  if [ $# = 0 ]; then
    if [ $complete = 1 ]; then read_list arguments build; else read_list arguments build_without_sdk; fi
    set -- "${arguments[@]}"
  fi
  # `--crate-type` belongs to `cargo rustc`, which builds one crate of a package with other crate types.
  case " $* " in
    *" --crate-type "*) command=rustc ;;
    *) command=build ;;
  esac
  cargo "$command" "${config[@]}" "$@"
  say "built: $CARGO_TARGET_DIR/$target"
  exit
fi

runner=$(get runner)
[ -n "$runner" ] || die "$target cannot be run here: no emulator"
[ $# -gt 0 ] || { read_list arguments test; set -- "${arguments[@]}"; }
read_list cpus cpus
# Tests that start their own program again: under user-mode emulation the child would be the host's to run.
if [[ " $* " != *" -- "* ]]; then
  set -- "$@" --
  while read -r name; do set -- "$@" --skip "$name"; done < <(get skip)
fi
[ -z "${ATTAR_CPUS:-}" ] || read -ra cpus <<< "$ATTAR_CPUS"
for cpu in "${cpus[@]}"; do
  say "==== $target, $cpu"
  command=${runner//\{cpu\}/$cpu}
  export "${key}_RUNNER=${command//\{targets\}/$here}"
  cargo test "${config[@]}" "$@"
done
