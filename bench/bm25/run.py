"""BM25 beside Lucene and bm25s: building an index, and 1,000 queries for the top 10 and the top 1,000, one thread.

Documents of about 60 words are made from real sentences (make_corpus.py). Every query is asked --rounds times, all of
ours, then all of theirs, and so on; its median counts; figures are means over the queries. Analysing the query counts.
Lucene is taken from Anserini's jar, which comes with pyserini's source package.
"""
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import table  # noqa: E402

PYSERINI = "pyserini==1.6.0"


def jar():
    """Anserini's jar, kept in the environment of the peers."""
    folder = os.path.join(table.PEERS, "anserini")
    found = [f for f in (os.listdir(folder) if os.path.isdir(folder) else ()) if f.endswith(".jar")]
    if found:
        return os.path.join(folder, found[0])
    print(f"# downloading {PYSERINI} for its jar of Lucene (165 MB)", file=sys.stderr, flush=True)
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                        "--no-binary", ":all:", "--dest", work, PYSERINI], check=True)
        package = os.path.join(work, next(f for f in os.listdir(work) if f.endswith(".tar.gz")))
        with tarfile.open(package) as archive:
            member = next(m for m in archive if m.name.endswith(".jar"))
            goal = os.path.join(folder, os.path.basename(member.name))
            with archive.extractfile(member) as source, open(goal + ".tmp", "wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
    os.replace(goal + ".tmp", goal)
    return goal


class Trawl:
    def __init__(self, docs, queries, index):
        shutil.rmtree(index, ignore_errors=True)
        before, begin = os.times(), time.perf_counter()
        subprocess.run([table.PROGRAM, "index", "--corpus", docs, "--output", index, "--bm25", "--threads", "1",
                        "--quiet"], check=True)
        self.seconds, after = time.perf_counter() - begin, os.times()
        self.cpu = after.children_user + after.children_system - before.children_user - before.children_system
        self.server = table.Server([table.build("bench_bm25"), index, queries])


class Lucene:
    def __init__(self, docs, queries, index):
        shutil.rmtree(index, ignore_errors=True)
        archive = jar()
        self.name = f"Lucene of {os.path.basename(archive)[:-len('-fatjar.jar')]}"
        self.server = table.Server(["java", "-Xmx4g", "-cp", archive, os.path.join(HERE, "LuceneBench.java"), docs,
                                    queries, index], stderr=subprocess.DEVNULL)
        self.seconds, self.cpu = map(float, self.server.read()[:2])


class Bm25s:
    def __init__(self, docs, queries, _):
        self.server = table.Server([sys.executable, os.path.join(HERE, "bm25s_bench.py"), docs, queries])
        seconds, cpu, backend = self.server.read()
        self.seconds, self.cpu, self.name = float(seconds), float(cpu), f"{table.version('bm25s')} ({backend})"


def per_query(rounds):
    return [statistics.median(times) for times in zip(*rounds)]


def spread(times):
    times = sorted(times)
    return f"median {times[len(times) // 2]:.3g}, 99th percentile {times[len(times) * 99 // 100]:.3g}"


def measure(t, n, rounds, folder):
    docs, queries = os.path.join(folder, f"bm25-{n}.jsonl"), os.path.join(folder, f"bm25-{n}.queries.tsv")
    if not os.path.exists(queries):
        subprocess.run([sys.executable, os.path.join(HERE, "make_corpus.py"), str(n), docs,
                        os.path.join(table.SCIFACT, "corpus.jsonl.gz")], check=True)
    ours = Trawl(docs, queries, os.path.join(folder, f"bm25-{n}.trawl"))
    peers = []
    for kind in (Lucene, Bm25s):
        try:
            peers.append(kind(docs, queries, os.path.join(folder, f"bm25-{n}.lucene")))
        except (OSError, RuntimeError, subprocess.CalledProcessError) as reason:
            print(f"# {kind.__name__} is left out: {reason}", file=sys.stderr, flush=True)
            continue
        t.add("building", n, 1, "s", [ours.seconds], peers[-1].name, [peers[-1].seconds],
              f"processor seconds {ours.cpu:.1f}, {peers[-1].cpu:.1f}")
    for k in (10, 1000):
        times = {who: [] for who in (ours, *peers)}
        for r in range(rounds + 1):  # the first one warms up
            for who, kept in times.items():
                answer = [float(x) for x in who.server.ask(str(k))]
                kept.extend([answer] if r else [])
        mine = per_query(times[ours])
        for peer in peers:
            theirs = per_query(times[peer])
            t.add(f"top {k}", n, 1, "ms", [statistics.mean(mine)], peer.name, [statistics.mean(theirs)],
                  f"{spread(mine)}; theirs {spread(theirs)}")
    for who in (ours, *peers):
        who.server.close()


def effectiveness(t, folder):
    """nDCG@10 on SciFact beside what Anserini's documentation gives for the same parameters."""
    index = os.path.join(folder, "scifact.trawl")
    shutil.rmtree(index, ignore_errors=True)
    subprocess.run([table.PROGRAM, "index", "--corpus", os.path.join(table.SCIFACT, "corpus.jsonl.gz"), "--output",
                    index, "--bm25", "--quiet"], check=True)
    said = subprocess.run([table.PROGRAM, "eval", "--dataset", table.SCIFACT, "--index", index, "--measures", "nDCG@10",
                           "--format", "trec", "--quiet"], check=True, capture_output=True, text=True).stdout
    t.add("effectiveness", "scifact", 1, "nDCG@10", [float(said.split()[-1])], "Anserini (published)", [0.679],
          "BM25 .9 .4", more=True)


def main():
    p = table.parser(__doc__)
    p.add_argument("sizes", nargs="*", type=int, metavar="DOCUMENTS", help="default: 1000000")
    o = p.parse_args()
    rounds = o.rounds or 3
    os.makedirs(o.folder, exist_ok=True)
    t = table.Table("bm25", "BM25", rounds, o.small)
    for n in o.sizes or [5000 if o.small else 1000000]:
        measure(t, n, rounds, o.folder)
    effectiveness(t, o.folder)


if __name__ == "__main__":
    main()
