"""'trawl mine' next to sentence-transformers' mine_hard_negatives: same vectors, same rule, same machine.

    python bench/mine/mine.py --trawl build/trawl [--queries 10000] [--passages 100000] [--dims 384] [--only trawl]

Vectors are clustered unit vectors; each query is a passage with noise. Both get the vectors ready made (a model object
that looks its rows up stands in for the encoder), take 4 negatives that score at most 0.95 of the positive, and write or
hold the texts. Prints seconds, peak memory of the process, and how many queries have the same negatives.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np


def make(folder, Q, N, D):
    r = np.random.default_rng(1)
    centres = r.standard_normal((2048, D), dtype=np.float32)
    passages = centres[r.integers(0, 2048, N)] + r.standard_normal((N, D), dtype=np.float32)
    passages /= np.linalg.norm(passages, axis=1, keepdims=True)
    positives = r.permutation(N)[:Q] if Q <= N else r.integers(0, N, Q)
    queries = passages[positives] + 0.02 * r.standard_normal((Q, D), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    os.makedirs(folder + "/qrels")
    np.save(folder + "/d.npy", passages)
    np.save(folder + "/q.npy", queries)
    np.save(folder + "/positives.npy", positives)
    with open(folder + "/corpus.jsonl", "w") as f:
        for i in range(N):
            f.write('{"_id": "%d", "title": "", "text": "passage number %d of the corpus"}\n' % (i, i))
    with open(folder + "/queries.jsonl", "w") as f:
        for i in range(Q):
            f.write('{"_id": "%d", "text": "query number %d"}\n' % (i, i))
    with open(folder + "/qrels/train.tsv", "w") as f:
        f.write("query-id\tcorpus-id\tscore\n")
        for i, p in enumerate(positives):
            f.write("%d\t%d\t1\n" % (i, p))


def run_trawl(folder, program):
    command = [program, "mine", "--dataset", folder, "--vectors", folder + "/d.npy", "--query-vectors",
               folder + "/q.npy", "--negatives", "4", "--output", folder + "/mined.jsonl", "--quiet"]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    rows = {}
    for line in open(folder + "/mined.jsonl"):
        row = json.loads(line)
        rows[row["query"]] = [p["text"] for p in row["negative_passages"]]
    return seconds, peak, rows


class Rows:
    """Stands in for a model: encoding is looking up."""

    device = "cpu"

    def __init__(self, folder):
        self.d, self.q = np.load(folder + "/d.npy"), np.load(folder + "/q.npy")

    def encode_document(self, texts, **_):
        return self.d[[int(t.split()[2]) for t in texts]]

    def encode_query(self, texts, **_):
        return self.q[[int(t.split()[2]) for t in texts]]

    def get_embedding_dimension(self):
        return self.d.shape[1]

    def similarity(self, a, b):
        import torch
        return torch.as_tensor(a) @ torch.as_tensor(b).T

    def similarity_pairwise(self, a, b):
        import torch
        return (torch.as_tensor(a) * torch.as_tensor(b)).sum(-1)


def run_peer(folder, use_faiss):
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives
    positives = np.load(folder + "/positives.npy")
    corpus = ["passage number %d of the corpus" % i for i in range(len(np.load(folder + "/d.npy", mmap_mode="r")))]
    data = Dataset.from_dict({"anchor": ["query number %d" % i for i in range(len(positives))],
                              "positive": [corpus[p] for p in positives]})
    model = Rows(folder)
    started = time.perf_counter()
    mined = mine_hard_negatives(data, model, corpus=corpus, num_negatives=4, relative_margin=0.05, range_max=100,
                                use_faiss=use_faiss, output_format="n-tuple", verbose=False)
    seconds = time.perf_counter() - started
    rows = {r["anchor"]: [r["negative_%d" % i] for i in range(1, 5)] for r in mined}
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, rows


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--trawl", default="build/trawl")
    a.add_argument("--queries", type=int, default=10000)
    a.add_argument("--passages", type=int, default=100000)
    a.add_argument("--dims", type=int, default=384)
    a.add_argument("--only", choices=["trawl", "torch", "faiss"])
    a.add_argument("--folder", help="where the vectors are (made there when it does not exist)")
    o = a.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = o.folder or scratch + "/data"
        if not os.path.exists(folder):
            os.makedirs(folder)
            make(folder, o.queries, o.passages, o.dims)
        if o.only:
            run = run_trawl(folder, o.trawl) if o.only == "trawl" else run_peer(folder, o.only == "faiss")
            json.dump(run, sys.stdout)
            return
        print("| miner | seconds | peak MB | same negatives |\n|---|---|---|---|")
        wanted = None
        for name in ("trawl", "torch", "faiss"):
            out = subprocess.run([sys.executable, __file__, "--only", name, "--folder", folder, "--trawl", o.trawl],
                                 check=True, stdout=subprocess.PIPE, text=True).stdout
            seconds, peak, rows = json.loads(out[out.index("["):])
            wanted = wanted or rows
            same = sum(wanted.get(q) == n for q, n in rows.items())
            print("| %s | %.1f | %.0f | %d of %d |" % (name, seconds, peak, same, len(rows)), flush=True)


main()
