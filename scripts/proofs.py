"""What the scripts that prove figures share: the release binaries, corpora, a fleet of processes, and rows of figures."""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("BIN") or ROOT / "target/release")
NAME = f"scripts/{Path(sys.argv[0]).name}"


def build():
    """The release binaries, unless BIN says where they are."""
    if "BIN" not in os.environ:
        subprocess.run(["cargo", "build", "--release", "--locked", "--workspace"], cwd=ROOT, check=True)


def words(arguments):
    """Arguments as texts; a person sees what is run."""
    arguments = [str(argument) for argument in arguments]
    print("  $", " ".join(arguments).replace(f"{ROOT}/", ""), file=sys.stderr)
    return arguments


def command(*arguments, codes=(0, 1)):
    """What a program printed."""
    arguments = words(arguments)
    done = subprocess.run(arguments, stdout=subprocess.PIPE, cwd=ROOT, check=False)
    if done.returncode not in codes:
        sys.exit(f"{NAME}: {arguments[0]} ended with {done.returncode}")
    return done.stdout.decode()


def synthetic(out, records, seed=1):
    """The detections of a synthetic corpus, which is made once."""
    folder = out / f"synthetic-{records}-{seed}"
    if not folder.exists():
        command(BIN / "coordinator", "synth", "--records", records, "--seed", seed, "--out", folder, "--quiet")
    return folder / "detections.json.gz"


def analysis(what, closing, *more):
    """What an analysis prints of the run with this closing line."""
    return json.loads(command(BIN / "analysis", what, closing["path"], "--output", "json", *more))


def sql(closing, statement):
    """What a query about the rows of the run with this closing line finds, as a list of objects."""
    try:
        import duckdb
    except ImportError:
        sys.exit("this proof asks DuckDB about the rows: python3 -m pip install duckdb")
    parts = f"'{closing['path']}/part-*.parquet'"
    found = duckdb.sql(statement.replace("from outcomes", f"from {parts}"))
    return [dict(zip(found.columns, row)) for row in found.fetchall()]


class Fleet:
    """A coordinator and its workers, as processes."""

    def __init__(self, state, fresh=True):
        self.processes = []
        self.state = Path(state)
        if fresh:
            shutil.rmtree(state, ignore_errors=True)
        self.started = time.monotonic()
        self.coordinator = subprocess.Popen(
            [BIN / "coordinator", "serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state", state],
            stderr=subprocess.PIPE, text=True)
        self.processes.append(self.coordinator)
        self.url = self.said(r"serving (http://[0-9.:]+)")
        self.page = self.said(r"status page on (http://[0-9.:]+)")
        threading.Thread(target=self.coordinator.stderr.read, daemon=True).start()

    def said(self, pattern):
        for line in self.coordinator.stderr:
            if found := re.search(pattern, line):
                return found[1]
        sys.exit(f"{NAME}: the coordinator ended")

    def worker(self, *more, **options):
        """One more worker's process; `options` are those of Popen."""
        arguments = [BIN / "worker", "serve", "--coordinator", self.url, "--quiet", *more]
        self.processes.append(subprocess.Popen(arguments, **options))
        return self.processes[-1]

    def submit(self, corpus, *more):
        subprocess.run([BIN / "coordinator", "submit", "--to", self.url, "--corpus", corpus, "--quiet", *map(str, more)],
                       check=True, stdout=subprocess.DEVNULL)

    def runs(self):
        printed = subprocess.run([BIN / "coordinator", "status", "--from", self.url, "--output", "json"],
                                 stdout=subprocess.PIPE, check=True).stdout
        return json.loads(printed)

    def metric(self, name):
        """A metric: that of the labels in `name`, or summed over all."""
        labels = "" if "{" in name else r"(?:\{.*\})?"
        token = (self.state / "access" / "viewer.token").read_text().split()[1]
        request = urllib.request.Request(f"{self.page}/metrics", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request) as answer:
            found = re.findall(rf"(?m)^{re.escape(name)}{labels} ([0-9.e+]+)$", answer.read().decode())
        return sum(map(float, found))

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def prove(module, out):
    """Proves the rows (functions `row_N` that yield a figure and whether it is met) that the arguments name; 1 when one is
    not met."""
    rows = {name.removeprefix("row_"): found for name, found in module.items() if name.startswith("row_")}
    listed = "\n".join(f"  {number:>2}  {found.__doc__}" for number, found in rows.items())
    parser = argparse.ArgumentParser(description=module["__doc__"], epilog=f"rows:\n{listed}",
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", choices=[*rows, []], help="rows to prove (default: all)")
    arguments = parser.parse_args()
    build()
    out.mkdir(parents=True, exist_ok=True)
    closing = []
    for number in arguments.rows or rows:
        print(f"row {number}: {rows[number].__doc__}", flush=True)
        begun = time.monotonic()
        for figure, met in rows[number]():
            closing.append(f"{number:>2} | {'met    ' if met else 'NOT MET'} | {figure}")
            print("  " + closing[-1], flush=True)
        print(f"  {time.monotonic() - begun:.0f} s")
    print("\n" + "\n".join(closing))
    return int(any("NOT MET" in line for line in closing))
