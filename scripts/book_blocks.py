"""Runs the command blocks of the book; see scripts/book."""
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

# No block of the book takes longer, on any machine.
LONGEST_S = 300
PORT = re.compile(r"\b((?:127\.0\.0\.1|localhost):)(\d{4,5})\b")
FENCE = re.compile(r"^(`{3,})\s*(.*)$")
SHELLS = {"sh", "bash", "shell", "console"}


class Wrong(Exception):
    """A page that says what is not so, or that cannot be read."""


@dataclass
class Block:
    line: int
    text: str
    exit: int = 0
    background: bool = False
    until: str = ""
    needs: list = field(default_factory=list)
    shown: list = field(default_factory=list)


def parse(page):
    """The command blocks of a page, in order."""
    blocks, lines, at = [], page.read_text().splitlines(), 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if not fence:
            at += 1
            continue
        begun = at
        while at + 1 < len(lines) and lines[at + 1].strip() != fence[1]:
            at += 1
        body = lines[begun + 1:at + 1]
        at += 2
        words = shlex.split(fence[2])
        if words[:1] == ["sh"]:
            blocks.append(block(page, begun + 1, words[1:], body))
        elif words == ["text", "shown"]:
            if not blocks:
                raise Wrong(f"{page.name}:{begun + 1}: output without a command above it")
            blocks[-1].shown.extend(line for line in body if line.strip())
        elif words and words[0] in SHELLS:
            raise Wrong(f"{page.name}:{begun + 1}: commands stand in blocks of the language sh, so that they are run")
    return blocks


def block(page, line, words, body):
    made = Block(line, "\n".join(body) + "\n")
    for word in words:
        name, _, value = word.partition("=")
        if name == "exit":
            made.exit = int(value)
        elif word == "background":
            made.background = True
        elif name == "until":
            made.until = value
        elif name == "needs":
            made.needs = value.split(",")
        else:
            raise Wrong(f"{page.name}:{line}: what is {word}?")
    if made.background != bool(made.until):
        raise Wrong(f"{page.name}:{line}: background and until go together")
    return made


def missing(root, needs):
    """What a block needs and this machine does not have."""
    for need in needs:
        if need == "paper":
            if not (root / "../shared/corpus").is_dir():
                return "../shared/corpus"
        elif shutil.which(need) is None:
            return need
    return None


def missing_lines(shown, printed):
    """The first line of `shown` that was not printed after the ones before it."""
    rest = printed.splitlines()
    for line in shown:
        wanted = re.compile(".*".join(re.escape(part) for part in line.strip().split("…")))
        for at, candidate in enumerate(rest):
            if wanted.fullmatch(candidate.strip()):
                rest = rest[at + 1:]
                break
        else:
            return line
    return None


def unknown_messages(root, page):
    """Headings of a page that quote a message no program has: every part between … must stand in the sources."""
    quoted = re.findall(r"^###? `(.+)`$", page.read_text(), re.M)
    if not quoted:
        return []
    sources = (path for folder in ("analysis", "coordinator", "proto", "worker") for path in (root / folder).rglob("*.rs"))
    # A literal may go on in the next line.
    text = re.sub(r"\\\n\s*", "", "\n".join(path.read_text() for path in sources)).replace('\\"', '"')
    # Causes are joined with a colon; what the operating system says stands in no literal of ours.
    parts = {message: [part.strip() for part in re.split("…|: |Address already in use", message)] for message in quoted}
    return [message for message in quoted if not all(part in text for part in parts[message])]


def dead_links(folder):
    """Links of all pages to files that are not there; pages that the summary does not name."""
    dead, pages = [], sorted(folder.rglob("*.md"))
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            if not (page.parent / target).exists():
                dead.append(f"{page.relative_to(folder)}: {target}")
    summary = (folder / "SUMMARY.md").read_text()
    dead += [f"SUMMARY.md lacks {name}" for page in pages if (name := str(page.relative_to(folder))) != "SUMMARY.md"
             and f"({name})" not in summary]
    return dead


class Ports:
    """Free ports in place of those that the book names, so that a test disturbs no other program."""

    def __init__(self, keep):
        self.keep, self.ports, self.held = keep, {}, []

    def replaced(self, text):
        return text if self.keep else PORT.sub(lambda found: found[1] + self.free(found[2]), text)

    def named(self, text):
        """The text with the ports of the book again."""
        for name, port in self.ports.items():
            text = re.sub(rf"\b{port}\b", name, text)
        return text

    def free(self, name):
        if name not in self.ports:
            # All are held until all are known, so that none is given twice.
            holder = socket.socket()
            holder.bind(("127.0.0.1", 0))
            self.held.append(holder)
            self.ports[name] = str(holder.getsockname()[1])
        return self.ports[name]

    def release(self):
        while self.held:
            self.held.pop().close()


class Page:
    """A page that is run: its folder, its environment, and what it has started."""

    def __init__(self, root, programs, ports, path, scratch):
        self.root, self.ports, self.path = root, ports, path
        self.blocks = parse(path)
        self.folder = scratch / path.stem
        self.started, self.printed = [], 0
        home = scratch / "home"
        self.environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith("K8S_AUTO_FIX_") and not name.endswith("_API_KEY")
        } | {
            "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home), "XDG_RUNTIME_DIR": str(scratch / "run"),
            "XDG_STATE_HOME": str(home / "state"), "COLUMNS": "100", "NO_COLOR": "1", "LC_ALL": "C.UTF-8",
            # What scripts/control-plane and scripts/scanners have built is found where it is.
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
            "PAPER": str((root / "../shared/corpus").resolve()),
        }

    def prepare(self):
        self.folder.mkdir()
        for text in self.blocks:
            self.ports.replaced(text.text)
        for name in ("configs", "data/fixtures"):
            shutil.copytree(self.root / name, self.folder / name)
        (self.folder / "scripts").mkdir()
        for script in ("certs", "postgres"):
            shutil.copy(self.root / "scripts" / script, self.folder / "scripts" / script)
        for config in (self.folder / "configs").glob("*.yaml"):
            text = config.read_text()
            config.write_text(self.ports.replaced(text))
        self.ports.release()

    def start(self, block, output):
        # A block is a script of its own: what it sets, the next one does not have, as in another terminal.
        script = "set -euo pipefail\n" + self.ports.replaced(block.text)
        process = subprocess.Popen(["bash", "-c", script], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        self.started.append(process)
        return process

    def run_block(self, block):
        log = self.folder / f".block-{block.line}"
        with open(log, "wb") as output:
            process = self.start(block, output)
        if block.background:
            self.wait_for(block, process, log)
        else:
            try:
                code = process.wait(LONGEST_S)
            except subprocess.TimeoutExpired:
                raise self.wrong(block, f"did not end within {LONGEST_S} s", log) from None
            if code != block.exit:
                raise self.wrong(block, f"ended with {code}, not {block.exit}", log)
        printed = self.ports.named(log.read_text(errors="replace"))
        line = missing_lines(block.shown, printed)
        if line is not None:
            raise self.wrong(block, f"did not print: {line.strip()}", log)

    def wait_for(self, block, process, log):
        end = time.monotonic() + LONGEST_S
        while block.until not in log.read_text(errors="replace"):
            if process.poll() is not None:
                raise self.wrong(block, f"ended with {process.returncode} before it said: {block.until}", log)
            if time.monotonic() > end:
                raise self.wrong(block, f"did not say: {block.until}", log)
            time.sleep(0.02)

    def wrong(self, block, what, log):
        printed = self.ports.named(log.read_text(errors="replace"))
        tail = "\n".join("    " + line for line in printed.splitlines()[-25:])
        return Wrong(f"{self.path.name}:{block.line}: {what}\n{tail}")

    def end(self):
        """Ends everything that the page has started, and its children."""
        for process in self.started:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                except ProcessLookupError:
                    break
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    continue


def run(root, programs, names, *, keep, keep_ports):
    folder = root / "docs/src"
    pages = sorted(page for page in folder.glob("*.md") if page.name != "SUMMARY.md")
    if names:
        pages = [page for page in pages if page.stem in {Path(name).stem for name in names}]
    if not pages:
        print("scripts/book: no such page")
        return 2
    scratch = Path(tempfile.mkdtemp(prefix="book-"))
    for name in ("home", "run"):
        (scratch / name).mkdir(mode=0o700)
    wrong, left_out, count = dead_links(folder), [], 0
    if wrong:
        print("links to nothing: " + "; ".join(wrong))
    for path in pages:
        begun = time.monotonic()
        page = None
        try:
            page = Page(root, programs, Ports(keep_ports), path, scratch)
            unknown = unknown_messages(root, path)
            if unknown:
                raise Wrong(f"{path.name}: no program says: {'; '.join(unknown)}")
            page.prepare()
            ran = 0
            for block in page.blocks:
                lacks = missing(root, block.needs)
                if lacks:
                    left_out.append(f"{path.name}:{block.line}: no {lacks}")
                    continue
                page.run_block(block)
                ran += 1
            count += ran
            print(f"{path.name}: {ran} blocks, {time.monotonic() - begun:.1f} s", flush=True)
        except Wrong as error:
            wrong.append(str(error))
            print(error, flush=True)
        finally:
            if page:
                page.end()
    skips = os.environ.get("TEST_SKIPS")
    for line in left_out:
        print(f"skipped: {line}")
        if skips:
            with open(skips, "a") as file:
                file.write(f"optional the book, {line}\n")
    if keep:
        print(f"scratch folder: {scratch}")
    else:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"the book: {count} blocks ran, {len(left_out)} were left out, {len(wrong)} wrong")
    return 1 if wrong else 0
