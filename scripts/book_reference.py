"""Writes the reference pages of the book from what the programs print, or compares them; see scripts/book."""
import difflib
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

NOTE = "<!-- Written by `scripts/book reference`; a test compares it with the programs. -->\n"


def printed(programs, *words, code=0):
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("K8S_AUTO_FIX_") and name != "COORDINATOR_TOKEN_FILE"} | {"COLUMNS": "100"}
    done = subprocess.run([programs / words[0], *words[1:]], capture_output=True, text=True, env=environment, check=False)
    if done.returncode != code:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout if code == 0 else done.stderr


def cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ").strip()


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    lines += [f"| {' | '.join(cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


# Commands

def subcommands(text):
    listed, found = False, []
    for line in text.splitlines():
        if line == "Commands:":
            listed = True
        elif listed and not line:
            break
        elif listed and re.match(r"  \S", line):
            found.append(line.split()[0])
    return [name for name in found if name != "help"]


def helps(programs, words):
    """Each command of a program, as its words and its help text."""
    text = printed(programs, *words, "--help")
    yield words, text
    for name in subcommands(text):
        yield from helps(programs, [*words, name])


def without_logging(text):
    """The help text without the options that every command has."""
    return re.sub(r"\n*^Logging:\n(?:(?:[ ].*)?(?:\n|\Z))*", "\n", text, flags=re.M).rstrip() + "\n"


def commands(programs, program):
    [(_, own), *rest] = helps(programs, [program])
    page = f"{NOTE}# {program}\n\n```text\n{own.rstrip()}\n```\n\nThe options under *Logging* hold for every command below.\n"
    for words, text in rest:
        page += f"\n## {' '.join(words)}\n\n```text\n{without_logging(text)}```\n"
    return page


# Keys

def keys(programs, root):
    values = json.loads(printed(programs, "coordinator", "config", "show", "--output", "json"))

    def shown(value):
        return f"`{json.dumps(value, ensure_ascii=False)}`"

    rows = [(f"`{key}`", shown(entry["value"]), f"`K8S_AUTO_FIX_{key.upper().replace('.', '__')}`")
            for key, entry in values.items()]
    file = (root / "configs/run.yaml").read_text().rstrip()
    return (f"{NOTE}# Keys\n\nLayers, the later wins: defaults < file (`--config`) < environment < flags (`--set KEY=VALUE`). "
            "`coordinator config show` prints the values in force and where each came from.\n\n"
            f"{table(('key', 'default', 'environment'), rows)}\n"
            "## What each key means\n\n`configs/run.yaml` holds every key with its default:\n\n"
            f"```yaml\n{file}\n```\n")


# Columns

COLUMN = re.compile(r'^    ([A-Z0-9_]+) "([a-z0-9_]+)" ([A-Za-z0-9]+) (Outcome|LaterOutcome|Execution)$')
TYPES = {"Text": "text", "TextList": "list of text", "Bool": "boolean", "U32": "u32", "U64": "u64", "F64": "f64",
         "Timestamp": "timestamp (UTC)"}


def columns(root):
    source = (root / "proto/results/src/schema.rs").read_text()
    inside = source.split("\ncolumns! {\n", 1)[1].split("\n}\n", 1)[0]
    version = re.search(r"pub const FORMAT_VERSION: u32 = (\d+);", source)[1]
    rows, words = [], []
    for line in inside.splitlines():
        if line.strip().startswith("///"):
            words.append(line.strip()[3:].strip())
            continue
        found = COLUMN.match(line)
        if not found:
            raise SystemExit(f"schema.rs: this is not a column: {line}")
        kind = found[3]
        nullable = kind.endswith("OrNull")
        rows.append((f"`{found[2]}`", TYPES[kind.removesuffix("OrNull")], "yes" if nullable else "",
                     "" if found[4] == "Execution" else "yes", " ".join(words)))
        words = []
    return (f"{NOTE}# Columns\n\nA run is `part-*.parquet`, one row a record, format version {version}. A gate's verdict is a "
            "nullable boolean: true passed, false failed, null did not run. Columns outside the fingerprint say when, where and "
            "how fast; the others are the same for the same corpus, configuration, seed and answers.\n\n"
            f"{table(('column', 'type', 'null', 'fingerprint', 'meaning'), rows)}")


# Policies

def policies(programs):
    listed = json.loads(printed(programs, "worker", "policies", "--output", "json"))
    rows = [(f"[`{policy['id']}`](#{policy['id']})", policy["title"], policy["severity"], policy["catalogue"],
             "repaired" if policy["is_repaired"] else "review", ", ".join(policy["aliases"])) for policy in listed]
    page = (f"{NOTE}# Policies\n\nAs `worker policies` and `worker explain POLICY` print them. *paper* is the default catalogue; "
            "`--catalogue full` looks for all. A policy under *review* has no repair that a program could know: its records are "
            "`needs_review`, with what a person must decide.\n\n"
            f"{table(('policy', 'what holds', 'severity', 'catalogue', 'repair', 'also called'), rows)}")
    for policy in listed:
        said = json.loads(printed(programs, "worker", "explain", policy["id"], "--output", "json"))
        text = said["explanation"].strip()
        page += f"\n## {policy['id']}\n\n{text}\n"
    return page


# Cautions

def cautions(programs, root):
    readme = (root / "README.md").read_text()
    listed = readme.split("<!-- cautions:", 1)[1].split("<!-- /cautions -->", 1)[0]
    meanings = re.findall(r"^\| `([a-z_]+)` \| (.*) \|$", listed, re.M)
    refused = printed(programs, "worker", "fix", "--allow", "no-such-caution", ".", code=2)
    held_back = re.search(r"the cautions are ([a-z_, ]+)", refused)[1].split(", ")
    unknown = set(held_back) - {name for name, _ in meanings}
    if unknown:
        raise SystemExit(f"cautions that README.md does not explain: {', '.join(sorted(unknown))}")
    rows = [(f"`{name}`", meaning, "yes" if name in held_back else "") for name, meaning in meanings]
    return (f"{NOTE}# Cautions\n\nAn accepted repair lists what no gate can know and a person should look at. Where the last column "
            "says *yes*, the repair may change how a workload runs: `worker fix` makes it only with `--allow CAUTION,…` or "
            f"`--unsafe`.\n\n{table(('caution', 'meaning', 'held back by worker fix'), rows)}")


# Metrics

def metrics(programs, root):
    with tempfile.TemporaryDirectory(prefix="book-") as folder:
        state = Path(folder) / "state"
        process = subprocess.Popen(
            [programs / "coordinator", "serve", "--state", state, "--listen", f"unix:{folder}/s", "--http", "127.0.0.1:0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            address = next(line for line in process.stderr if "status page on " in line).split("status page on ")[1].strip()
            token = (state / "access/viewer.token").read_text().split()[1]
            request = urllib.request.Request(f"{address}/metrics", headers={"Authorization": f"Bearer {token}"})
            # Never by a proxy: it is a program of this machine.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            text = opener.open(request, timeout=10).read().decode()
        finally:
            process.terminate()
            process.wait(30)
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    served = {f"{name}_total" if kind == "counter" else name: kind for name, kind in kinds.items()}
    # The program leaves out what has no value yet; coordinator/METRICS.md has all, and a test of the coordinator compares it.
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \|$", (root / "coordinator/METRICS.md").read_text(), re.M)
    unknown = set(served.items()) - {(name, kind) for name, kind, _ in listed}
    if unknown or not served:
        raise SystemExit(f"metrics that coordinator/METRICS.md does not list: {sorted(unknown)}")
    rows = [(f"`{name}`", kind, meaning) for name, kind, meaning in listed]
    return (f"{NOTE}# Metrics\n\n`coordinator serve --http ADDR` serves them on `/metrics` (OpenMetrics text) to viewers, "
            f"`/healthz` to everyone. A metric without a value yet is left out.\n\n{table(('name', 'kind', 'meaning'), rows)}")


# Exit codes

def sentences(text):
    """The sentences of a help text about exit codes."""
    found = []
    for paragraph in text.split("\nUsage:", 1)[0].split("\n\n"):
        flat = re.sub(r"\s+", " ", paragraph).strip()
        found += [part for part in re.split(r"(?<=[.])\s+(?=[A-Z])", flat) if re.search(r"exit code", part, re.I)]
    return found


def exit_codes(programs):
    rows = []
    for program in ("coordinator", "worker", "analysis"):
        for words, text in helps(programs, [program]):
            # A group repeats what its commands say.
            own = text.split("\nCommands:", 1)[0]
            said = " ".join(sentences(own))
            if said:
                rows.append((f"`{' '.join(words)}`", said))
    general = [(0, "it worked"), (1, "it worked, and found or rejected something"),
               (2, "it failed, or the command line was wrong"), (130, "it was interrupted")]
    return (f"{NOTE}# Exit codes\n\nOf every command:\n\n{table(('code', 'meaning'), general)}\n"
            f"What single commands say of theirs:\n\n{table(('command', 'exit code'), rows)}")


def pages(root, programs):
    for program in ("coordinator", "worker", "analysis"):
        yield f"{program}.md", commands(programs, program)
    yield "keys.md", keys(programs, root)
    yield "columns.md", columns(root)
    yield "policies.md", policies(programs)
    yield "cautions.md", cautions(programs, root)
    yield "metrics.md", metrics(programs, root)
    yield "exit-codes.md", exit_codes(programs)


def run(root, programs, check):
    folder = root / "docs/src/reference"
    folder.mkdir(parents=True, exist_ok=True)
    begun, differs, names = time.monotonic(), [], set()
    for name, text in pages(root, programs):
        names.add(name)
        path = folder / name
        old = path.read_text() if path.exists() else ""
        if old == text:
            continue
        differs.append(name)
        if check:
            lines = difflib.unified_diff(old.splitlines(), text.splitlines(), f"{name} in the book", f"{name} now", lineterm="", n=1)
            print("\n".join(list(lines)[:40]))
        else:
            path.write_text(text)
    left = sorted(path.name for path in folder.glob("*.md") if path.name not in names)
    for name in left:
        print(f"{name} is not a page of the reference any more")
    took = f"{time.monotonic() - begun:.1f} s"
    if check:
        if differs or left:
            print(f"the reference differs ({', '.join(differs + left)}): scripts/book reference writes it")
            return 1
        print(f"the reference is as the programs say: {len(names)} pages, {took}")
        return 0
    print(f"{len(differs)} of {len(names)} pages written, {took}")
    return 0
