#!/usr/bin/env bash
# Attar beside ONNX Runtime and OpenVINO on this machine; README.md here says how. Arguments go to compare.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=${ATTAR_PEERS:-artifacts/peers}
mkdir -p "$work"
if [ ! -x "$work/venv/bin/python" ]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install -q onnxruntime==1.* onnx numpy safetensors openvino nncf sympy
fi
[ -e "$work/compared/openvino_int8.xml" ] || "$work/venv/bin/python" tests/peers/model.py "$work/compared" >"$work/model.log" 2>&1 ||
  { tail -5 "$work/model.log" >&2; exit 1; }
cargo build --release -q -p attar-cli -p attar-quantize
target/release/attar-quantize "$work/compared/folder" -o "$work/compared/attar.attar" --weights int8 >/dev/null
grep -m1 'model name' /proc/cpuinfo || true
exec "$work/venv/bin/python" tests/peers/compare.py "$work/compared" --attar target/release/attar --bundle "$work/compared/attar.attar" "$@"
