"""Vectors of MiniLM against sentence-transformers."""
import os
import tempfile
import unittest

import numpy as np
from sentence_transformers import SentenceTransformer

from peers import MODELS, documents, trawl

# cosine of each text's vector with the reference, by precision
LEAST = {"f32": 0.99999, "bf16": 0.999, "int8": 0.99}


class Embeddings(unittest.TestCase):
    def test_minilm(self):
        import json
        texts = [f"{document['title']} {document['text']}" for document in documents(64)] + ["a", "Ünïcödé 中文 🙂"]
        reference = SentenceTransformer(os.path.join(MODELS, "minilm"), device="cpu").encode(texts)
        reference /= np.linalg.norm(reference, axis=1, keepdims=True)
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, "texts.jsonl")
            with open(source, "w", encoding="utf-8") as out:
                for i, text in enumerate(texts):
                    out.write(json.dumps({"_id": str(i), "text": text}) + "\n")
            for precision, least in LEAST.items():
                goal = os.path.join(folder, precision + ".npy")
                trawl("encode", "--model", "minilm", "--input", source, "--output", goal, "--precision", precision,
                      "--format", "npy")
                vectors = np.load(goal)
                self.assertEqual(vectors.shape, reference.shape)
                self.assertGreater(float((vectors * reference).sum(axis=1).min()), least, precision)


if __name__ == "__main__":
    unittest.main()
