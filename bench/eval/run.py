#!/usr/bin/env python3
"""trawl eval against pytrec_eval: the whole job, interleaved.

usage: bench/eval/run.py [--queries 7000] [--hits 1000] [--judged N] [--shuffled] [--rounds 5] [--trawl build/trawl]

The data are made here from a fixed seed: a run in the order of its scores (--shuffled: not), and qrels with one to four
judged documents per query, as MS MARCO's are (--judged N: so many). The job: qrels and run files to the per-query values
of seven measures; pytrec_eval reads with its own parse_qrel and parse_run, trawl is a process of its own, started anew.
All values of both are compared in every round.
"""
import argparse
import os
import platform
import random
import statistics
import subprocess
import tempfile
import time

import pytrec_eval

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


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trawl", default=os.environ.get("TRAWL_PROGRAM", "build/trawl"))
    parser.add_argument("--queries", type=int, default=7000)
    parser.add_argument("--hits", type=int, default=1000)
    parser.add_argument("--judged", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shuffled", action="store_true")
    args = parser.parse_args()
    times = {"pytrec": [], "pytrec alone": [], "trawl 1": [], "trawl 2": []}
    with tempfile.TemporaryDirectory() as folder:
        qrels, run = make_data(folder, args.queries, args.hits, args.judged, args.shuffled)
        size = os.path.getsize(run) / 1e6
        for _ in range(args.rounds):
            whole, alone, values = whole_pytrec(qrels, run)
            times["pytrec"].append(whole)
            times["pytrec alone"].append(alone)
            seconds, out = whole_trawl(args.trawl, qrels, run, ",".join(MEASURES), 1)
            times["trawl 1"].append(seconds)
            check(values, out)
            del values
            times["trawl 2"].append(whole_trawl(args.trawl, qrels, run, ",".join(MEASURES), 2)[0])
    m = {name: statistics.median(t) for name, t in times.items() if t}
    print(f"{args.queries} queries x {args.hits} hits{' shuffled' if args.shuffled else ''}, {size:.0f} MB, "
          f"{len(MEASURES)} measures; {processor()}, {time.strftime('%Y-%m-%d')}; median of {args.rounds}\n")
    print("| whole job, files to per-query values | seconds | times pytrec_eval |")
    print("|---|---|---|")
    print(f"| pytrec_eval (parse_run, evaluate) | {m['pytrec']:.2f} | 1 |")
    print(f"| pytrec_eval, evaluate alone | {m['pytrec alone']:.2f} | |")
    print(f"| trawl eval, 1 thread | {m['trawl 1']:.2f} | {m['pytrec'] / m['trawl 1']:.1f} |")
    print(f"| trawl eval, 2 threads | {m['trawl 2']:.2f} | {m['pytrec'] / m['trawl 2']:.1f} |")


main()
