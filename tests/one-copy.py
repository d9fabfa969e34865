#!/usr/bin/env python3
"""Writes a student whose head answers as one of its copies alone, to see what one teacher's copy has learned.

    tests/one-copy.py STUDENT HEAD COPY OUT
    attar-quantize OUT -o copy.attar --weights int8 && tests/dev-accuracy.py --data DATA --model copy.attar

STUDENT is a trained student's folder, COPY the number of a copy of HEAD: 0 for the first teacher that its sets name. Standard library only.
"""

import json
import pathlib
import re
import shutil
import struct
import sys

if len(sys.argv) != 5:
    sys.exit(__doc__)
student, head, chosen, out = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
try:
    data = bytearray((student / "model.safetensors").read_bytes())
except OSError as error:
    sys.exit(f"one-copy.py: {error}")
(length,) = struct.unpack_from("<Q", data)
tensors = json.loads(data[8 : 8 + length])


def bounds(name):
    begin, end = tensors[name]["data_offsets"]
    return slice(8 + length + begin, 8 + length + end)


copies = {}
for name in tensors:
    if match := re.fullmatch(rf"heads\.{re.escape(head)}\.(\d+)\.(.+)", name):
        copies.setdefault(match[1], []).append((name, f"heads.{head}.{chosen}.{match[2]}"))
if chosen not in copies:
    sys.exit(f"one-copy.py: {student}: head {head!r} has the copies {sorted(copies)}, not {chosen!r}")
# Every copy becomes the chosen one, so that their mean is it.
for pairs in copies.values():
    for name, source in pairs:
        data[bounds(name)] = data[bounds(source)]
out.mkdir(parents=True, exist_ok=True)
for name in ("attar.toml", "config.json", "tokenizer.json"):
    shutil.copy(student / name, out / name)
(out / "model.safetensors").write_bytes(data)
