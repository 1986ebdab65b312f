"""bm25s on the same documents and queries: bm25s_bench.py CORPUS.jsonl QUERIES.tsv. One thread, times in ms."""
import json, sys, time

import bm25s

try:
    import Stemmer
    stemmer = Stemmer.Stemmer("porter")
except ImportError:
    stemmer = None
texts = [json.loads(line)["text"] for line in open(sys.argv[1], encoding="utf-8")]
queries = [line.rstrip("\n").split("\t")[1] for line in open(sys.argv[2], encoding="utf-8")]
wall, cpu = time.perf_counter(), time.process_time()
tokens = bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)
model = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
model.index(tokens, show_progress=False)
print("index: %.1f s, %.1f s of processor time" % (time.perf_counter() - wall, time.process_time() - cpu), flush=True)
for k in (10, 1000):
    best = [1e9] * len(queries)
    for _ in range(2):
        for i, query in enumerate(queries[:300]):
            start = time.perf_counter()
            q = bm25s.tokenize(query, stopwords="en", stemmer=stemmer, show_progress=False, return_ids=False)
            model.retrieve(q, k=k, n_threads=0, show_progress=False)
            best[i] = min(best[i], 1e3 * (time.perf_counter() - start))
    best = sorted(best[:300])
    print("k %d: mean %.3f ms, median %.3f" % (k, sum(best) / len(best), best[len(best) // 2]), flush=True)
