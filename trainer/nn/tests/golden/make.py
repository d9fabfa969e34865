"""Golden values of the pretrained encoders, by PyTorch and transformers.

    python make.py PRETRAINED_FOLDER > encoders.json

PRETRAINED_FOLDER holds all-MiniLM-L6-v2, all-mpnet-base-v2, ...; torch and transformers must be installed.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import AutoModel

PAIRS = [
    ("What draws water out of a plant?", "Transpiration pulls water from the roots to the leaves, where it evaporates."),
    ("Is it raining?", "No."),
]


def golden(folder):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    model = AutoModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    bert = model.config.model_type == "bert"
    encodings = [tokenizer.encode(a, b) for a, b in PAIRS]
    ids = [e.ids for e in encodings]
    types = [e.type_ids if bert else [0] * len(e.ids) for e in encodings]
    longest = max(map(len, ids))
    pad = model.config.pad_token_id
    inputs = {
        "input_ids": torch.tensor([i + [pad] * (longest - len(i)) for i in ids]),
        "attention_mask": torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i in ids]),
    }
    if bert:
        inputs["token_type_ids"] = torch.tensor([t + [0] * (longest - len(t)) for t in types])
    with torch.no_grad():
        output = model(**inputs)
    mask = inputs["attention_mask"].unsqueeze(-1).float()
    mean = (output.last_hidden_state * mask).sum(1) / mask.sum(1)
    rounded = lambda t: [[round(x, 6) for x in row] for row in t.tolist()]
    return {
        "ids": ids,
        "types": types,
        # The first 8 columns of each sequence's last token, and of its pooled vector.
        "last_token": rounded(torch.stack([h[len(i) - 1, :8] for h, i in zip(output.last_hidden_state, ids)])),
        "pooled": rounded(output.pooler_output[:, :8]),
        "embedding": rounded(torch.nn.functional.normalize(mean, dim=-1)[:, :32]),
    }


if __name__ == "__main__":
    root = Path(sys.argv[1])
    print(json.dumps({name: golden(root / name) for name in ["all-MiniLM-L6-v2", "all-mpnet-base-v2"]}, separators=(",", ":")))
