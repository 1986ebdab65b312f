"""The forward pass beside its roof: the matrix products alone, on the same packed weights and tiles, in turn.

Documents of 90 to 256 tokens. GFLOP/s of the products inside the whole forward pass, and alone; "times better" is the
share of the roof that is reached. `bench_roof` gives the products at other tile sizes, layer by layer.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import table  # noqa: E402

LINE = re.compile(r"(\d+) tokens/s, (\d+) GFLOP/s, roof (\d+), share ([\d.]+) \(attention ([\d.]+)")


def main():
    p = table.parser(__doc__)
    p.add_argument("models", nargs="*", help="default: minilm smollm2-135m gemma3-270m")
    p.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    p.add_argument("--documents", type=int)
    o = p.parse_args()
    rounds, documents = o.rounds or (1 if o.small else 5), o.documents or (4 if o.small else 64)
    program = table.build("bench_forward")
    t = table.Table("roof", "forward pass beside its matrix products alone", rounds, o.small)
    for model in o.models or (["minilm"] if o.small else ["minilm", "smollm2-135m", "gemma3-270m"]):
        for precision in ("f32", "bf16", "int8"):
            run = subprocess.run([program, model, precision, str(documents), str(rounds)], text=True,
                                 capture_output=True, env=dict(os.environ, TRAWL_THREADS=str(o.threads)), check=False)
            found = LINE.search(run.stdout)
            if run.returncode or not found:
                print(f"# {model} {precision} is left out: {run.stderr.strip() or run.stdout}", file=sys.stderr,
                      flush=True)
                continue
            tokens, rate, roof, _, attention = found.groups()
            t.add(f"{model} {precision}", f"{documents} documents", o.threads, "GFLOP/s", [float(rate)],
                  "its products alone", [float(roof)],
                  f"{tokens} tokens/s; attention {100 * float(attention):.0f} % of the time", more=True)


if __name__ == "__main__":
    main()
