"""bm25s, asked by run.py: bm25s_bench.py CORPUS.jsonl QUERIES.tsv

One thread. First line: seconds and processor seconds of building, from texts in memory. Then every line "K" is answered
with the milliseconds of each query. Stemmed and stopped, as the others; scores are computed by numba where it is there.
"""
import importlib.util
import json
import sys
import time

import bm25s
import Stemmer


def main():
    stemmer = Stemmer.Stemmer("porter")
    backend = "numba" if importlib.util.find_spec("numba") else "numpy"
    with open(sys.argv[1], encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    with open(sys.argv[2], encoding="utf-8") as lines:
        queries = [line.rstrip("\n").split("\t")[1] for line in lines]
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
    model = bm25s.BM25(method="lucene", k1=0.9, b=0.4, backend=backend)
    model.index(tokens, show_progress=False)
    print(time.perf_counter() - wall, time.process_time() - cpu, backend, flush=True)
    del texts, tokens
    for line in sys.stdin:
        times = []
        for query in queries:
            start = time.perf_counter()
            words = bm25s.tokenize(query, stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)
            model.retrieve(words, k=int(line), n_threads=0, show_progress=False)
            times.append(1e3 * (time.perf_counter() - start))
        print(*("%.6f" % t for t in times), flush=True)


main()
