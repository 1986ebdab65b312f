"""MB/s of text to ids on one thread, ours and the `tokenizers` library's, passes interleaved over abstracts of SciFact.

MiniLM's tokenizer is its tokenizer.json; those of GGUF files are what transformers makes of the same file, with the parts
of the original put back that it loses: SmolLM2's splitting of digits, Qwen2.5's NFC. The number of ids must be the same,
or the table stops.
"""
import gzip
import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import table  # noqa: E402
from tokenizers import Tokenizer, normalizers, pre_tokenizers  # noqa: E402


def library(model):
    folder = os.path.join(table.MODELS, model)
    if os.path.exists(os.path.join(folder, "tokenizer.json")):
        t = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    else:
        from transformers import AutoTokenizer
        t = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf").backend_tokenizer
        if model.startswith("smollm2"):
            t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False)])
        if model.startswith("qwen2"):
            t.normalizer = normalizers.NFC()
    t.no_truncation()
    t.no_padding()
    return t


def main():
    p = table.parser(__doc__)
    p.add_argument("models", nargs="*", help="default: all that are fetched")
    p.add_argument("--texts", type=int)
    o = p.parse_args()
    rounds, n = o.rounds or (1 if o.small else 3), o.texts or (100 if o.small else 5183)
    with gzip.open(os.path.join(table.SCIFACT, "corpus.jsonl.gz"), "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(n))]
    size = sum(len(t.encode()) for t in texts)
    os.makedirs(o.folder, exist_ok=True)
    path = os.path.join(o.folder, f"texts-{n}.jsonl")
    with open(path, "w", encoding="utf-8") as out:
        out.writelines(json.dumps({"text": t}) + "\n" for t in texts)
    program = table.build("bench_tokenizers")
    t = table.Table("tokenizers", "text to ids", rounds, o.small)
    known = ["minilm", "smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b"]
    for model in o.models or [m for m in known if os.path.isdir(os.path.join(table.MODELS, m))]:
        peer, ours = library(model), table.Server([program, model, path])
        mine, theirs = [], []
        for r in range(rounds + 1):  # the first one warms up
            rate, n_ids = ours.ask()
            begin = time.perf_counter()
            n_peer = sum(len(peer.encode(text, add_special_tokens=False).ids) for text in texts)
            seconds = time.perf_counter() - begin
            if int(n_ids) != n_peer:
                sys.exit(f"{model}: {n_ids} ids, the library gives {n_peer}")
            if r:
                mine.append(float(rate))
                theirs.append(size / seconds / 1e6)
        ours.close()
        t.add(model, f"{size / 1e6:.1f} MB", 1, "MB/s", mine, table.version("tokenizers"), theirs, f"{n_ids} ids",
              more=True)


if __name__ == "__main__":
    main()
