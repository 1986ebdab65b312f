"""Measures against pytrec_eval, on runs with ties, missing queries and graded judgements."""
import json
import os
import random
import tempfile
import unittest

import pytrec_eval

from peers import trawl

MEASURES = ["map", "ndcg_cut_10", "ndcg", "recall_100", "P_10", "recip_rank", "Rprec", "bpref", "success_5"]


class Measures(unittest.TestCase):
    def test_random_runs(self):
        rng = random.Random(3)
        qrels = {f"q{q}": {f"d{d}": rng.choice([0, 0, 1, 1, 2, 3]) for d in rng.sample(range(300), rng.randint(1, 60))}
                 for q in range(80)}
        run = {f"q{q}": {f"d{d}": rng.choice([0.5, 1.25, rng.random()]) for d in rng.sample(range(300), 150)}
               for q in range(10, 90)}
        with tempfile.TemporaryDirectory() as folder:
            paths = os.path.join(folder, "qrels"), os.path.join(folder, "run.json")
            with open(paths[0], "w", encoding="utf-8") as out:
                for query, judged in qrels.items():
                    for document, grade in judged.items():
                        out.write(f"{query} 0 {document} {grade}\n")
            with open(paths[1], "w", encoding="utf-8") as out:
                json.dump(run, out)
            text = trawl("eval", "--qrels", paths[0], "--run", paths[1], "--measures", ",".join(MEASURES), "--per-query",
                         "--format", "trec")
        ours = {(fields[0], fields[1]): float(fields[2]) for fields in map(str.split, text.splitlines())}
        reference = pytrec_eval.RelevanceEvaluator(qrels, set(MEASURES)).evaluate(run)
        for query, values in reference.items():
            for measure in MEASURES:
                self.assertAlmostEqual(ours[measure, query], values[measure], delta=5e-5, msg=f"{measure} {query}")


if __name__ == "__main__":
    unittest.main()
