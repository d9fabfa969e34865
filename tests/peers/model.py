"""Writes one BERT pair classifier with random weights as a Hugging Face folder and as ONNX, and quantises the ONNX.

    model.py OUT [--layers 6 --hidden 384 --intermediate 1536 --heads 12 --vocabulary 30522]

OUT/folder            config.json, model.safetensors, tokenizer.json: what attar-quantize reads
OUT/f32.onnx          the graph that torch.onnx exports (opset 17): MatMul + Add, additive mask, Erf GELU
OUT/ort_int8.onnx     ONNX Runtime's dynamic int8, per channel
OUT/openvino_int8.xml NNCF's post-training int8 for transformers
"""
import argparse
import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file


def weights(a):
    rng, out = np.random.default_rng(0), {}

    def normal(name, *shape, scale=0.04):
        out[name] = (rng.standard_normal(shape) * scale).astype(np.float32)

    def norm(name):
        out[name + ".weight"], out[name + ".bias"] = np.ones(a.hidden, np.float32), np.zeros(a.hidden, np.float32)

    def linear(name, n, k):
        normal(name + ".weight", n, k)
        normal(name + ".bias", n, scale=0.01)

    normal("bert.embeddings.word_embeddings.weight", a.vocabulary, a.hidden)
    normal("bert.embeddings.position_embeddings.weight", 512, a.hidden)
    normal("bert.embeddings.token_type_embeddings.weight", 2, a.hidden)
    norm("bert.embeddings.LayerNorm")
    for i in range(a.layers):
        p = f"bert.encoder.layer.{i}."
        for q in ("query", "key", "value"):
            linear(p + "attention.self." + q, a.hidden, a.hidden)
        linear(p + "attention.output.dense", a.hidden, a.hidden)
        norm(p + "attention.output.LayerNorm")
        linear(p + "intermediate.dense", a.intermediate, a.hidden)
        linear(p + "output.dense", a.hidden, a.intermediate)
        norm(p + "output.LayerNorm")
    linear("bert.pooler.dense", a.hidden, a.hidden)
    linear("classifier", 3, a.hidden)
    return out


def folder(a, tensors, path):
    path.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path / "model.safetensors")
    labels = {"0": "entailment", "1": "neutral", "2": "contradiction"}
    config = {
        "architectures": ["BertForSequenceClassification"], "model_type": "bert", "hidden_act": "gelu",
        "hidden_size": a.hidden, "num_hidden_layers": a.layers, "num_attention_heads": a.heads,
        "intermediate_size": a.intermediate, "vocab_size": a.vocabulary, "max_position_embeddings": 512,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "pad_token_id": 0, "position_embedding_type": "absolute",
        "id2label": labels, "label2id": {v: int(k) for k, v in labels.items()},
    }
    (path / "config.json").write_text(json.dumps(config, indent=1))
    specials = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    names = {v: k for k, v in specials.items()}
    # Numbers as words, so that any text has tokens; the ids that the engines are timed on do not come from text.
    vocabulary = {names.get(i, chr(i) if 33 <= i < 127 else f"w{i}"): i for i in range(a.vocabulary)}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for t, i in specials.items()],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    }
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))


def graph(a, tensors, path):
    nodes, initializers, known = [], [], set()

    def constant(name, value, dtype):
        if name not in known:
            known.add(name)
            initializers.append(numpy_helper.from_array(np.array(value, dtype, order="C"), name))
        return name

    def op(kind, *inputs, out=None, **attributes):
        out = out or f"{kind}_{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [out], name=f"node_{len(nodes)}", **attributes))
        return out

    def f32(name, transpose=False):
        value = tensors[name]
        return constant(name + (".T" if transpose else ""), value.T if transpose else value, np.float32)

    def linear(x, name):
        return op("Add", op("MatMul", x, f32(name + ".weight", True)), f32(name + ".bias"))

    def norm(x, name):
        return op("LayerNormalization", x, f32(name + ".weight"), f32(name + ".bias"), axis=-1, epsilon=1e-12)

    def axes(i):
        return constant(f"axes{i}", [i], np.int64)

    one, lowest = constant("one", 1.0, np.float32), constant("lowest", np.finfo(np.float32).min, np.float32)
    mask = op("Unsqueeze", op("Unsqueeze", "attention_mask", axes(1)), axes(2))
    mask = op("Mul", op("Sub", one, op("Cast", mask, to=TensorProto.FLOAT)), lowest)
    length = op("Gather", op("Shape", "input_ids"), constant("i1", 1, np.int64), axis=0)
    positions = op("Slice", constant("positions", np.arange(512)[None], np.int64), axes(0),
                   op("Unsqueeze", length, axes(0)), axes(1))
    e = "bert.embeddings."
    x = op("Add", op("Gather", f32(e + "word_embeddings.weight"), "input_ids", axis=0),
           op("Gather", f32(e + "token_type_embeddings.weight"), "token_type_ids", axis=0))
    x = norm(op("Add", x, op("Gather", f32(e + "position_embeddings.weight"), positions, axis=0)), e + "LayerNorm")
    d = a.hidden // a.heads
    split = constant("split", [0, 0, a.heads, d], np.int64)
    join = constant("join", [0, 0, a.hidden], np.int64)
    root2, half = constant("root2", np.sqrt(2.0), np.float32), constant("half", 0.5, np.float32)
    for i in range(a.layers):
        p = f"bert.encoder.layer.{i}."
        q, k, v = (op("Reshape", linear(x, p + "attention.self." + n), split) for n in ("query", "key", "value"))
        q, k, v = op("Transpose", q, perm=[0, 2, 1, 3]), op("Transpose", k, perm=[0, 2, 3, 1]), op("Transpose", v, perm=[0, 2, 1, 3])
        s = op("Div", op("MatMul", q, k), constant("root_d", np.sqrt(d), np.float32))
        c = op("MatMul", op("Softmax", op("Add", s, mask), axis=-1), v)
        c = op("Reshape", op("Transpose", c, perm=[0, 2, 1, 3]), join)
        x = norm(op("Add", linear(c, p + "attention.output.dense"), x), p + "attention.output.LayerNorm")
        h = linear(x, p + "intermediate.dense")
        h = op("Mul", op("Mul", h, op("Add", op("Erf", op("Div", h, root2)), one)), half)
        x = norm(op("Add", linear(h, p + "output.dense"), x), p + "output.LayerNorm")
    cls = op("Gather", x, constant("i0", 0, np.int64), axis=1)
    pooled = op("Tanh", op("Gemm", cls, f32("bert.pooler.dense.weight"), f32("bert.pooler.dense.bias"), transB=1))
    op("Gemm", pooled, f32("classifier.weight"), f32("classifier.bias"), transB=1, out="logits")
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "tokens"])
              for n in ("input_ids", "attention_mask", "token_type_ids")]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])]
    made = helper.make_model(helper.make_graph(nodes, "bert", inputs, outputs, initializers),
                             opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    onnx.save(made, path)


def quantise(a, out):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(out / "f32.onnx", out / "ort_int8.onnx", per_channel=True, reduce_range=False,
                     weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm", "Gather"])
    import nncf
    import openvino

    rng = np.random.default_rng(1)

    def example(_):
        ids = rng.integers(1000, a.vocabulary, (1, 64))
        return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}

    model = nncf.quantize(openvino.Core().read_model(out / "f32.onnx"), nncf.Dataset(range(64), example),
                          model_type=nncf.ModelType.TRANSFORMER, subset_size=64)
    openvino.save_model(model, out / "openvino_int8.xml", compress_to_fp16=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    for name, value in (("layers", 6), ("hidden", 384), ("intermediate", 1536), ("heads", 12), ("vocabulary", 30522)):
        parser.add_argument("--" + name, type=int, default=value)
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    tensors = weights(a)
    folder(a, tensors, a.out / "folder")
    graph(a, tensors, a.out / "f32.onnx")
    quantise(a, a.out)


if __name__ == "__main__":
    main()
