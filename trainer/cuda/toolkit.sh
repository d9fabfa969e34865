#!/usr/bin/env bash
# A CUDA 13.0 toolkit that is good enough to build the `cuda` feature on a machine with no GPU, no driver and no CUDA
# package: trainer/cuda/toolkit.sh DEST. Five PyPI wheels (105 MB to download, 270 MB on disk), and static shim archives
# that open the CUDA libraries at first use in place of linking to them: the one binary then starts everywhere, takes the
# GPU where there is a driver, and says so where there is none.
# Needs python3 with pip, gcc, g++, ar. The shims' symbols are read from cudarc's source, which `cargo fetch` brings.
set -euo pipefail
DEST=${1:?usage: trainer/cuda/toolkit.sh DEST}; mkdir -p "$DEST"; DEST=$(cd "$DEST" && pwd)
cd "$(dirname "$0")/../.."
cargo fetch --quiet --locked
locked() { awk -v name="\"$1\"" '$1 == "name" && $3 == name { getline; gsub(/"/, "", $3); print $3; exit }' Cargo.lock; }
CUDARC_VERSION=$(locked cudarc) CANDLE_VERSION=$(locked candle-kernels)
PIP=${PIP:-python3 -m pip}

if [ ! -x "$DEST/bin/nvcc" ]; then
  tmp=$(mktemp -d)
  $PIP download -q --no-deps --only-binary=:all: --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
     --platform manylinux_2_12_x86_64 --platform manylinux2010_x86_64 -d "$tmp" \
     nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
     nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
  for w in "$tmp"/*.whl; do python3 -m zipfile -e "$w" "$tmp/x"; done
  mkdir -p "$DEST"; cp -a "$tmp/x/nvidia/cu13/." "$DEST/"; rm -rf "$tmp"
  chmod a+x "$DEST"/bin/* "$DEST"/nvvm/bin/* 2>/dev/null || true
  ln -sfn lib "$DEST/lib64"
fi

# ---- static shims: libcuda.a libcublas.a libcublasLt.a libcurand.a libnvrtc.a; libcudart.a = the wheel's static runtime
S="$DEST/lib/stubs"; mkdir -p "$S"
ln -sfn ../libcudart_static.a "$S/libcudart.a"
# cudarc lists $CUDA_HOME/lib first: make sure no lib*.so there shadows the archives
rm -f "$DEST"/lib/libcudart.so "$DEST"/lib/libcuda*.so "$DEST"/lib/libcublas*.so "$DEST"/lib/libcurand.so "$DEST"/lib/libnvrtc.so
src=$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/cudarc-"$CUDARC_VERSION"/src | head -1)

shim() { # name  cudarc-module  soname  missing-library-error-code
  local n=$1 mod=$2 so=$3 code=$4 d; d=$(mktemp -d)
  grep -hoE '^[[:space:]]*fn (cu|nvrtc|nccl)[A-Za-z0-9_]+\(' "$src/$mod/sys/mod.rs" | sed -E 's/^[[:space:]]*fn //; s/\($//' | sort -u > "$d/syms"
  local count; count=$(wc -l < "$d/syms")
  { echo '#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>'
    echo "static const char *const names[] = {"; sed 's/.*/"&",/' "$d/syms"; echo "0};"
    cat <<C
extern void *shim_${n}_table[];
static void *lib; static int tried;
static long missing(void) { return $code; }
static void load(void) {
  if (__atomic_load_n(&tried, __ATOMIC_ACQUIRE)) return;
  const char *dir = getenv("CUDA_LIB_DIR"); char path[4096]; void *l = 0;
  if (dir) { snprintf(path, sizeof path, "%s/$so", dir); l = dlopen(path, RTLD_LAZY | RTLD_GLOBAL); }
  if (!l) l = dlopen("$so", RTLD_LAZY | RTLD_GLOBAL);
  if (!l && getenv("CUDA_SHIM_DEBUG")) fprintf(stderr, "cuda shim: %s\n", dlerror());
  if (l) lib = l;
  __atomic_store_n(&tried, 1, __ATOMIC_RELEASE);
}
__attribute__((visibility("hidden"))) void *shim_${n}_resolve(unsigned long i) {
  load();
  void *p = lib ? dlsym(lib, names[i]) : 0;
  if (!p) p = (void *)missing;
  __atomic_store_n(&shim_${n}_table[i], p, __ATOMIC_RELEASE);
  return p;
}
C
  } > "$d/shim.c"
  { echo '	.text'
    awk -v n="$n" '{i=NR-1; printf "\t.globl %s\n\t.type %s,@function\n%s:\n\tendbr64\n\tjmp *shim_%s_table+%d(%%rip)\n\t.size %s,.-%s\n.Lr%d:\n\tpushq $%d\n\tjmp .Lcommon\n",$1,$1,$1,n,8*i,$1,$1,i,i}' "$d/syms"
    cat <<A
.Lcommon:
	pushq %rdi; pushq %rsi; pushq %rdx; pushq %rcx; pushq %r8; pushq %r9; pushq %rax; pushq %r10
	movq 64(%rsp), %rdi
	subq \$136, %rsp
	movups %xmm0, 0(%rsp); movups %xmm1, 16(%rsp); movups %xmm2, 32(%rsp); movups %xmm3, 48(%rsp)
	movups %xmm4, 64(%rsp); movups %xmm5, 80(%rsp); movups %xmm6, 96(%rsp); movups %xmm7, 112(%rsp)
	movq %rbp, 128(%rsp)
	movq %rsp, %rbp
	andq \$-16, %rsp
	call shim_${n}_resolve
	movq %rbp, %rsp
	movq 128(%rsp), %rbp
	movups 0(%rsp), %xmm0; movups 16(%rsp), %xmm1; movups 32(%rsp), %xmm2; movups 48(%rsp), %xmm3
	movups 64(%rsp), %xmm4; movups 80(%rsp), %xmm5; movups 96(%rsp), %xmm6; movups 112(%rsp), %xmm7
	addq \$136, %rsp
	movq %rax, 64(%rsp)
	popq %r10; popq %rax; popq %r9; popq %r8; popq %rcx; popq %rdx; popq %rsi; popq %rdi
	ret
	.data
	.balign 8
	.hidden shim_${n}_table
	.globl shim_${n}_table
shim_${n}_table:
A
    awk '{printf "\t.quad .Lr%d\n", NR-1}' "$d/syms"
    echo '	.section .note.GNU-stack,"",@progbits'
  } > "$d/tramp.S"
  gcc -O2 -fPIC -c "$d/shim.c" -o "$d/${n}_shim.o"; gcc -fPIC -c "$d/tramp.S" -o "$d/${n}_tramp.o"
  rm -f "$S/lib$n.a"; ar rcs "$S/lib$n.a" "$d/${n}_shim.o" "$d/${n}_tramp.o"
  echo "shim lib$n.a: $count symbols -> $so"; rm -rf "$d"
}
shim cuda     driver   libcuda.so.1       100
shim cublas   cublas   libcublas.so.13    1
shim cublasLt cublaslt libcublasLt.so.13  1
shim curand   curand   libcurand.so.10    101
shim nvrtc    nvrtc    libnvrtc.so.13     11

# ---- a compiler that leaves out candle's kernels for GGUF weights and for mixtures of experts: no part of the trainer calls
# them, and they are most of the time that the build takes. In their place stand functions that say so and abort.
ffi=$(ls "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/candle-kernels-"$CANDLE_VERSION"/src/ffi.rs | head -1)
{ printf '#include <stdio.h>\n#include <stdlib.h>\n'
  sed -nE 's/^ *pub fn (launch_mm[vq]q?_[A-Za-z0-9_]+|moe_gemm_[a-z_]+)\(.*/\1/p' "$ffi" | while read -r f; do
    echo "__attribute__((weak)) void $f(void) { fputs(\"$f: left out of this build (trainer/cuda/toolkit.sh)\\n\", stderr); abort(); }"
  done; } > "$S/left-out.c"
gcc -O2 -fPIC -c "$S/left-out.c" -o "$S/left-out.o"
echo "left out: $(grep -c weak "$S/left-out.c") functions of candle's GGUF and mixture-of-experts kernels"
cat > "$DEST/bin/nvcc-lean" <<'E'
#!/usr/bin/env bash
here=$(cd "$(dirname "$0")" && pwd) out= lean= previous=
for a; do
  [ "$previous" = -o ] && out=$a
  case "$a" in */mmq_gguf/*.cu | */mmvq_gguf.cu | */moe/*.cu) lean=1 ;; esac
  previous=$a
done
[ -n "$lean" ] && [ -n "$out" ] && exec cp "$here/../lib/stubs/left-out.o" "$out"
exec "$here/nvcc" "$@"
E
chmod a+x "$DEST/bin/nvcc-lean"

cat > "$DEST/env.sh" <<E
export CUDA_HOME=$DEST CUDA_PATH=$DEST NVCC=$DEST/bin/nvcc-lean CUDA_COMPUTE_CAP=\${CUDA_COMPUTE_CAP:-90} CUDARC_CUDA_VERSION=13000
export PATH=$DEST/bin:\$PATH
E
"$DEST/bin/nvcc" --version | tail -2
echo "now: source $DEST/env.sh && cargo build --release -p attar-trainer --features cuda --target-dir target/cuda"
