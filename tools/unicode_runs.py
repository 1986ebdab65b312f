#!/usr/bin/env python3
"""Writes src/text/unicode_runs.h: per-code-point properties exactly as the `tokenizers` library sees them.

Its parts carry Unicode tables of different ages (Oniguruma, Rust's standard library, two older crates), and ids depend
on them, so the properties are measured on the library itself, one code point at a time, rather than taken from one
version of the standard. Needs: pip install tokenizers; libutf8proc (for case and normalisation, where only the
differences are listed). Usage: tools/unicode_runs.py > src/text/unicode_runs.h
"""
import ctypes
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers as N, pre_tokenizers as P

utf8proc = ctypes.CDLL("libutf8proc.so.2")
libc = ctypes.CDLL(None)
libc.free.argtypes = [ctypes.c_void_p]
utf8proc.utf8proc_tolower.restype = ctypes.c_int32
utf8proc.utf8proc_tolower.argtypes = [ctypes.c_int32]
for form in ("NFC", "NFD", "NFKC", "NFKD"):
    function = getattr(utf8proc, "utf8proc_" + form)
    function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_char_p]

POINTS = [c for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]


def proc(form, text):
    at = getattr(utf8proc, "utf8proc_" + form)(text.encode())
    out = ctypes.string_at(at).decode()
    libc.free(at)
    return out


def emptied(normalizer):
    return {c for c in POINTS if normalizer.normalize_str(chr(c)) == ""}


def split_off(pre_tokenizer):
    return {c for c in POINTS if len(pre_tokenizer.pre_tokenize_str("x" + chr(c))) == 2}


def word():
    t = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    t.add_tokens([AddedToken("<a>", normalized=False, single_word=True)])
    return {c for c in POINTS if len(t.encode(chr(c) + "<a>", add_special_tokens=False).ids) == 1}


def barrier():
    """Code points that the library's normal forms treat unlike utf8proc: as starters that never combine."""
    found = set()
    nfd, nfc = N.NFD(), N.NFC()
    for c in POINTS:
        x = chr(c)
        for text in (x, "a" + x + "\u0334", "a\u0345" + x, "a\u0315" + x):
            if nfd.normalize_str(text) != proc("NFD", text):
                found.add(c)
    firsts = [chr(c) for c in POINTS if 0x1100 <= c < 0x11B00 and proc("NFD", chr(c)) != chr(c)]
    for whole in [chr(c) for c in POINTS if len(proc("NFD", chr(c))) > 1] + firsts:
        parts = proc("NFD", whole)
        if nfc.normalize_str(parts) != proc("NFC", parts):
            found.update(ord(p) for p in parts)
    return found


def main():
    bert = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    plain = barrier()
    kept = {c for c in POINTS if N.NFKD().normalize_str(chr(c)) != proc("NFKD", chr(c))} - plain
    flags = [
        ("LETTER", emptied(N.Replace(Regex(r"\p{L}"), ""))),
        ("NUMBER", emptied(N.Replace(Regex(r"\p{N}"), ""))),
        ("SPACE", emptied(N.Replace(Regex(r"\s"), ""))),
        ("WORD", word()),
        ("NUMERIC", split_off(P.Digits(individual_digits=True))),
        ("PUNCT", split_off(P.Punctuation())),
        ("BERT_DROP", emptied(N.BertNormalizer(**{**bert, "clean_text": True})) | {0}),
        ("BERT_ACCENT", emptied(N.BertNormalizer(**{**bert, "strip_accents": True}))),
        ("MARK", emptied(N.StripAccents())),
        ("BARRIER", plain),
        ("COMPAT_KEPT", kept),
    ]
    print("/* Made by tools/unicode_runs.py from tokenizers %s; do not edit. */" % tokenizers.__version__)
    for bit, (name, _) in enumerate(flags):
        print("#define UNICODE_%s %du" % (name, 1 << bit))
    print("\n/* Runs of code points with equal properties: first code point << 11 | properties, ascending. */")
    print("static const uint32_t unicode_runs[] = {")
    rows, last = [], -1
    for c in range(0x110000):
        value = sum(1 << bit for bit, (_, members) in enumerate(flags) if c in members)
        if value != last:
            rows.append("0x%x" % (c << 11 | value))
            last = value
    line = "   "
    for row in rows:
        if len(line) + len(row) + 2 > 118:
            print(line)
            line = "   "
        line += " " + row + ","
    print(line)
    print("};\n")
    print("/* Lower case where it differs from utf8proc's: pairs of (from, to). U+0130 has two and is done in code. */")
    print("static const uint32_t unicode_lower_table[][2] = {")
    lower = N.Lowercase()
    for c in POINTS:
        to = lower.normalize_str(chr(c))
        if to != chr(utf8proc.utf8proc_tolower(c)):
            if len(to) == 1:
                print("    {0x%x, 0x%x}," % (c, ord(to)))
            elif c != 0x130:
                sys.exit("U+%04X has a long lower case" % c)
    print("};")


main()
