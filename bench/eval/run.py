"""trawl eval beside pytrec_eval: the whole job and the evaluator alone, interleaved.

The data are made here from a fixed seed: a run in the order of its scores (--shuffled: not), and qrels with one to four
judged documents per query, as MS MARCO's are (--judged N: so many). The whole job: qrels and run files to the per-query
values of seven measures; pytrec_eval reads with its own parse_qrel and parse_run, trawl is a process of its own,
started anew. Alone: both have read the files. All values of both are compared in every round.
"""
import os
import random
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import pytrec_eval  # noqa: E402
import table  # noqa: E402

MEASURES = ["map", "ndcg_cut_10", "ndcg_cut_100", "recall_100", "recall_1000", "recip_rank", "P_10"]


def make_data(folder, queries, hits, judged, shuffled):
    rng = random.Random(20260101)
    qrels, run = os.path.join(folder, "qrels"), os.path.join(folder, "run")
    with open(qrels, "w") as q, open(run, "w") as r:
        for query in range(queries):
            docs = rng.sample(range(8_800_000), hits)
            lines = [f"{query} Q0 {d} {i + 1} {100 - 90 * i / hits - 0.05 * rng.random():.6f} bench\n"
                     for i, d in enumerate(docs)]
            if shuffled:
                rng.shuffle(lines)
            r.writelines(lines)
            n = judged or rng.randint(1, 4)
            for d in rng.sample(docs, n // 2 + 1) + rng.sample(range(8_800_000, 9_000_000), n // 2):
                q.write(f"{query} 0 {d} {rng.randint(0, 2)}\n")
    return qrels, run


def whole_pytrec(qrels, run):
    begin = time.perf_counter()
    with open(qrels) as f:
        judged = pytrec_eval.parse_qrel(f)
    with open(run) as f:
        found = pytrec_eval.parse_run(f)
    read = time.perf_counter()
    values = pytrec_eval.RelevanceEvaluator(judged, set(MEASURES)).evaluate(found)
    end = time.perf_counter()
    return end - begin, end - read, values


def whole_trawl(trawl, qrels, run, measures, threads):
    out = run + ".values"
    begin = time.perf_counter()
    subprocess.run([trawl, "eval", "--qrels", qrels, "--run", run, "--measures", measures, "--per-query", "--format",
                    "trec", "--output", out, "--quiet", "--threads", str(threads)], check=True)
    return time.perf_counter() - begin, out


def check(values, path):
    n = 0
    for line in open(path):
        measure, query, value = line.split("\t")
        if query != "all":
            assert abs(values[query][measure] - float(value)) <= 0.50001e-4, line
            n += 1
    assert n == len(values) * len(MEASURES), (n, len(values))


def main():
    p = table.parser(__doc__)
    p.add_argument("--queries", type=int)
    p.add_argument("--hits", type=int, default=1000)
    p.add_argument("--judged", type=int, default=0)
    p.add_argument("--shuffled", action="store_true")
    o = p.parse_args()
    rounds, queries = o.rounds or (1 if o.small else 5), o.queries or (50 if o.small else 7000)
    program, names = table.build("bench_eval"), ",".join(MEASURES)
    whole, alone = {1: [], 2: []}, {1: [], 2: []}
    whole_peer, alone_peer = [], []
    with tempfile.TemporaryDirectory() as folder:
        qrels, run = make_data(folder, queries, o.hits, o.judged, o.shuffled)
        size = f"{queries} x {o.hits}, {os.path.getsize(run) / 1e6:.0f} MB"
        t = table.Table("eval", f"{len(MEASURES)} measures{', run shuffled' if o.shuffled else ''}", rounds, o.small)
        servers = {n: table.Server([program, qrels, run, names], env=dict(os.environ, TRAWL_THREADS=str(n)))
                   for n in alone}
        for _ in range(rounds):
            seconds, evaluation, values = whole_pytrec(qrels, run)
            whole_peer.append(seconds)
            alone_peer.append(evaluation)
            for n in whole:
                seconds, out = whole_trawl(table.PROGRAM, qrels, run, names, n)
                whole[n].append(seconds)
                check(values, out)
            for n in alone:
                alone[n].append(float(servers[n].ask()[0]))
        for n in servers:
            servers[n].close()
    for what, mine, theirs in (("files to values", whole, whole_peer), ("evaluator alone", alone, alone_peer)):
        for n in mine:
            t.add(what, size, n, "s", mine[n], table.version("pytrec_eval-terrier"), theirs)


if __name__ == "__main__":
    main()
