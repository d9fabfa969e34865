#!/usr/bin/env python3
"""Makes the data of train-tiny.toml: sentences from a few templates whose labels follow from the templates alone.

Run in this folder; the output is the same every time. Standard library only.
"""

import json
import random

ANIMALS = ["cat", "dog", "horse", "bird", "fox", "mouse"]
VERBS = {"sleeps": "awake", "runs": "still", "sings": "silent", "eats": "hungry"}
PLACES = ["garden", "house", "forest", "street", "kitchen", "field"]
COLOURS = ["red", "black", "white", "brown"]


def nli(chance):
    animal, verb, place, colour = (chance.choice(x) for x in (ANIMALS, list(VERBS), PLACES, COLOURS))
    premise = f"A {colour} {animal} {verb} in the {place}."
    return premise, {
        "entailment": chance.choice([f"The {animal} {verb}.", f"The {animal} is {colour}.", f"It is in the {place}."]),
        "contradiction": chance.choice([f"The {animal} is {VERBS[verb]}.", f"Nothing is in the {place}."]),
        "neutral": chance.choice([f"The {animal} is old.", f"A child sees the {animal}.", "It is late."]),
    }


def write(name, header, rows):
    with open(name, "w", encoding="utf-8", newline="\n") as out:
        for row in [header, *rows]:
            out.write("\t".join(map(str, row)) + "\n")


def main():
    chance = random.Random(5)
    for part, count in (("train", 100), ("dev", 20)):
        rows = []
        for i in range(count):
            premise, hypotheses = nli(chance)
            rows += [(f"{part}{i}-{label[0]}", premise, text, label) for label, text in hypotheses.items()]
        write(f"nli_{part}.tsv", ("id", "text_a", "text_b", "label"), rows)

    paragraphs, questions = [], 0
    for _ in range(60):
        used = chance.sample(ANIMALS, 3)
        facts = [(a, chance.choice(COLOURS), chance.choice(list(VERBS)), chance.choice(PLACES)) for a in used]
        sentences = [f"The {colour} {animal} {verb} in the {place}." for animal, colour, verb, place in facts]
        context, qas = " ".join(sentences), []
        for (animal, colour, verb, place), sentence in zip(facts, sentences):
            start = context.index(sentence) + sentence.index(place)
            question = f"Where is the {colour} {animal} that {verb}?"
            qas.append({"id": f"q{questions}", "question": question, "answers": [{"answer_start": start, "text": place}]})
            questions += 1
        paragraphs.append({"title": "tiny", "context": context, "qas": qas})
    with open("paragraphs.jsonl", "w", encoding="utf-8", newline="\n") as out:
        for paragraph in paragraphs:
            out.write(json.dumps(paragraph) + "\n")

    words = set(ANIMALS) | set(VERBS) | set(VERBS.values()) | set(PLACES) | set(COLOURS)
    words |= set("a the in is it of where that nothing child sees old late . ?".split())
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = special + sorted(words) + sorted(set(letters) - words) + [f"##{c}" for c in letters]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for i, t in enumerate(special)
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {t: {"id": t, "ids": [special.index(t)], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {t: i for i, t in enumerate(vocabulary)},
        },
    }
    with open("tokenizer/tokenizer.json", "w", encoding="utf-8", newline="\n") as out:
        json.dump(tokenizer, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
