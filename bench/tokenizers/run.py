#!/usr/bin/env python3
"""MB/s of text to ids on one thread, ours and the `tokenizers` library's, passes interleaved; the best of each.

Usage: bench/tokenizers/run.py BUILD_FOLDER TEXTS.jsonl[.gz] NAME=MODEL=REFERENCE.json ...
MODEL is what `trawl --model` takes, REFERENCE.json the same tokenizer for the library. The number of ids is compared.
Needs: pip install tokenizers; ninja -C BUILD bench/tokenizers_bench (BUILD_FOLDER is BUILD/bench)
"""
import gzip
import json
import os
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer  # noqa: E402

PASSES = 3


def main():
    build, path, *models = sys.argv[1:]
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    size = sum(len(t.encode()) for t in texts)
    print("%-10s %10s %12s %8s" % ("tokenizer", "trawl MB/s", "library MB/s", "ratio"))
    for name, model, reference in (m.split("=") for m in models):
        library = Tokenizer.from_file(reference)
        library.no_truncation()
        library.no_padding()
        ours = subprocess.Popen([build + "/tokenizers_bench", model, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                text=True)
        best, best_library = 0.0, 0.0
        for _ in range(PASSES):
            ours.stdin.write("\n")
            ours.stdin.flush()
            rate, n_ids = ours.stdout.readline().split()
            best = max(best, float(rate))
            begin = time.perf_counter()
            n_library = sum(len(library.encode(t, add_special_tokens=False).ids) for t in texts)
            best_library = max(best_library, size / (time.perf_counter() - begin) / 1e6)
            if int(n_ids) != n_library:
                sys.exit("%s: %s ids, the library gives %d" % (name, n_ids, n_library))
        ours.stdin.close()
        ours.wait()
        print("%-10s %10.1f %12.2f %8.1f" % (name, best, best_library, best / best_library))


main()
