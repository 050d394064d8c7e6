"""Writes tests/data/token_places.json: which token each character of a text falls into (char_to_token of Hugging Face's tokenizers, null where into none),
for the tokenizers and texts of tests/data/tokenizers.json.

    python3 make_places_oracle.py tests/data/tokenizers.json > tests/data/token_places.json

needs the package tokenizers (0.23 made the file in the tree).
"""

import json
import sys

from tokenizers import Tokenizer


def merged(target, patch):
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merged(target.get(key), value)
    return target


def main():
    oracle = json.load(open(sys.argv[1], encoding="utf-8"))
    texts = [t for t in oracle["texts"] if 0 < len(t) <= 60]
    texts += ["[INST] What is 6 times 7? [/INST] It is 42. </s><s>[INST] And é世界 [/INST] Yes.</s>", "Q: 3+4\nA: 7"]
    out = {"texts": texts, "places": {}}
    for variant in oracle["variants"]:
        if variant["name"].startswith(("regex", "split")):  # they only cut, as others do
            continue
        tokenizer = Tokenizer.from_str(json.dumps(merged(oracle["bases"][variant["base"]], variant["patch"])))
        rows = []
        for text in texts:
            encoding = tokenizer.encode(text, add_special_tokens=False)
            rows.append([encoding.char_to_token(c) for c in range(len(text))])
        out["places"][variant["name"]] = rows
    json.dump(out, sys.stdout, ensure_ascii=False, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
