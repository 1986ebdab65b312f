"""Flat search beside faiss-cpu's IndexFlatIP: the same vectors and queries, rounds interleaved.

Clustered unit vectors (4,096 centres, cosine of about 0.5 within a cluster), top 10, one query and 64 at a time. The
note is recall@10 against faiss; bf16 and int8 score their best 100 rows again by the f32 rows, which lie in a mapped
file.
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import faiss  # noqa: E402
import numpy as np  # noqa: E402
import table  # noqa: E402

K, FORMS = 10, ("f32", "bf16", "int8")


def measure(t, program, size, rounds, threads, folder):
    N, D = (int(x) for x in size.split("x"))
    rows, queries = (os.path.join(folder, f"flat-{size}-{what}.npy") for what in ("rows", "queries"))
    if not os.path.exists(queries):
        subprocess.run([program, "make", str(N), str(D), rows, queries], check=True)
    ours = table.Server([program, "serve", rows, queries], env=dict(os.environ, TRAWL_THREADS=str(threads)))
    ours.read()
    asked = np.load(queries)
    index = faiss.IndexFlatIP(D)
    mapped = np.load(rows, mmap_mode="r")
    for begin in range(0, N, 65536):
        index.add(np.ascontiguousarray(mapped[begin:begin + 65536]))
    for batch in (1, 64):
        times = {name: [] for name in ("faiss", *FORMS)}
        found = dict.fromkeys(FORMS, 0)
        for r in range(rounds + 1):  # the first one warms up
            begin = r * batch % (len(asked) - batch + 1)
            started = time.perf_counter()
            _, truth = index.search(asked[begin:begin + batch], K)
            times["faiss"].append((time.perf_counter() - started) * 1e3)
            for form in FORMS:
                answer = ours.ask(f"{form} {batch} {K} {begin}")
                times[form].append(float(answer[0]))
                ids = np.array(answer[1:], dtype=np.int64).reshape(batch, K)
                found[form] += sum(len(np.intersect1d(a, b)) for a, b in zip(ids, truth))
        for form in FORMS:
            recall = found[form] / ((rounds + 1) * batch * K)
            t.add(f"{form}, batch {batch}", f"{N} x {D}", threads, "ms", times[form][1:], table.version("faiss-cpu"),
                  times["faiss"][1:], f"recall@{K} {recall:.4f}")
    ours.close()


def main():
    p = table.parser(__doc__)
    p.add_argument("sizes", nargs="*", metavar="ROWSxDIMS", help="default: 1000000x384 1000000x768")
    p.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    o = p.parse_args()
    rounds = o.rounds or (3 if o.small else 7)
    os.makedirs(o.folder, exist_ok=True)
    program = table.build("bench_flat")
    faiss.omp_set_num_threads(o.threads)
    t = table.Table("flat", f"flat search beside IndexFlatIP ({faiss.get_compile_options().strip()})", rounds, o.small)
    for size in o.sizes or (["20000x384", "20000x768"] if o.small else ["1000000x384", "1000000x768"]):
        measure(t, program, size, rounds, o.threads, o.folder)


if __name__ == "__main__":
    main()
