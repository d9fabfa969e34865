#!/usr/bin/env python3
"""Prints where a bundle breaks: word overlap, small edits, documents without the answer, and how far to believe its numbers.

    tests/robustness.py --data DIR [--attar target/release/attar] [--model FILE] [--limit N] [--threads N] [--only overlap]

overlap         pairs whose hypothesis has only words of the premise, made here from templates after HANS (McCoy et al. 2019):
                600 that are entailed and 600 that are not; neutral and contradiction both count as not entailed
counterfactual  SNLI's test rows with a premise or hypothesis edited so that the label changes (Kaushik et al. 2020)
wrong-document  the answerable questions of examples/docs, asked of the other documents: how many are declined
calibration     expected calibration error (15 bins, %) of the logits as they are, and after the bundle's temperature

DIR holds the sets as tests/dev-accuracy.py wants them. Standard library only; `.zst` needs the zstd command.
"""
import csv
import itertools
import math
import os
import pathlib
import random
import shutil
import subprocess
import tempfile

from bundle_scores import NLI, RELEVANCE, Attar, accuracy, check_data, options, read_tsv, show

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
PEOPLE = ["doctor", "lawyer", "judge", "actor", "banker", "student", "artist", "senator", "tourist", "manager", "author", "scientist"]
DID = ["saw", "stopped", "helped", "called", "thanked", "supported", "advised", "avoided"]  # the past and the participle of most
PASSIVE = {"saw": "seen"}
ALONE = ["slept", "arrived", "shouted", "danced", "resigned", "waited"]

# heuristic, entailed, premise, hypothesis: A to C are people, V what they did, P its participle, I what they did alone.
TEMPLATES = [
    ("lexical overlap", False, "The {a} {v} the {b}.", "The {b} {v} the {a}."),
    ("lexical overlap", False, "The {a} was {p} by the {b}.", "The {a} {v} the {b}."),
    ("lexical overlap", True, "The {a} was {p} by the {b}.", "The {b} {v} the {a}."),
    ("lexical overlap", True, "The {a} and the {b} {v} the {c}.", "The {b} {v} the {c}."),
    ("subsequence", False, "The {a} by the {b} {v} the {c}.", "The {b} {v} the {c}."),
    ("subsequence", False, "The {a} who {v} the {b} {i}.", "The {b} {i}."),
    ("subsequence", True, "The {a} and the {b} {i}.", "The {b} {i}."),
    ("subsequence", True, "The {a} who {v} the {b} {i}.", "The {a} {v} the {b}."),
    ("constituent", False, "If the {a} {i}, the {b} {v} the {c}.", "The {a} {i}."),
    ("constituent", False, "The {a} believed that the {b} {i}.", "The {b} {i}."),
    ("constituent", True, "Because the {a} {i}, the {b} {v} the {c}.", "The {a} {i}."),
    ("constituent", True, "The {a} knew that the {b} {i}.", "The {b} {i}."),
]


def overlap_rows(each=100):
    draw = random.Random(17)
    for heuristic, entailed, premise, hypothesis in TEMPLATES:
        for _ in range(each):
            a, b, c = draw.sample(PEOPLE, 3)
            v = draw.choice(DID)
            words = {"a": a, "b": b, "c": c, "v": v, "p": PASSIVE.get(v, v), "i": draw.choice(ALONE)}
            yield heuristic, entailed, premise.format(**words), hypothesis.format(**words)


def overlap(attar):
    """Accuracy of each heuristic, entailed / not entailed."""
    rows = list(overlap_rows())
    scored, _ = attar.score("nli", [(premise, hypothesis) for _, _, premise, hypothesis in rows])
    right = {}
    for (heuristic, entailed, _, _), score in zip(rows, scored):
        right.setdefault((heuristic, entailed), []).append((score["label"] == "entailment") == entailed)
    result = {"n": len(rows)}
    for (heuristic, entailed), values in right.items():
        result[f"{heuristic}{'' if entailed else ' (not entailed)'}"] = round(100 * sum(values) / len(values), 1)
    return result


def counterfactual(attar, rows, kind):
    rows = [r for r in rows if r["split"] == "test" and r["kind"] == kind]
    return accuracy(attar, rows, "nli", NLI)


def wrong_document(arguments):
    """How many questions are declined when the one document that answers them is taken away."""
    documents = REPOSITORY / "examples/docs"
    with open(documents / "questions.tsv", encoding="utf-8") as f:
        questions = [r for r in csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE) if r["source"]]
    declined = 0
    for source, group in itertools.groupby(sorted(questions, key=lambda r: r["source"]), key=lambda r: r["source"]):
        with tempfile.TemporaryDirectory() as folder:
            for document in documents.iterdir():
                if document.name not in (source, "questions.tsv", "README.md"):
                    shutil.copy(document, folder)
            for row in group:
                model = ["--model", arguments.model] if arguments.model else []
                command = [arguments.attar, "ask", row["question"], "--docs", folder, *model]
                code = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
                if code not in (0, 1):
                    raise SystemExit(f"{' '.join(command)}: exit code {code}")
                declined += code == 1
    return {"n": len(questions), "declined": declined}


def calibration(attar, rows, head, gold):
    rows = [r for r in rows if r["label"] in gold and r["text_a"].strip() and r["text_b"].strip()]
    scored, _ = attar.score(head, [(r["text_a"], r["text_b"]) for r in rows])

    def soft_max(logits):
        most = max(logits.values())
        powers = {label: math.exp(x - most) for label, x in logits.items()}
        return {label: x / sum(powers.values()) for label, x in powers.items()}

    def error(probabilities_of):
        bins = [[0, 0.0, 0] for _ in range(15)]  # rows, sum of confidences, right ones
        for row, score in zip(rows, scored):
            label, confidence = max(probabilities_of(score).items(), key=lambda item: item[1])
            at = bins[min(14, int(15 * confidence))]
            at[0] += 1
            at[1] += confidence
            at[2] += label == gold[row["label"]]
        return round(100 * sum(abs(c - r) for _, c, r in bins) / len(rows), 2)

    return {"n": len(rows), "before": error(lambda s: soft_max(s["logits"])), "after": error(lambda s: s["probabilities"])}


def main():
    arguments = options(__doc__).parse_args()
    check_data(arguments.data)
    attar = Attar(arguments)
    if arguments.only in "overlap":
        show(arguments, "overlap", overlap(attar))
    if arguments.only in "counterfactual":
        rows = read_tsv(os.path.join(arguments.data, "nli_extra/snli_counterfactual.tsv"))
        for kind in ("revised_premise", "revised_hypothesis"):
            show(arguments, f"counterfactual {kind}", rows and counterfactual(attar, rows, kind))
    if arguments.only in "wrong-document":
        show(arguments, "wrong-document", wrong_document(arguments))
    if arguments.only in "calibration":
        for path, head, gold in [
            ("mnli/dev_matched.tsv", "nli", NLI),
            ("snli/test.tsv", "nli", NLI),
            ("qnli/dev_v2.tsv", "relevance", RELEVANCE),
        ]:
            rows = read_tsv(os.path.join(arguments.data, path))
            rows = rows[: arguments.limit] if rows and arguments.limit else rows
            show(arguments, f"calibration {path}", rows and calibration(attar, rows, head, gold))


if __name__ == "__main__":
    main()
