"""Documents of about 60 tokens for benchmarks: sentences of real collections, drawn and mixed deterministically.

make_corpus.py N OUT.jsonl CORPUS.jsonl[.gz]... A share of the words is replaced by made-up rare ones with a
Zipf tail, so that the vocabulary grows with the number of documents as that of real text does (Heaps' law).
Also writes OUT.queries.tsv: 1,000 queries, the titles and first words of sentences (2 to 8 words).
"""
import gzip
import json
import random
import re
import sys


def sentences(paths):
    for path in paths:
        with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as f:
            for line in f:
                doc = json.loads(line)
                for s in re.split(r"(?<=[.!?])\s+", (doc.get("title", "") + ". " + doc["text"]).replace("\n", " ")):
                    words = s.split()
                    if len(words) >= 4:
                        yield words


def main():
    n, out, paths = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    rng = random.Random(7)
    pool = list(sentences(paths))
    with open(out, "w", encoding="utf-8") as f:
        for i in range(n):
            words = []
            want = max(8, int(rng.lognormvariate(4.0, 0.45)))
            while len(words) < want:
                words += pool[int(rng.random() * len(pool))]
            words = words[:want]
            for j in range(len(words)):
                if rng.random() < 0.02:
                    words[j] = "z%x" % int(1000000 * rng.random() ** 3 * (1 + i / 100000))
            f.write(json.dumps({"_id": str(i), "title": "", "text": " ".join(words)}, ensure_ascii=False) + "\n")
    with open(out.replace(".jsonl", "") + ".queries.tsv", "w", encoding="utf-8") as f:
        for i in range(1000):
            words = pool[int(rng.random() * len(pool))]
            size = rng.randint(2, 8)
            begin = rng.randint(0, max(0, len(words) - size))
            f.write("%d\t%s\n" % (i, " ".join(words[begin:begin + size])))


main()
