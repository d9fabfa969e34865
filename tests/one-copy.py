#!/usr/bin/env python3
"""Writes a student whose head answers as one of its copies alone, to see what one teacher's copy has learned.

    tests/one-copy.py STUDENT HEAD COPY OUT
    attar-quantize OUT -o copy.attar --weights int8 && tests/dev-accuracy.py --data DATA --model copy.attar

STUDENT is a trained student's folder, COPY the number of a copy of HEAD: 0 for the first of the head's teachers in the order of `[[teachers]]`.
Standard library only.
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
FILES = ("attar.toml", "config.json", "tokenizer.json")
try:
    data = bytearray((student / "model.safetensors").read_bytes())
    others = {name: (student / name).read_bytes() for name in FILES}
    (length,) = struct.unpack_from("<Q", data)
    tensors = json.loads(data[8 : 8 + length])
    places = {name: [8 + length + at for at in tensor["data_offsets"]] for name, tensor in tensors.items() if name != "__metadata__"}
    assert all(0 <= begin <= end <= len(data) for begin, end in places.values())
except OSError as error:
    sys.exit(f"one-copy.py: {error}")
except (struct.error, ValueError, LookupError, TypeError, AttributeError, AssertionError):
    sys.exit(f"one-copy.py: {student / 'model.safetensors'}: not a valid safetensors file")

copies = {}
for name in places:
    if match := re.fullmatch(rf"heads\.{re.escape(head)}\.(\d+)\.(.+)", name):
        copies.setdefault(match[1], []).append((name, f"heads.{head}.{chosen}.{match[2]}"))
if chosen not in copies:
    sys.exit(f"one-copy.py: {student}: head {head!r} has the copies {sorted(copies)}, not {chosen!r}")
# Every copy becomes the chosen one, so that their mean is it.
for name, source in (pair for pairs in copies.values() for pair in pairs):
    if source not in tensors or tensors[source]["shape"] != tensors[name]["shape"] or tensors[source]["dtype"] != tensors[name]["dtype"]:
        sys.exit(f"one-copy.py: {student}: {name} and {source} are not of one shape and type; expected copies of one head")
    (begin, end), (first, last) = places[name], places[source]
    data[begin:end] = data[first:last]
out.mkdir(parents=True, exist_ok=True)
for name, content in others.items():
    (out / name).write_bytes(content)
(out / "model.safetensors").write_bytes(data)
