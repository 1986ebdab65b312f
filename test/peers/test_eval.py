"""trawl eval against pytrec_eval, which holds trec_eval's own code, on random runs: every measure of every query."""
import json
import math
import os
import random
import subprocess
import tempfile
import unittest

import pytrec_eval

TRAWL = os.environ.get("TRAWL_PROGRAM", "build/trawl")


def random_case(rng):
    """Qrels and a run as dictionaries, with ties, unjudged and negative grades, ids of many kinds."""
    grades = rng.choice([[0, 1], [0, 1, 2, 3], [-1, 0, 1, 4], [1], [0], [0, 0, 0, 10]])
    scores = rng.choice([lambda: rng.random(), lambda: rng.randint(0, 4), lambda: 1 + rng.random() * 1e-7,
                         lambda: rng.gauss(0, 1e30), lambda: -rng.random() * 1e-40])
    name = rng.choice([lambda i: str(i), lambda i: f"d{i:05d}", lambda i: chr(33 + i % 90) * (1 + i // 90), lambda i: f"é{i}"])
    qrels, run = {}, {}
    for q in range(rng.randint(1, 12)):
        n = rng.randint(1, rng.choice([5, 40, 300]))
        judged = {name(i): rng.choice(grades) for i in rng.sample(range(2 * n), rng.randint(1, n))}
        # a query whose judgements are all negative makes trec_eval read what was left there by the query before
        if max(judged.values()) < 0:
            judged[name(0)] = 0
        if rng.random() < 0.9:
            qrels[f"q{q}"] = judged
        if rng.random() < 0.9:
            run[f"q{q}"] = {name(i): float(scores()) for i in rng.sample(range(2 * n), rng.randint(1, n))}
    return qrels, run


def write(folder, qrels, run, rng):
    with open(os.path.join(folder, "qrels"), "w") as f:
        for q, docs in qrels.items():
            f.writelines(f"{q} 0 {d} {g}\n" for d, g in docs.items())
    lines = [f"{q} Q0 {d} 0 {s!r} t\n" for q, docs in run.items() for d, s in docs.items()]
    rng.shuffle(lines)
    with open(os.path.join(folder, "run"), "w") as f:
        f.writelines(lines)


class Eval(unittest.TestCase):
    def test_random_runs(self):
        measures = pytrec_eval.supported_measures - {"runid", "relstring", "num_q"}
        n_values = 0
        for seed in range(300):
            rng = random.Random(seed)
            qrels, run = random_case(rng)
            if not set(qrels) & set(run):
                continue
            wanted = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)
            with tempfile.TemporaryDirectory() as folder:
                write(folder, qrels, run, rng)
                out = subprocess.run([TRAWL, "eval", "--qrels", folder + "/qrels", "--run", folder + "/run", "--measures", "all",
                                      "--per-query", "--format", "json", "--quiet"], check=True, capture_output=True).stdout
            got = json.loads(out)["runs"][0]["per_query"]
            self.assertEqual(set(got), set(wanted))
            for query, values in wanted.items():
                for measure, value in values.items():
                    ours = got[query][measure]
                    self.assertTrue(math.isclose(ours, value, rel_tol=1e-9, abs_tol=1e-9),
                                    f"seed {seed}, {measure} of {query}: {ours}, wanted {value}")
                    n_values += 1
        self.assertGreater(n_values, 50000)


if __name__ == "__main__":
    unittest.main()
