#!/usr/bin/env python3
"""Writes test/data/tokenizers: small tokenizers of the kinds that no package brings (Llama 2, Mistral, XLM-R, GPT-2,
Llama 3, T5, CLIP ...), trained on texts of this repository, and the ids that the `tokenizers` library gives for nasty
strings with each of them. One file a tokenizer: the tokenizer.json, and <name>.jsonl with rows
{"text", "special": "text"|"parsed", "ids", "ids_special", "decoded"}.

Needs: pip install tokenizers sentencepiece. Usage: tools/make_tokenizer_values.py CORPUS.jsonl OUTPUT_FOLDER
"""
import base64
import json
import os
import random
import sys
import tempfile

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers as N, pre_tokenizers as P,
                        processors, trainers)

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
corpus, folder = sys.argv[1:3]
with open(corpus, encoding="utf-8") as file:
    DOCS = [json.loads(line)["text"] for line in file][:400]
MORE = ["日本語のテキスト、中文文本。 한국어 텍스트", "Ünïcödé naïve café ÀÉÎÕÜ straße İstanbul", "def f(x):\n\treturn x + 1\n\n\n"]
TEXTS = DOCS + MORE * 20

NASTY = [
    "", " ", "  ", "\n", " \n ", "\t\tx", "a", " a", "a ", "  a  b  ", "Hello, world!", "Hello  world", "don't DON'T we'LL",
    "it’s “quoted” — dash…", "3.14159 1234567 ½ ² ٣٤٥", "é e\u0301 Å \u212b ﬁ ①", "İstanbul ß ς Σ", "中文文本", "日本語 テキスト",
    "한국어", "\u1112\u1161\u11ab", "👩\u200d👩\u200d👧\u200d👦 🇩🇪", "\u0000\u0001\u007f", "a\u00a0b\u3000c\u2028d\u0085e", "\ufeffx\u200by",
    "x" * 150, "ab" * 60 + " " + "é" * 40, "<s>", "</s> <s>x", "<mask>", "a<mask>b", "a <mask> b", "  <mask>  ", "<unk>", "[CLS]",
    "word<word>word", "<word> <word>", "NORM norm NoRm", "é<mask>é", "<pad><pad>", "▁", "▁▁a ▁b", "a▁b", "<0x41><0x0A>",
    "\r\n\r\n", "\n\n\n  x", "x  \n", "fooBarBaz_qux-1", "http://a.b/c?d=1&e", "ＦＵＬＬ　ｗｉｄｔｈ", "\u0345\u0301\u0327a", "ᄀ각ᆨ",
    "A\u030a\u0327", "'S 'ſ 's 're", "!!!???...", "(a)[b]{c}", "1,000,000.00", "١٢٣", "x\u0301\u0302y", "ﷺ", "Ⅷ ㎏ ℌ",
    "\u0d4d\u0d7c", "นี่", "हिन्दी", "e\u0301" * 20, "á" * 70, "…" * 5, "\u2581\u2581", "\u001c\u001d", "𝒳𝓎", "𐐀𐐨", "ǅ ǆ",
]


def strings():
    rng = random.Random(7)
    found = list(NASTY)
    points = [(0x20, 0x7f), (0xa0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x5d0, 0x700), (0x900, 0xe00), (0x1100, 0x1200),
              (0x2000, 0x2c00), (0x3000, 0x3400), (0x4e00, 0x9000), (0xac00, 0xd000), (0xfb00, 0xffff), (0x1f300, 0x1f700)]
    for _ in range(60):
        low, high = rng.choice(points)
        found.append("".join(chr(rng.randrange(low, high)) for _ in range(rng.randrange(1, 16))))
    for _ in range(40):
        doc = rng.choice(DOCS)
        at = rng.randrange(max(1, len(doc) - 120))
        found.append(doc[at:at + rng.randrange(1, 120)])
    for _ in range(60):
        found.append("".join(rng.choice(NASTY) for _ in range(3))[:200])
    return found


def train(model, trainer, normalizer=None, pre=None):
    t = Tokenizer(model)
    if normalizer is not None:
        t.normalizer = normalizer
    if pre is not None:
        t.pre_tokenizer = pre
    t.train_from_iterator(TEXTS, trainer)
    return t


def bytes_tokens():
    return ["<0x%02X>" % b for b in range(256)]


def template(t, text, tokens):
    t.post_processor = processors.TemplateProcessing(single=text, special_tokens=[(x, t.token_to_id(x)) for x in tokens])


def gpt2():
    t = train(models.BPE(), trainers.BpeTrainer(vocab_size=1200, initial_alphabet=P.ByteLevel.alphabet(),
                                                special_tokens=["<|endoftext|>"], show_progress=False),
              pre=P.ByteLevel(add_prefix_space=False))
    t.decoder, t.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    return t


def roberta():
    t = train(models.BPE(unk_token="<unk>"),
              trainers.BpeTrainer(vocab_size=1000, initial_alphabet=P.ByteLevel.alphabet(),
                                  special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False),
              pre=P.ByteLevel(add_prefix_space=True))
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    t.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    return t


def llama3():
    t = train(models.BPE(ignore_merges=True),
              trainers.BpeTrainer(vocab_size=1500, initial_alphabet=P.ByteLevel.alphabet(), show_progress=False),
              pre=P.Sequence([P.Split(Regex(LLAMA3), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)]))
    t.add_special_tokens(["<s>", "</s>"])
    t.decoder = decoders.ByteLevel()
    template(t, "<s> $A", ["<s>"])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), t.post_processor])
    return t


def falcon():
    t = train(models.BPE(), trainers.BpeTrainer(vocab_size=1000, initial_alphabet=P.ByteLevel.alphabet(), show_progress=False),
              pre=P.Sequence([P.Punctuation("contiguous"), P.ByteLevel(add_prefix_space=False), P.Digits(False),
                              P.Split(Regex("[0-9][0-9][0-9]"), "isolated")]))
    t.decoder = decoders.ByteLevel()
    return t


def smollm():
    t = train(models.BPE(), trainers.BpeTrainer(vocab_size=900, show_progress=False),
              pre=P.Sequence([P.Digits(individual_digits=True), P.ByteLevel(add_prefix_space=False)]))
    t.decoder = decoders.ByteLevel()
    return t


def sentencepiece_bpe(prefix, fuse=True, fallback=True, metaspace=None):
    pre = P.Metaspace(replacement="▁", prepend_scheme=metaspace, split=False) if metaspace else None
    normalizer = N.Sequence(([N.Prepend("▁")] if prefix else []) + [N.Replace(" ", "▁")]) if not metaspace else None
    seed = train(models.BPE(), trainers.BpeTrainer(vocab_size=900, show_progress=False, limit_alphabet=300),
                 normalizer=N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), pre=P.Split("▁", "merged_with_next"))
    parts = json.loads(seed.to_str())["model"]
    head = ["<unk>", "<s>", "</s>"] + (bytes_tokens() if fallback else [])
    vocab = {x: i for i, x in enumerate(head)}
    for token in parts["vocab"]:
        vocab.setdefault(token, len(vocab))
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in parts["merges"]]
    for run in range(2, 9):
        vocab.setdefault("▁" * run, len(vocab))
    merges = [("▁" * a, "▁" * (n - a)) for n in range(2, 9) for a in range(1, n)] + merges
    t = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=fuse, byte_fallback=fallback))
    if normalizer is not None:
        t.normalizer = normalizer
    if pre is not None:
        t.pre_tokenizer = pre
    t.add_special_tokens([AddedToken(x, normalized=False) for x in ("<unk>", "<s>", "</s>")])
    t.add_tokens([AddedToken("\n\n", normalized=False, special=False), AddedToken("norm", normalized=True)])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    template(t, "<s> $A", ["<s>"])
    return t


def charsmap(rule):
    import sentencepiece as spm
    from sentencepiece import sentencepiece_model_pb2 as pb
    with tempfile.TemporaryDirectory() as tmp:
        with open(tmp + "/t.txt", "w", encoding="utf-8") as out:
            out.write("\n".join(t.replace("\n", " ") for t in TEXTS))
        spm.SentencePieceTrainer.train(input=tmp + "/t.txt", model_prefix=tmp + "/m", vocab_size=1000, minloglevel=2,
                                       model_type="unigram", normalization_rule_name=rule, character_coverage=0.98)
        m = pb.ModelProto()
        with open(tmp + "/m.model", "rb") as file:
            m.ParseFromString(file.read())
        return m.normalizer_spec.precompiled_charsmap, [(p.piece, p.score) for p in m.pieces]


def unigram(rule, fallback=False, roberta_like=True):
    blob, pieces = charsmap(rule)
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + [
        p for p in pieces if p[0] not in ("<s>", "</s>", "<unk>")]
    if fallback:
        pieces += [(x, 0.0) for x in bytes_tokens()]
    t = Tokenizer(models.Unigram(pieces, 3, fallback))
    state = json.loads(t.to_str())
    steps = [{"type": "Precompiled", "precompiled_charsmap": base64.b64encode(blob).decode()}]
    if roberta_like:
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    state["normalizer"] = {"type": "Sequence", "normalizers": steps}
    t = Tokenizer.from_str(json.dumps(state))
    meta = P.Metaspace(replacement="▁", prepend_scheme="always" if roberta_like else "first")
    t.pre_tokenizer = P.Sequence([P.WhitespaceSplit(), meta]) if roberta_like else meta
    t.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always" if roberta_like else "first")
    t.add_special_tokens([AddedToken("<s>", normalized=False), AddedToken("</s>", normalized=False),
                          AddedToken("<unk>", normalized=False), AddedToken("<mask>", lstrip=True, normalized=False)])
    template(t, "<s> $A </s>" if roberta_like else "$A </s>", ["<s>", "</s>"])
    return t


def wordpiece(lower):
    t = train(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=60),
              trainers.WordPieceTrainer(vocab_size=1000, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
                                        show_progress=False),
              normalizer=N.BertNormalizer(lowercase=lower, strip_accents=True if not lower else None,
                                          handle_chinese_chars=lower), pre=P.BertPreTokenizer())
    t.decoder = decoders.WordPiece(cleanup=lower)
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    t.add_tokens([AddedToken("word", single_word=True, normalized=True), AddedToken("<word>", rstrip=True, normalized=False)])
    return t


def clip():
    t = train(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=False),
              trainers.BpeTrainer(vocab_size=900, end_of_word_suffix="</w>", special_tokens=["<unk>"], show_progress=False),
              normalizer=N.Sequence([N.NFKC(), N.Lowercase(), N.Strip(), N.Replace(Regex(r"\s+"), " ")]), pre=P.Whitespace())
    t.decoder = decoders.BPEDecoder("</w>")
    return t


def continuing():
    return train(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", fuse_unk=True),
                 trainers.BpeTrainer(vocab_size=900, continuing_subword_prefix="##", special_tokens=["<unk>", "<mask>"],
                                     limit_alphabet=80, show_progress=False),
                 normalizer=N.Sequence([N.NFD(), N.StripAccents(), N.Nmt()]),
                 pre=P.Sequence([P.WhitespaceSplit(), P.Punctuation("merged_with_previous"), P.Digits(False)]))


def splits(behaviour, invert):
    return train(models.BPE(unk_token="<unk>"), trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>"], show_progress=False),
                 normalizer=N.NFKD(), pre=P.Split(Regex(r"[\s,.]+|\p{Lu}"), behaviour, invert=invert))


MAKERS = {
    "gpt2": gpt2, "roberta": roberta, "llama3": llama3, "falcon": falcon, "smollm": smollm,
    "llama2": lambda: sentencepiece_bpe(True), "mistral": lambda: sentencepiece_bpe(False, metaspace="first"),
    "gemma": lambda: sentencepiece_bpe(False), "bpe-unk": lambda: sentencepiece_bpe(True, fuse=False, fallback=False),
    "bpe-fused-unk": lambda: sentencepiece_bpe(True, fuse=True, fallback=False),
    "xlmr": lambda: unigram("nmt_nfkc"), "t5": lambda: unigram("nmt_nfkc_cf", fallback=True, roberta_like=False),
    "bert": lambda: wordpiece(True), "bert-cased": lambda: wordpiece(False), "clip": clip, "continuing": continuing,
    "split-removed": lambda: splits("removed", False), "split-isolated": lambda: splits("isolated", True),
    "split-previous": lambda: splits("merged_with_previous", False), "split-next": lambda: splits("merged_with_next", False),
    "split-contiguous": lambda: splits("contiguous", False),
}


def main():
    os.makedirs(folder, exist_ok=True)
    texts = strings()
    for name, make in MAKERS.items():
        t = make()
        t.save("%s/%s.json" % (folder, name), pretty=False)
        with open("%s/%s.jsonl" % (folder, name), "w", encoding="utf-8", newline="\n") as out:
            for text in texts:
                for special in ("text", "parsed"):
                    t.encode_special_tokens = special == "text"
                    ids = t.encode(text, add_special_tokens=False).ids
                    row = {"text": text, "special": special, "ids": ids,
                           "ids_special": t.encode(text, add_special_tokens=True).ids,
                           "decoded": t.decode(ids, skip_special_tokens=False)}
                    if special == "text" or ids != before:
                        out.write(json.dumps(row) + "\n")
                    before = ids
        print(name, t.get_vocab_size())


main()
