"""Flat search next to faiss-cpu's IndexFlatIP: same vectors, same machine, rounds interleaved.

usage: flat.py BENCH_FLAT FOLDER [ROWSxDIMS ...]    (default 1000000x384 1000000x768)

Prints a table of milliseconds per batch (median of the rounds) and recall@10 against faiss.
"""
import os
import statistics
import subprocess
import sys
import time

import faiss
import numpy as np

K, ROUNDS = 10, int(os.environ.get("ROUNDS", "7"))


class Trawl:
    def __init__(self, program, rows, queries):
        environment = dict(os.environ, TRAWL_THREADS=str(THREADS))
        self.process = subprocess.Popen([program, "serve", rows, queries], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment)
        self.version = self.process.stdout.readline().strip()

    def search(self, form, batch, begin):
        self.process.stdin.write(f"{form} {batch} {K} {begin}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        return float(answer[0]), np.array(answer[1:], dtype=np.int64).reshape(batch, K)


def measure(program, folder, size):
    N, D = (int(x) for x in size.split("x"))
    rows, queries = (os.path.join(folder, f"flat-{size}-{what}.npy") for what in ("rows", "queries"))
    if not os.path.exists(queries):
        subprocess.run([program, "make", str(N), str(D), rows, queries], check=True)
    trawl = Trawl(program, rows, queries)
    asked = np.load(queries)
    index = faiss.IndexFlatIP(D)
    mapped = np.load(rows, mmap_mode="r")
    for begin in range(0, N, 65536):
        index.add(np.ascontiguousarray(mapped[begin:begin + 65536]))
    for batch in (1, 64):
        times = {name: [] for name in ("faiss", "f32", "bf16", "int8")}
        found = {name: 0 for name in times}
        for r in range(ROUNDS + 1):  # the first one warms up
            begin = r * batch
            started = time.perf_counter()
            _, truth = index.search(asked[begin:begin + batch], K)
            times["faiss"].append((time.perf_counter() - started) * 1e3)
            for form in ("f32", "bf16", "int8"):
                ms, ids = trawl.search(form, batch, begin)
                times[form].append(ms)
                found[form] += sum(len(np.intersect1d(a, b)) for a, b in zip(ids, truth))
        peer = statistics.median(times["faiss"][1:])
        print(f"| {N:,} x {D} | {batch} | {peer:.1f} | " + " | ".join(
            f"{statistics.median(times[f][1:]):.1f} ({peer / statistics.median(times[f][1:]):.1f}x, "
            f"{found[f] / ((ROUNDS + 1) * batch * K):.4f})" for f in ("f32", "bf16", "int8")) + " |", flush=True)
    trawl.process.stdin.close()
    trawl.process.wait()
    return trawl.version


if __name__ == "__main__":
    THREADS = min(2, os.cpu_count())
    faiss.omp_set_num_threads(THREADS)
    print(f"faiss {faiss.__version__} ({faiss.get_compile_options().strip()}), {THREADS} threads, k {K}, "
          f"median of {ROUNDS} rounds; in brackets: times faster than faiss, recall@{K}\n")
    print("| rows | batch | faiss ms | f32 ms | bf16 ms | int8 ms |\n|---|---|---|---|---|---|")
    for wanted in sys.argv[3:] or ["1000000x384", "1000000x768"]:
        state = measure(sys.argv[1], sys.argv[2], wanted)
    print(f"\ntrawl: {state}")
