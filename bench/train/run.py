"""LoRA training steps against transformers + peft: tokens a second and peak memory, a process of its own each, in turn.

A step is forward and backward of 32 queries and 64 passages of equal length (nothing is padded on either side), rank 16
on all seven projections, a gradient at each row's last state, and the update of the packed weights or the optimiser's
step. Theirs runs in f32 and in bf16, ours too; the best of the steps of a process counts, medians are over processes.
--cpu-time counts processor seconds per thread instead of time: ratios that hold on a machine that is busy.
"""
import os
import re
import resource
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import table  # noqa: E402

ROWS = 96
LINE = re.compile(r": (\d+) tokens/s.*peak ([\d.]+) GB")


def peer(model, precision, tokens, steps, threads, cpu_time):
    """One process of transformers + peft; prints a line as bench_train does."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    torch.set_num_threads(threads)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    base = AutoModel.from_pretrained(os.path.join(table.MODELS, model), gguf_file="model.gguf", dtype=dtype)
    config = LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj",
                                                             "up_proj", "down_proj"])
    net = get_peft_model(base, config).train()
    optimiser = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-4)
    ids = torch.arange(ROWS * tokens).mul(2654435761).bitwise_and(0xFFFFFFFF).div(32, rounding_mode="floor") % 20000
    ids = ids.reshape(ROWS, tokens)
    now = (lambda: time.process_time() / threads) if cpu_time else time.perf_counter
    best = 1e30
    for _ in range(steps):
        begin = now()
        out = net(input_ids=ids).last_hidden_state[:, -1].float()
        (out * 1e-3).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        best = min(best, now() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1048576
    print(f"peft {model} {precision}: {ROWS * tokens / best:.0f} tokens/s, peak {peak:.2f} GB", flush=True)


def measure(command, threads, cpu_time, scale=1.0):
    env = dict(os.environ, TRAWL_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    if cpu_time:
        env["CPU_TIME"] = "1"
    run = subprocess.run(command, text=True, capture_output=True, env=env, check=False)
    found = LINE.search(run.stdout)
    if run.returncode or not found:
        raise RuntimeError(f"'{' '.join(command)}': {run.stderr.strip()[-400:] or run.stdout}")
    return float(found.group(1)) * scale, float(found.group(2))


def main():
    p = table.parser(__doc__)
    p.add_argument("models", nargs="*", help="default: smollm2-135m gemma3-270m")
    p.add_argument("--threads", type=int, default=min(2, os.cpu_count()))
    p.add_argument("--tokens", type=int)
    p.add_argument("--steps", type=int, default=2, help="of one process; the first warms up")
    p.add_argument("--cpu-time", action="store_true")
    p.add_argument("--precisions", default="f32,bf16")
    p.add_argument("--mode", choices=("keep", "recompute"), default="keep", help="what ours does with activations")
    p.add_argument("--peer", nargs=2, metavar=("MODEL", "PRECISION"), help=table.argparse.SUPPRESS)
    o = p.parse_args()
    tokens = o.tokens or (8 if o.small else 128)
    if o.peer:
        peer(*o.peer, tokens, o.steps, o.threads, o.cpu_time)
        return
    program, rounds = table.build("bench_train"), o.rounds or (1 if o.small else 3)
    t = table.Table("train", "a LoRA step of a retriever", rounds, o.small)
    scale = o.threads if o.cpu_time else 1.0
    for model in o.models or (["smollm2-135m"] if o.small else ["smollm2-135m", "gemma3-270m"]):
        for precision in o.precisions.split(","):
            ours, theirs = [], []
            theirs_command = [sys.executable, os.path.abspath(__file__), "--peer", model, precision, "--tokens",
                              str(tokens), "--steps", str(o.steps), "--threads", str(o.threads)]
            for _ in range(rounds):
                ours.append(measure([program, model, precision, str(tokens), "16", o.mode, str(o.steps)], o.threads,
                                    o.cpu_time, scale))
                theirs.append(measure(theirs_command + (["--cpu-time"] if o.cpu_time else []), o.threads, o.cpu_time))
            note = "processor time per thread" if o.cpu_time else ""
            name, size = f"{model} {precision}, {o.mode}", f"{ROWS} rows of {tokens}"
            t.add(name, size, o.threads, "tokens/s", [x[0] for x in ours], table.version("peft"),
                  [x[0] for x in theirs], note, more=True)
            t.add(name, size, o.threads, "GB at peak", [x[1] for x in ours], table.version("peft"),
                  [x[1] for x in theirs])


if __name__ == "__main__":
    main()
