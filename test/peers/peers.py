"""What the comparisons share: the program, the models, the collection."""
import gzip
import json
import os
import subprocess

SOURCE = os.environ.get("TRAWL_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PROGRAM = os.environ.get("TRAWL_PROGRAM", os.path.join(SOURCE, "build", "trawl"))
MODELS = os.environ.get("TRAWL_MODELS") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "trawl")
SCIFACT = os.path.join(SOURCE, "examples", "scifact")


def trawl(*arguments, text=None):
    """Standard output of the program; its message becomes the exception's."""
    run = subprocess.run([PROGRAM, *map(str, arguments)], input=text, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(run.stderr)
    return run.stdout


def documents(limit=None):
    with gzip.open(os.path.join(SCIFACT, "corpus.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for _, line in zip(range(limit or 10**9), lines)]
