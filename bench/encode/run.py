#!/usr/bin/env python3
"""trawl encode against sentence-transformers, transformers and llama.cpp: the same texts, interleaved.

usage: bench/encode/run.py [--small] [--texts 512] [--tokens 256] [--rounds 3] [--models NAME...] [--threads 2] [--trawl build/trawl]

The first documents of SciFact (title and text, cut at --tokens), mean pooling and l2, on the same number of threads. In
every round each contender encodes all texts once; the median is kept. Tokenising counts, loading the model does not.
  trawl                  f32, bf16, int8 of the folder or GGUF file
  sentence-transformers  MiniLM, f32 and bf16; texts sorted by length, the best of several batch sizes
  transformers           the GGUF's weights dequantised, f32 and bf16; the same
  llama.cpp              the GGUF as it is (4 bits), embeddings of llama-cpp-python
The last column is the mean cosine with trawl's f32 vectors: everybody did the same work. Rows go to
bench/results/encode.tsv. Run it on a machine that does nothing else; `tools/peers bench BUILD encode` installs the peers.
"""
import argparse
import datetime
import gzip
import json
import os
import re
import statistics
import subprocess
import tempfile
import time

import numpy as np

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MODELS = os.environ.get("TRAWL_MODELS") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "trawl")
BATCHES = (8, 16, 32, 64)
COLUMNS = ("date", "cpu", "threads", "model", "system", "precision", "config", "texts", "tokens", "rounds", "seconds",
           "texts/s", "cosine")


def documents(n):
    with gzip.open(os.path.join(SOURCE, "examples", "scifact", "corpus.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return [f"{d['title']} {d['text']}" for d, _ in zip(map(json.loads, lines), range(n))]


def cpu():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = re.sub(r"\s+", " ", fields.get("model name", "?"))
    flags = fields.get("flags", "").split()
    return f"{name} ({next((f for f in ('amx_int8', 'avx512_vnni', 'avx512f', 'avx2') if f in flags), 'x86-64')})"


def normalised(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


class Trawl:
    """The program as it is; its closing line says how long encoding took."""
    system, config = "trawl", ""

    def __init__(self, program, model, precision, texts, options):
        self.precision, self.n = precision, len(texts)
        self.folder = tempfile.TemporaryDirectory()
        self.goal = os.path.join(self.folder.name, "out.npy")
        source = os.path.join(self.folder.name, "texts.jsonl")
        with open(source, "w", encoding="utf-8") as out:
            out.writelines(json.dumps({"_id": str(i), "text": text}) + "\n" for i, text in enumerate(texts))
        self.command = [program, "encode", "--model", model, "--input", source, "--output", self.goal, "--precision",
                        precision, "--max-length", str(options.tokens), "--threads", str(options.threads)]

    def run(self):
        said = subprocess.run(self.command, check=True, capture_output=True, text=True).stderr
        self.tokens = int(re.search(r"(\d+) tokens", said).group(1))
        return np.load(self.goal), self.n / float(re.search(r"([\d.]+) texts/s", said).group(1))


class Torch:
    """A batch function over texts sorted by length; the best batch size is found on a part of them."""

    def __init__(self, texts):
        self.texts = texts
        sample = texts[::max(1, len(texts) // 64)]
        speeds = {}
        self.encode(sample[:8], 8)
        for batch in BATCHES:
            begin = time.perf_counter()
            self.encode(sample, batch)
            speeds[batch] = time.perf_counter() - begin
        self.batch = min(speeds, key=speeds.get)
        self.config = f"batch {self.batch}"

    def run(self):
        begin = time.perf_counter()
        rows = self.encode(self.texts, self.batch)
        return rows, time.perf_counter() - begin


class SentenceTransformers(Torch):
    system = "sentence-transformers"

    def __init__(self, model, precision, texts, options):
        import torch
        from sentence_transformers import SentenceTransformer
        self.precision = precision
        dtype = torch.float32 if precision == "f32" else torch.bfloat16
        self.model = SentenceTransformer(os.path.join(MODELS, model), device="cpu", model_kwargs={"dtype": dtype})
        self.model.max_seq_length = options.tokens
        super().__init__(texts)

    def encode(self, texts, batch):  # sorts by length itself
        return self.model.encode(texts, batch_size=batch, normalize_embeddings=True, convert_to_tensor=True).float().numpy()


class Transformers(Torch):
    system = "transformers"

    def __init__(self, model, precision, texts, options):
        import torch
        from transformers import AutoModel, AutoTokenizer, GgufConfig
        folder = os.path.join(MODELS, model)
        dtype = torch.float32 if precision == "f32" else torch.bfloat16
        self.precision, self.tokens_max = precision, options.tokens
        self.tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
        self.tokenizer.padding_side = "right"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # dense weights: the packed ones that are its default are multiplied in f32 whatever the precision
        self.model = AutoModel.from_pretrained(folder, gguf_file="model.gguf", dtype=dtype,
                                               quantization_config=GgufConfig(dequantize=True)).eval()
        super().__init__(texts)

    def encode(self, texts, batch):
        import torch
        ids = self.tokenizer(texts, truncation=True, max_length=self.tokens_max)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        rows = [None] * len(ids)
        with torch.inference_mode():
            for at in range(0, len(order), batch):
                part = order[at:at + batch]
                padded = self.tokenizer.pad({"input_ids": [ids[i] for i in part]}, return_tensors="pt")
                states = self.model(**padded, use_cache=False).last_hidden_state.float()
                mask = padded["attention_mask"].unsqueeze(-1).float()
                means = (states * mask).sum(1) / mask.sum(1)
                for i, row in zip(part, torch.nn.functional.normalize(means).numpy()):
                    rows[i] = row
        return np.stack(rows)


class LlamaCpp:
    system, precision = "llama.cpp", "4 bits"

    def __init__(self, model, texts, options):
        import llama_cpp
        self.model = llama_cpp.Llama(
            os.path.join(MODELS, model, "model.gguf"), embedding=True, n_ctx=2048, n_batch=2048, n_ubatch=2048,
            n_threads=options.threads, n_threads_batch=options.threads, verbose=False,
            pooling_type=llama_cpp.LLAMA_POOLING_TYPE_MEAN)
        self.config = "n_batch 2048"
        self.texts = [self.cut(text, options.tokens) for text in texts]

    def cut(self, text, tokens):
        ids = self.model.tokenize(text.encode(), add_bos=True)
        return text if len(ids) <= tokens else self.model.detokenize(ids[:tokens]).decode(errors="ignore")

    def run(self):
        begin = time.perf_counter()
        rows = self.model.embed(self.texts, normalize=True)
        return rows, time.perf_counter() - begin


def contenders(model, texts, options):
    """(name, maker) of each; a maker may fail where a peer cannot run the model."""
    makers = [lambda p=p: Trawl(options.trawl, model, p, texts, options) for p in ("f32", "bf16", "int8")]
    torch_side = SentenceTransformers if os.path.exists(os.path.join(MODELS, model, "modules.json")) else Transformers
    makers += [lambda p=p: torch_side(model, p, texts, options) for p in ("f32", "bf16")]
    if torch_side is Transformers:
        makers.append(lambda: LlamaCpp(model, texts, options))
    for make in makers:
        try:
            yield make()
        except (ImportError, OSError, RuntimeError, ValueError, subprocess.CalledProcessError) as reason:
            print(f"# {model}: a contender is left out: {getattr(reason, 'stderr', None) or reason}", flush=True)


def measure(model, texts, options, out):
    runners = list(contenders(model, texts, options))
    seconds, rows = {r: [] for r in runners}, {}
    for _ in range(options.rounds):
        for r in runners:
            rows[r], taken = r.run()
            seconds[r].append(taken)
    reference = normalised(rows[runners[0]])
    for r in runners:
        middle = statistics.median(seconds[r])
        cosine = float((normalised(rows[r]) * reference).sum(axis=1).mean())
        row = (datetime.date.today().isoformat(), cpu(), options.threads, model, r.system, r.precision, r.config,
               len(texts), runners[0].tokens, options.rounds, f"{middle:.2f}", f"{len(texts) / middle:.2f}",
               f"{cosine:.5f}")
        line = "\t".join(map(str, row))
        print(line, flush=True)
        out.write(line + "\n")
        out.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see that everything runs; not recorded")
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--models", nargs="+", default=["minilm", "smollm2-135m", "gemma3-270m"])
    parser.add_argument("--trawl", default=os.environ.get("TRAWL_PROGRAM") or os.path.join(SOURCE, "build", "trawl"))
    options = parser.parse_args()
    if options.small:
        options.texts, options.rounds, options.models = 24, 1, options.models[:1]
    os.environ.update(OMP_NUM_THREADS=str(options.threads), TQDM_DISABLE="1", HF_HUB_OFFLINE="1")
    import torch
    torch.set_num_threads(options.threads)
    results = os.devnull if options.small else os.path.join(SOURCE, "bench", "results", "encode.tsv")
    os.makedirs(os.path.dirname(results), exist_ok=True)
    texts = documents(options.texts)
    print("\t".join(COLUMNS))
    new = not os.path.exists(results)
    with open(results, "a", encoding="utf-8") as out:
        if new:
            out.write("\t".join(COLUMNS) + "\n")
        for model in options.models:
            measure(model, texts, options, out)


if __name__ == "__main__":
    main()
