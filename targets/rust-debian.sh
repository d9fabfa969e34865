#!/usr/bin/env bash
# Rust for another target where rustup cannot fetch it: Debian 12's rustc-web (bookworm-security), with the arm64 standard
# library of the same build, unpacked into a private tree. rustup's toolchain and dpkg's architectures stay as they are.
#
#   targets/rust-debian.sh TARGET          into ${ATTAR_CROSS:-~/.cache/attar-cross}/rust-debian
#
# aarch64-unknown-linux-gnu comes prebuilt; for other targets the standard library is built from Debian's source package
# (its dependencies are fetched by cargo). 171 MB of download, 700 MB on disk. The compiler is newer than rust-version asks.
set -euo pipefail
target=$1
prefix=${ATTAR_CROSS:-$HOME/.cache/attar-cross}/rust-debian
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
mkdir -p "$prefix"

# A private apt state, so that arm64 packages can be downloaded without adding the architecture to the system.
state=$prefix/apt
mkdir -p "$state/state/lists/partial" "$state/cache/archives/partial" "$state/debs"
cat > "$state/apt.conf" <<C
Dir::State "$state/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$state/cache";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "root";
C
export APT_CONFIG=$state/apt.conf
if [ ! -f "$prefix/version" ]; then
  apt-get update -q
  newest() { apt-cache madison "$1" | awk -F' *[|] *' '/bookworm-security/ {print $2; exit}'; }
  version=$(newest rustc-web:amd64)
  [ -n "$version" ] || { echo "rust-debian.sh: no rustc-web in bookworm-security: this needs Debian 12" >&2; exit 2; }
  [ "$version" = "$(newest libstd-rust-web-dev:arm64)" ] || {
    echo "rust-debian.sh: rustc-web $version has no arm64 standard library of its version (yet): try again later" >&2; exit 2; }
  short=$(echo "$version" | cut -d. -f1-2)
  llvm=$(apt-cache show "libstd-rust-web-$short:amd64=$version" | grep -oE 'libllvm[0-9]+' | head -1)
  (cd "$state/debs" && apt-get download -q "rustc-web:amd64=$version" "libstd-rust-web-$short:amd64=$version" \
    "libstd-rust-web-dev:amd64=$version" "libstd-rust-web-dev:arm64=$version" "$llvm:amd64" "rust-web-src=$version")
  for package in "$state"/debs/*.deb; do
    case $package in
      # Only library/ of the source (69 MB of 300), where cargo's build-std looks for it.
      *rust-web-src*) dpkg-deb --fsys-tarfile "$package" | tar -x -C "$prefix" --wildcards './usr/src/rustc-*/library' ./usr/lib/rustlib/src ;;
      *) dpkg-deb -x "$package" "$prefix" ;;
    esac
  done
  mkdir -p "$prefix/bin"
  for program in rustc rustdoc; do
    cat > "$prefix/bin/$program" <<C
#!/bin/sh
export LD_LIBRARY_PATH="$prefix/usr/lib/x86_64-linux-gnu\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec "$prefix/usr/bin/$program" "\$@"
C
    chmod +x "$prefix/bin/$program"
  done
  rm -rf "$state/debs"
  echo "$version" > "$prefix/version"
fi

lib=$prefix/usr/lib/rustlib/$target/lib
if ! ls "$lib"/libstd-*.rlib >/dev/null 2>&1; then
  crate=$prefix/std-crate
  mkdir -p "$crate/src"
  echo '#![no_std]' > "$crate/src/lib.rs"
  printf '[package]\nname = "std-crate"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n' > "$crate/Cargo.toml"
  # RUSTC_BOOTSTRAP for build-std only: it is what Debian's own package of the standard library does.
  (cd "$crate" && RUSTC="$prefix/bin/rustc" RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Cembed-bitcode=yes" CARGO_TARGET_DIR="$crate/target" \
    cargo build -Zbuild-std=std,panic_abort --release --target "$target")
  mkdir -p "$lib"
  cp "$crate/target/$target"/release/deps/*.rlib "$lib/"
  rm -rf "$lib"/libstd_crate* "$crate/target"
  if [ "$target" = wasm32-wasip1 ]; then
    # The C library's start-up code, from Debian's wasi-libc.
    dpkg -s wasi-libc >/dev/null 2>&1 || APT_CONFIG='' apt-get install -y -q --no-install-recommends wasi-libc lld
    mkdir -p "$lib/self-contained"
    cp /usr/lib/wasm32-wasi/crt1-command.o /usr/lib/wasm32-wasi/crt1-reactor.o /usr/lib/wasm32-wasi/libc.a "$lib/self-contained/"
  fi
fi
