#!/usr/bin/env python3
"""Prints a bundle's accuracy on the dev and test sets, by running `attar score --pairs`.

    tests/dev-accuracy.py --data DIR [--attar target/release/attar] [--model FILE] [--limit N] [--threads N] [--only mnli]

DIR holds the sets as `mnli/dev_matched.tsv[.zst]` and so on (columns id, text_a, text_b, label). A set that is not
there is reported as skipped. Classification: accuracy. Ranking: MAP and MRR over the questions that have an answer
(WikiQA, TREC-QA), nDCG@10 over BM25's first hundred (TREC DL 2019). `--json` prints one object a set.
Standard library only; `.zst` needs the zstd command.
"""
import collections
import math
import os

from bundle_scores import NLI, RELEVANCE, TWO_WAY, Attar, accuracy, check_data, options, read_jsonl, read_tsv, show

CLASSIFICATION = [  # name, file, head, gold label -> the head's label
    ("MNLI matched dev", "mnli/dev_matched.tsv", "nli", NLI),
    ("MNLI mismatched dev", "mnli/dev_mismatched.tsv", "nli", NLI),
    ("SNLI dev", "snli/dev.tsv", "nli", NLI),
    ("SNLI test", "snli/test.tsv", "nli", NLI),
    ("QNLI dev", "qnli/dev_v2.tsv", "relevance", RELEVANCE),
    ("RTE dev", "rte/dev.tsv", "rte", TWO_WAY),
]
RANKING = [
    ("WikiQA dev", "wikiqa/dev.tsv"),
    ("TREC-QA test", "trecqa/test.tsv"),
]


def relevance(scored):
    """The ranking key: the margin of the logits, which does not saturate as a probability does."""
    return [s["logits"]["relevant"] - s["logits"]["not_relevant"] for s in scored]


def mean_average_precision(attar, rows, limit):
    questions = collections.OrderedDict()
    for r in rows:
        questions.setdefault(r["text_a"], []).append(r)
    kept = [g for g in questions.values() if any(r["label"] == "1" for r in g)]
    if limit:
        kept = kept[: max(1, limit // 10)]
    flat = [r for g in kept for r in g]
    scored, seconds = attar.score("relevance", [(r["text_a"], r["text_b"]) for r in flat])
    keys = iter(relevance(scored))
    ap, rr = [], []
    for group in kept:
        order = sorted(((next(keys), -i, r["label"] == "1") for i, r in enumerate(group)), reverse=True)
        hits, precisions, first = 0, [], 0
        for rank, (_, _, good) in enumerate(order, 1):
            if good:
                hits += 1
                precisions.append(hits / rank)
                first = first or rank
        ap.append(sum(precisions) / len(precisions))
        rr.append(1 / first)
    return {"n": len(flat), "questions": len(kept), "map": round(sum(ap) / len(ap), 4), "mrr": round(sum(rr) / len(rr), 4),
            "pairs_per_second": round(len(flat) / seconds)}


def ndcg_at_10(attar, folder, limit):
    corpus = read_jsonl(os.path.join(folder, "corpus_pool.jsonl"))
    queries = read_jsonl(os.path.join(folder, "queries.jsonl"))
    run, qrels = read_tsv(os.path.join(folder, "bm25_top100.tsv")), read_tsv(os.path.join(folder, "qrels.tsv"))
    if None in (corpus, queries, run, qrels):
        return None

    def pick(d, *names):
        return next(d[n] for n in names if n in d)

    texts = {str(pick(d, "_id", "id")): " ".join(pick(d, "text", "contents").split()) for d in corpus}
    asked = {str(pick(q, "_id", "id")): " ".join(pick(q, "text", "query").split()) for q in queries}
    graded = collections.defaultdict(dict)
    for r in qrels:
        graded[r["query-id"]][r["corpus-id"]] = int(float(r["score"]))
    candidates = collections.defaultdict(list)
    for r in run:
        candidates[r["query-id"]].append(r["corpus-id"])
    ids = [q for q in candidates if q in graded]
    if limit:
        ids = ids[: max(1, limit // 100)]
    flat = [(q, d) for q in ids for d in candidates[q]]
    scored, seconds = attar.score("relevance", [(asked[q], texts[d]) for q, d in flat])
    key = dict(zip(flat, relevance(scored)))

    def dcg(grades):
        return sum(g / math.log2(i + 2) for i, g in enumerate(grades[:10]))  # linear gain, as trec_eval

    def mean(order_of):
        values = []
        for q in ids:
            ideal = dcg(sorted(graded[q].values(), reverse=True))
            values.append(dcg([graded[q].get(d, 0) for d in order_of(q)]) / ideal if ideal else 0.0)
        return round(sum(values) / len(values), 4)

    return {"n": len(flat), "questions": len(ids), "ndcg@10": mean(lambda q: sorted(candidates[q], key=lambda d: -key[q, d])),
            "bm25_ndcg@10": mean(lambda q: candidates[q]), "pairs_per_second": round(len(flat) / seconds)}


def main():
    arguments = options(__doc__).parse_args()
    check_data(arguments.data)
    attar = Attar(arguments)
    for name, path, head, gold in CLASSIFICATION:
        if arguments.only in path:
            rows = read_tsv(os.path.join(arguments.data, path))
            rows = rows[: arguments.limit] if rows and arguments.limit else rows
            show(arguments, name, rows and accuracy(attar, rows, head, gold))
    for name, path in RANKING:
        if arguments.only in path:
            rows = read_tsv(os.path.join(arguments.data, path))
            show(arguments, name, rows and mean_average_precision(attar, rows, arguments.limit))
    if arguments.only in "retrieval/trec_dl19":
        folder = os.path.join(arguments.data, "retrieval/trec_dl19")
        show(arguments, "TREC DL 2019", ndcg_at_10(attar, folder, arguments.limit))


if __name__ == "__main__":
    main()
