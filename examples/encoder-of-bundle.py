#!/usr/bin/env python3
"""Writes the encoder of a BERT bundle with int8 weights as a Hugging Face folder of f32 weights, for a further training.

    python3 examples/encoder-of-bundle.py BUNDLE --tokenizer PRETRAINED/tokenizer.json -o FOLDER

The weights are the bundle's own, each its int8 value times its channel's scale; what the rounding took away stays away. Heads and their
temperatures are left out: a training makes its own. The bundle has the vocabulary in tables only, so that tokenizer.json is a copy of
the pretrained encoder's. Only Python's standard library is used.
"""

import argparse
import array
import json
import os
import shutil
import struct
import sys


def read(path):
    """The header and the data of a safetensors file, which a bundle is."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        (length,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + length])
        end = 8 + length + max(t["data_offsets"][1] for name, t in header.items() if name != "__metadata__")
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}")
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"{path}: not a bundle ({error}); expected a file that attar-quantize wrote")
    if len(data) != end:
        sys.exit(f"{path}: {len(data)} bytes, but its header describes {end}: it is truncated or has more behind it")
    return header, memoryview(data)[8 + length :]


class Bundle:
    def __init__(self, path):
        self.header, self.data = read(path)
        metadata = self.header.get("__metadata__", {})
        if metadata.get("attar.weights") != '"int8"':
            sys.exit(f"{path}: expected a bundle with int8 weights, got {metadata.get('attar.weights')}")
        self.shape = json.loads(metadata["attar.architecture"])
        self.path = path

    def values(self, name, code):
        if name not in self.header:
            sys.exit(f"{self.path}: has no tensor {name}; int4 embeddings and f16 layers are not supported")
        if (name.endswith(".weight") or name == "embeddings.word") and code == "b" and self.header[name]["dtype"] != "I8":
            sys.exit(f"{self.path}: {name} is {self.header[name]['dtype']}, expected I8: int4 embeddings and f16 layers are not supported")
        begin, end = self.header[name]["data_offsets"]
        values = array.array(code)
        values.frombytes(self.data[begin:end])
        return values

    def rows(self, name, width):
        """Row-major int8 with a scale per row, as embeddings are."""
        values, scales = self.values(name, "b"), self.values(f"{name}.scales", "f")
        result = array.array("f")
        for row, scale in enumerate(scales):
            result.extend(value * scale for value in values[row * width : (row + 1) * width])
        return result

    def linear(self, prefix, outputs, inputs):
        """The packed layout [outputs/16, inputs/4, 16, 4] back to rows."""
        packed, scales = self.values(f"{prefix}.weight", "b"), self.values(f"{prefix}.scales", "f")
        inputs_padded = (inputs + 3) // 4 * 4
        result = array.array("f")
        for output in range(outputs):
            tile, lane = divmod(output, 16)
            base = tile * 16 * inputs_padded + lane * 4
            row = array.array("b")
            for group in range(inputs_padded // 4):
                row.extend(packed[base + group * 64 : base + group * 64 + 4])
            scale = scales[output]
            result.extend(value * scale for value in row[:inputs])
        return result, self.values(f"{prefix}.bias", "f")[:outputs]


def tensors(bundle):
    """Name, shape and values of every tensor of Hugging Face's BertModel."""
    hidden, inner = bundle.shape["hidden"], bundle.shape["intermediate"]

    def linear(name, weight, bias):
        return [(f"{name}.weight", [len(bias), len(weight) // len(bias)], weight), (f"{name}.bias", [len(bias)], bias)]

    def norm(name, prefix):
        return [(f"{name}.{part}", [hidden], bundle.values(f"{prefix}.{part}", "f")) for part in ("weight", "bias")]

    word, position = bundle.rows("embeddings.word", hidden), bundle.rows("embeddings.position", hidden)
    types = bundle.values("embeddings.type", "f")
    result = [
        ("embeddings.word_embeddings.weight", [len(word) // hidden, hidden], word),
        ("embeddings.position_embeddings.weight", [len(position) // hidden, hidden], position),
        ("embeddings.token_type_embeddings.weight", [len(types) // hidden, hidden], types),
        *norm("embeddings.LayerNorm", "embeddings.norm"),
    ]
    for layer in range(bundle.shape["layers"]):
        there, here = f"layer.{layer}", f"encoder.layer.{layer}"
        weight, bias = bundle.linear(f"{there}.qkv", 3 * hidden, hidden)
        for i, part in enumerate(("query", "key", "value")):
            rows = slice(i * hidden, (i + 1) * hidden)
            square = weight[i * hidden * hidden : (i + 1) * hidden * hidden]
            result += linear(f"{here}.attention.self.{part}", square, bias[rows])
        result += linear(f"{here}.attention.output.dense", *bundle.linear(f"{there}.attention_output", hidden, hidden))
        result += norm(f"{here}.attention.output.LayerNorm", f"{there}.attention_norm")
        result += linear(f"{here}.intermediate.dense", *bundle.linear(f"{there}.ffn_up", inner, hidden))
        result += linear(f"{here}.output.dense", *bundle.linear(f"{there}.ffn_down", hidden, inner))
        result += norm(f"{here}.output.LayerNorm", f"{there}.output_norm")
    return result + linear("pooler.dense", *bundle.linear("pooler", hidden, hidden))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle")
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json of the encoder that the bundle descends from")
    parser.add_argument("-o", "--output", required=True, help="folder to write")
    arguments = parser.parse_args()

    if not os.path.isfile(arguments.tokenizer):
        sys.exit(f"{arguments.tokenizer}: no such file; expected the tokenizer.json of the pretrained encoder")
    bundle = Bundle(arguments.bundle)
    shape = bundle.shape
    header, parts, at = {}, [], 0
    for name, size, values in tensors(bundle):
        header[name] = {"dtype": "F32", "shape": size, "data_offsets": [at, at + 4 * len(values)]}
        parts.append(values.tobytes())
        at += 4 * len(values)
    config = {
        "architectures": ["BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": shape["hidden"],
        "initializer_range": 0.02,
        "intermediate_size": shape["intermediate"],
        "layer_norm_eps": float(f"{shape['layer_norm_eps']:.6e}"),
        "max_position_embeddings": shape["positions"],
        "model_type": "bert",
        "num_attention_heads": shape["heads"],
        "num_hidden_layers": shape["layers"],
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": shape["types"],
        "vocab_size": shape["vocabulary"],
    }
    os.makedirs(arguments.output, exist_ok=True)
    shutil.copyfile(arguments.tokenizer, os.path.join(arguments.output, "tokenizer.json"))
    with open(os.path.join(arguments.output, "config.json"), "w") as file:
        json.dump(config, file, indent=2)
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    model = os.path.join(arguments.output, "model.safetensors")
    with open(f"{model}.part", "wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded + b"".join(parts))
    os.replace(f"{model}.part", model)


if __name__ == "__main__":
    main()
