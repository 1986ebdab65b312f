"""What the tables share: options, the machine, results. bench/README.md says how they are run."""
import argparse
import datetime
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess

SOURCE = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
BUILD = os.environ.get("TRAWL_BUILD") or os.path.join(SOURCE, "build")
PROGRAM = os.environ.get("TRAWL_PROGRAM") or os.path.join(BUILD, "trawl")
PEERS = os.environ.get("TRAWL_PEERS") or os.path.join(BUILD, "peers")
MODELS = os.environ.get("TRAWL_MODELS") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "trawl")
SCIFACT = os.path.join(SOURCE, "examples", "scifact")
COLUMNS = ("date", "cpu", "cores", "trawl", "peer", "what", "size", "threads", "rounds", "unit", "ours", "theirs",
           "ratio", "note")


def parser(description):
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--small", action="store_true", help="tiny sizes, to see that everything runs; not recorded")
    p.add_argument("--rounds", type=int, help="measurements of every figure, ours and theirs in turn")
    p.add_argument("--folder", default=os.path.join(BUILD, "bench-data"), help="where test data are made and kept")
    return p


def build(program):
    """Path of a benchmark's own program, brought up to date."""
    subprocess.run(["ninja", "-C", BUILD, f"bench/{program}"], check=True, stdout=subprocess.DEVNULL)
    return os.path.join(BUILD, "bench", program)


def version(package):
    return f"{package} {importlib.metadata.version(package)}"


def cpu():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = fields.get("flags", "").split()
    best = [f for f in ("amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx2") if f in flags]
    return f"{re.sub(' +', ' ', fields.get('model name', platform.machine()))} ({best[0] if best else 'x86-64'})"


def commit():
    run = subprocess.run(["git", "-C", SOURCE, "describe", "--always", "--dirty"], capture_output=True, text=True,
                         check=False)
    return run.stdout.strip() or "?"


class Server:
    """A program that answers every line with one line."""

    def __init__(self, command, **more):
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more)

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"'{self.command[0]}' ended with {self.process.wait()}")
        return line.split()

    def ask(self, line=""):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Table:
    """Rows printed as they come, and appended to bench/results/NAME.tsv; those of --small are not kept."""

    def __init__(self, name, title, rounds, small):
        self.path = None if small else os.path.join(SOURCE, "bench", "results", name + ".tsv")
        self.rounds = rounds
        self.machine = (datetime.date.today().isoformat(), cpu(), os.cpu_count(), commit())
        print(f"{title}; medians of {rounds} rounds in turn; {self.machine[1]}, {self.machine[2]} cores, "
              f"{self.machine[0]}\n\n| what | size | threads | unit | trawl | other | figure | times better | note |\n"
              "|---|---|---|---|---|---|---|---|---|", flush=True)

    def add(self, what, size, threads, unit, ours, peer, theirs, note="", more=False):
        """ours and theirs: all measurements; `more`: the greater the better. Without a peer: None."""
        mine = statistics.median(ours)
        other = statistics.median(theirs) if peer else None
        ratio = (mine / other if more else other / mine) if peer and mine and other else None
        show = ["" if x is None else f"{x:.4g}" if abs(x) < 1000 else f"{x:.0f}" for x in (mine, other)]
        times = "" if ratio is None else f"{ratio:.2f}"
        print(f"| {what} | {size} | {threads} | {unit} | {show[0]} | {peer or ''} | {show[1]} | {times} | {note} |",
              flush=True)
        if self.path:
            self.keep((*self.machine, peer or "", what, size, threads, self.rounds, unit, *show, times, note))

    def keep(self, row):
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        new = not os.path.exists(self.path)
        with open(self.path, "a", encoding="utf-8") as out:
            if new:
                out.write("\t".join(COLUMNS) + "\n")
            out.write("\t".join(map(str, row)) + "\n")
