"""Writes tests/data/tokenizers.json: small tokenizers of every published make, and what Hugging Face's tokenizers gives.

    python3 make_tokenizer_oracle.py DATA_DIR SMOLLM2_DIR > tests/data/tokenizers.json

needs the package tokenizers (0.23 made the file in the tree). DATA_DIR is the folder of the test data, SMOLLM2_DIR a
Hugging Face folder of SmolLM2. `variants` are merge patches (RFC 7396) of the two `bases`; ids and decoded texts are
kept as FNV-1a hashes, over all texts and over generated ones. `published` has the hashes of whole files, encoded line
by line.
"""

import json
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+")
LLAMA3 = QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
HAN = r"[\p{Han}]+|[\p{L}\p{M}&&[^\p{Han}]]+|\p{N}{1,3}|[^\s\p{L}\p{M}\p{N}]+|\s+"
DEEPSEEK = ["\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
            "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def byte_level(use_regex, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def added(token_id, content, **flags):
    token = {"id": token_id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
    return {**token, **flags}


def bases(data):
    text = open(data + "/text/shakespeare.txt", encoding="utf-8").read()[:300000]
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator([text], trainers.BpeTrainer(vocab_size=556, show_progress=False, special_tokens=["<|end|>"],
                                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    of_bytes = json.loads(t.to_str())

    # Llama-2's structure: 3 + 256 tokens first, no pre-tokenizer, spaces as U+2581, runs of them as tokens.
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    first = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    t.train_from_iterator([text, "é ü ñ 世 界 你 好"] * 2, trainers.BpeTrainer(vocab_size=640, show_progress=False,
                                                                            special_tokens=first))
    of_pieces = json.loads(t.to_str())
    vocab, merges = of_pieces["model"]["vocab"], of_pieces["model"]["merges"]
    for left, right in (("▁", "▁"), ("▁▁", "▁▁"), ("▁▁", "▁")):
        vocab.setdefault(left + right, len(vocab))
        merges.append([left, right])
    of_pieces["added_tokens"] = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")]
    of_pieces["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    of_pieces["pre_tokenizer"] = None
    of_pieces["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                 {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    of_pieces["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return {"bytes": of_bytes, "pieces": of_pieces}


def variants(found):
    n = len(found["bytes"]["model"]["vocab"])
    flags = [added(n, "lend", special=False, normalized=True, lstrip=True), added(n + 1, "<|x|>", rstrip=True),
             added(n + 2, "the end", special=False, single_word=True),
             added(n + 3, "  ", special=False, normalized=True)]
    out = [
        ("gpt2", "bytes", {}),
        ("prefix space", "bytes", {"pre_tokenizer": byte_level(True, prefix=True)}),
        ("llama3", "bytes", {"model": {"ignore_merges": True},
                             "pre_tokenizer": sequence(split(LLAMA3), byte_level(False)),
                             "post_processor": {"type": "Sequence", "processors": [
                                 byte_level(True), {
                                     "type": "TemplateProcessing",
                                     "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}},
                                                {"Sequence": {"id": "A", "type_id": 0}}],
                                     "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                                              {"Sequence": {"id": "B", "type_id": 1}}],
                                     "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [0],
                                                                    "tokens": ["<|end|>"]}}}]}}),
        ("qwen", "bytes", {"normalizer": {"type": "NFC"}, "pre_tokenizer": sequence(split(QWEN), byte_level(False))}),
        ("deepseek", "bytes", {"pre_tokenizer": sequence(*map(split, DEEPSEEK), byte_level(False))}),
        ("smollm2", "bytes", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True},
                                                        byte_level(True))}),
        ("o200k", "bytes", {"pre_tokenizer": sequence(split(O200K), byte_level(False))}),
        ("han", "bytes", {"pre_tokenizer": sequence(split(HAN), byte_level(False))}),
        ("flags", "bytes", {"added_tokens": [added(0, "<|end|>")] + flags}),
        ("flags, lower case", "bytes", {"added_tokens": [added(0, "<|end|>")] + flags,
                                        "normalizer": {"type": "Lowercase"}}),
        ("llama2", "pieces", {}),
        ("no fallback", "pieces", {"model": {"byte_fallback": False}}),
        ("unknown apart", "pieces", {"model": {"byte_fallback": False, "fuse_unk": False}}),
        ("mixtral", "pieces", {"normalizer": None, "pre_tokenizer": {
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}}),
        ("metaspace", "pieces", {"normalizer": None, "pre_tokenizer": {
            "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            "decoder": None}),
    ]
    for form in ("NFD", "NFKC", "NFKD", "Lowercase"):
        out.append((form, "bytes", {"normalizer": {"type": form}}))
    strip = {"type": "Sequence", "normalizers": [{"type": "Strip", "strip_left": True, "strip_right": True},
                                                 {"type": "Sequence", "normalizers": [{
                                                     "type": "Replace", "pattern": {"Regex": r"\s+"},
                                                     "content": " "}]}]}
    out.append(("strip", "bytes", {"normalizer": strip}))
    for kind in ("Whitespace", "WhitespaceSplit"):
        out.append((kind, "pieces", {"normalizer": None, "pre_tokenizer": {"type": kind}}))
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        out.append(("punctuation " + behavior, "pieces", {
            "normalizer": None, "pre_tokenizer": {"type": "Punctuation", "behavior": behavior}}))
        for invert in (False, True):
            out.append((f"split {behavior} {invert}", "bytes", {
                "pre_tokenizer": sequence(split(r"[\p{Lu}\s]|\d{2}", behavior, invert), byte_level(False))}))
    for regex in (r"\w+|[^\w\s]+", r"\b\w", r"\h+|\v", r"(?m)a.b|\n", r"^.|.$", r"\d{2}+", r"x{,2}y", r"a|b(?i)c|D",
                  r"[[:alpha:]]+|[[:punct:]]", r"[[:upper:]]+|[[:lower:]]{2,3}?", r"[a[^b-z]]+", r"[\W_]+", r"\p{^L}+",
                  r"[^\S ]", r"\u0061|\x{62}|[\-\]\[]", r"\P{Letter}{3}", r"\p{C}|\p{Zs}", r"\R"):
        out.append(("regex " + regex, "bytes", {"pre_tokenizer": sequence(split(regex), byte_level(False))}))
    return out


TEXTS = [
    "", " ", "  ", "\n", "\t\r\n", "a", "Hello world", "hello  world ", " the end the lend the", "THE END", "<s>x</s> <s>",
    "<|end|>end <|x|>  the   <|end|>", "I'LL don't we'Re 'ſ", "3.14159 1,000,000 ०१२ ½ Ⅷ ²", "x=1;\n\n\n  y += 22\r\n\r\n",
    "Grüße, Ångström café é ﬁ ﬂ", "e\u0301e\u0323\u0307 n\u0303 \u1100\u1161\u11a8 \u0344", "世界你好 日本語カナ 한국어",
    "漢字and漢字123漢字", "👩\u200d💻 🇩🇪 👍🏽 ❤\ufe0f", "привет МИР Ω ω ς", "שלום مرحبا हिन्दी ไทย", "▁ ▁▁a ▁b", "<0x41><0xE4>",
    "a\u00a0b\u3000c\u2028d\u0085e\u180ef\ufefff", "\x00\x01\x7f", "İstanbul ǅ ß ẞ ŉ", "snake_case CamelCase kebab-case",
    "yxyxxyxxxy aXb a\nb bc BC D", "...!!! ?? -- ''\"\" [x] {y} (z)", "\U0001d2d2 \U00031350\U00031351 \u2429\U0001fae8",
    "\ua7cb\U00010d50\U00010d70 \u1c89\u1c8a \U00011f04\U00011f50", "a\U00010efd\u0316 \u0898\u0301 \u3300\u32ff",
    "b\u0345\u0300 24b6: \u24b6\u24d0 \U0001f130", "fi\ufb01 \u2126 \u212b \uf900", " " * 40 + "x" + "\n" * 9, "a" * 70,
    "=-" * 30, "don't " * 12, "\U0010ffff\ufffd\ue000",
]
BLOCKS = [(0x20, 0x7F), (0x9, 0xE), (0x20, 0x21), (0x80, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700),
          (0x900, 0xE80), (0x1100, 0x1200), (0x1E00, 0x2070), (0x2070, 0x2C00), (0x3000, 0x3100), (0x4E00, 0x4F00),
          (0xAC00, 0xAD00), (0xF900, 0xFB50), (0xFE00, 0xFFFE), (0x10000, 0x14500), (0x1D100, 0x1D800),
          (0x1F1E6, 0x1F200), (0x1F300, 0x1FB00), (0x2EBF0, 0x2EC10), (0xE0000, 0xE0080), (0x10FFF0, 0x110000)]
GENERATED = 200


def generated():
    """The same texts as generated_texts() in tokenizer_oracle_test.cpp."""
    state = 1

    def draw(n):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 33) % n

    texts = []
    for _ in range(GENERATED):
        text, home = "", BLOCKS[draw(len(BLOCKS))]
        for _ in range(draw(40)):
            low, high = home if draw(2) else BLOCKS[draw(len(BLOCKS))]
            text += chr(low + draw(high - low))
        texts.append(text)
    return texts


def fnv(chunks):
    h = 0xCBF29CE484222325
    for chunk in chunks:
        for byte in chunk:
            h = (h ^ byte) * 0x100000001B3 % 2**64
    return "%016x" % h


def of_ids(lists):
    return fnv(b"".join(i.to_bytes(4, "little") for i in [*ids, 0xFFFFFFFF]) for ids in lists)


def of_texts(texts):
    return fnv(text.encode() + b"\xff" for text in texts)


def merged(base, patch):
    if not isinstance(patch, dict):
        return patch
    out = dict(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        out[key] = None if value is None else merged(out.get(key), value)
    return out


def published(data, smollm2):
    vocab = json.load(open(data + "/tokenizers/gpt2_encoder.json"))
    lines = open(data + "/tokenizers/gpt2_vocab.bpe", encoding="utf-8").read().split("\n")[1:-1]
    gpt2 = Tokenizer(models.BPE(vocab, [tuple(line.split(" ")) for line in lines]))
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    makes = {name: Tokenizer.from_file(f"{data}/tokenizers/{name}_tokenizer.json")
             for name in ("qwen3", "deepseek_v3", "pythia")}
    makes.update(gpt2=gpt2, smollm2=Tokenizer.from_file(smollm2 + "/tokenizer.json"))
    out = {}
    for name, tokenizer in makes.items():
        out[name] = {"generated": of_ids(tokenizer.encode(t, add_special_tokens=False).ids for t in generated())}
        for file in ("tokenizers/vectors.inp", "text/shakespeare.txt", "math/math500.jsonl", "code/mbpp.jsonl",
                     "instruct/instruction.jsonl", "oracles/chat_templates.json"):
            lines = open(f"{data}/{file}", encoding="utf-8", newline="").read().split("\n")
            out[name][file] = of_ids(tokenizer.encode(line, add_special_tokens=False).ids for line in lines)
    return out


def main():
    data, smollm2 = sys.argv[1:]
    found, results = bases(data), []
    for name, base, patch in variants(found):
        tokenizer = Tokenizer.from_str(json.dumps(merged(found[base], patch)))
        ids = [tokenizer.encode(text).ids for text in TEXTS]
        made = [tokenizer.encode(text).ids for text in generated()]
        results.append({"name": name, "base": base, "patch": patch, "ids": of_ids(ids), "generated": of_ids(made),
                        "decoded": of_texts(tokenizer.decode(i, skip_special_tokens=False) for i in ids + made),
                        "first": ids[7]})
    json.dump({"bases": found, "texts": TEXTS, "blocks": BLOCKS, "count": GENERATED, "variants": results,
               "published": published(data, smollm2)}, sys.stdout, ensure_ascii=False, separators=(",", ":"))


main()
