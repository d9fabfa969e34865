"""Makes the Parquet files of this folder as the Hugging Face hub has them; the rows are made up.

python3 -m pip install datasets==5.2.0 pyarrow==26.0.1 && python3 trainer/tests/hub/make.py
"""
from pathlib import Path

import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, Value

HERE = Path(__file__).parent
TEXT, INT = Value("string"), Value("int32")


def write(name, features, rows):
    columns = {key: [row[i] for row in rows] for i, key in enumerate(features)}
    Dataset.from_dict(columns, features=Features(features)).to_parquet(HERE / name)


NLI = ClassLabel(names=["entailment", "neutral", "contradiction"])
BINARY = ClassLabel(names=["entailment", "not_entailment"])

mnli = [
    ("A man plays a guitar.", "Somebody makes music.", 0, 0),
    ("A man plays a guitar.", "He plays in a band.", 1, 1),
    ("A man plays a guitar.", "Nobody makes \"music\".", 2, 2),
    ("The shop is closed.", "Nobody agreed on this row.", -1, 3),
]
write("mnli.parquet", {"premise": TEXT, "hypothesis": TEXT, "label": NLI, "idx": INT}, mnli)
# The same without the `huggingface` key, in Zstandard; and in a compression that is not read.
table = pq.read_table(HERE / "mnli.parquet").replace_schema_metadata(None)
pq.write_table(table, HERE / "mnli-without-names.parquet", compression="zstd")
pq.write_table(table, HERE / "mnli-brotli.parquet", compression="brotli")

qnli = [("Who plays?", "A man plays a guitar.", 0, 0), ("Who plays?", "The shop is closed.", 1, 1)]
write("qnli.parquet", {"question": TEXT, "sentence": TEXT, "label": BINARY, "idx": INT}, qnli)
table = pq.read_table(HERE / "qnli.parquet").replace_schema_metadata(None)
pq.write_table(table, HERE / "qnli-without-names.parquet")

# Two shards, each of two row groups.
rte = {"sentence1": TEXT, "sentence2": TEXT, "label": BINARY, "idx": INT}
for shard in range(2):
    name = f"rte-{shard:05}-of-00002.parquet"
    write(name, rte, [(f"Premise {i}.", f"Hypothesis {i}.", i % 2, i) for i in range(3 * shard, 3 * shard + 3)])
    pq.write_table(pq.read_table(HERE / name), HERE / name, row_group_size=2)

# Nulls, and a nested column as in SQuAD.
squad = {"id": TEXT, "question": TEXT, "passage": TEXT, "answers": {"text": [TEXT], "answer_start": [INT]}, "label": TEXT}
write(
    "nulls.parquet",
    squad,
    [("a", "Who plays?", "A man.", {"text": ["man"], "answer_start": [2]}, "1"), ("b", "Who?", "It is closed.", {"text": [], "answer_start": []}, None)],
)
