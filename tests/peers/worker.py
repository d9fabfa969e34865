"""One engine in a process of its own: worker.py ort|openvino MODEL THREADS

Answers `BATCH TOKENS REPEATS` on standard input with the wall times in milliseconds, separated by spaces.
"""
import sys
import time

import numpy as np


def inputs(batch, tokens):
    ids = (np.arange(tokens)[None] * 7919 + np.arange(batch)[:, None] * 104729) % 29000 + 1000
    ids[:, 0] = 101
    types = np.broadcast_to((np.arange(tokens) >= tokens // 2).astype(np.int64), ids.shape)
    return {"input_ids": ids.astype(np.int64), "attention_mask": np.ones_like(ids, np.int64),
            "token_type_ids": np.ascontiguousarray(types)}


def onnx_runtime(model, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(["logits"], x)[0]


def open_vino(model, threads):
    import openvino

    config = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1}
    request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()
    return lambda x: request.infer(x, share_inputs=True, share_outputs=True)[0]


def main():
    engine, model, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    run = {"ort": onnx_runtime, "openvino": open_vino}[engine](model, threads)
    print("ready", flush=True)
    for line in sys.stdin:
        batch, tokens, repeats = map(int, line.split())
        x, times = inputs(batch, tokens), []
        if not np.isfinite(run(x)).all():
            sys.exit(f"{engine}: logits are not finite")
        for _ in range(repeats):
            began = time.perf_counter()
            run(x)
            times.append((time.perf_counter() - began) * 1e3)
        print(" ".join(f"{t:.4f}" for t in times), flush=True)


if __name__ == "__main__":
    main()
