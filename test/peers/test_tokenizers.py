"""Token ids against the tokenizers library, on real text and on strings made to be awkward."""
import json
import os
import random
import unittest

from tokenizers import Tokenizer

from peers import MODELS, documents, trawl

# Scripts, spaces, controls, marks, emoji with joiners, and text that looks like special tokens.
PIECES = ["a", "Z", "é", "e\u0301", "ß", "İ", "ı", "Ω", "ж", "中", "国", "한", "ไ", "ท", "ا", "ـ", "\u0900", "🙂", "👩‍👩‍👧", "🇩🇪", "\u200d",
          "\ufeff", "\u00a0", "\u3000", "\u2028", " ", "  ", "\t", "\n", "\r\n", "0", "12", "٣", "½", "'", "'s", "’", "-", "--", "_", ".",
          "...", "!?", "[CLS]", "[MASK]", "##a", "<|im_end|>", "\x01", "\x7f", "\u0378", "ﬁ", "Å", "𝒜"]


class Tokenizers(unittest.TestCase):
    def compare(self, name, texts):
        reference = Tokenizer.from_file(os.path.join(MODELS, name, "tokenizer.json"))
        reference.no_truncation()
        reference.no_padding()
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        for flag, special in ((None, False), ("--add-special", True)):
            out = trawl("tokenize", "--model", os.path.join(MODELS, name), *([flag] if flag else []), text=lines)
            for text, line in zip(texts, out.splitlines(), strict=True):
                expected = reference.encode(text, add_special_tokens=special).ids
                self.assertEqual(json.loads(line)["ids"], expected, repr(text))

    def test_minilm_on_documents(self):
        self.compare("minilm", [document["text"] for document in documents(500)])

    def test_minilm_on_awkward_strings(self):
        rng = random.Random(7)
        # special-looking strings are text for us by default; the reference always reads them as tokens
        pieces = [piece for piece in PIECES if piece not in ("[CLS]", "[MASK]")]
        self.compare("minilm", ["".join(rng.choices(pieces, k=rng.randint(0, 12))) for _ in range(3000)])


if __name__ == "__main__":
    unittest.main()
