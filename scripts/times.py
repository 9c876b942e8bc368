"""Times of analysis commands beside the measured original; called by scripts/bench --analysis.

usage: times.py ANALYSIS RUN [RUN_OF_SUPPORTED] [LARGE_RUN]
"""

import os
import statistics
import sys
import tempfile
import time

# CPU seconds and wall seconds of the original on the same kind of machine (reference/original_speed.md, Analysis);
# it has no report.
ORIGINAL = {
    "metrics": (4.60, 6.80),
    "policy-metrics": (4.84, 7.19),
    "sweep": (2.60, 3.73),
    "compare": (2.07, 3.01),
    "failures": (0.94, 1.42),
    "calibration": (0.15, 0.24),
}
# The original's sweep has 17 entries: the same grid, four weights and four times three strategies.
GRID = ["--explore-weight", "0,0.5,1"]
TIMES = 3


def run(command):
    """CPU seconds, wall seconds and peak MB of a command; ends the program when it fails."""
    with open(os.devnull, "w") as nothing:
        began = time.perf_counter()
        child = os.posix_spawnp(
            command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, nothing.fileno(), 1)]
        )
        _, status, used = os.wait4(child, 0)
        wall = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)}: failed")
    return used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1000


def measure(name, command):
    """The median of some runs, as a line of the table; CPU and wall seconds."""
    all_runs = [run(command) for _ in range(TIMES)]
    cpu, wall, peak = (statistics.median(column) for column in zip(*all_runs))
    before = ORIGINAL.get(name)
    original = f"{before[0]:8.2f} {before[1]:9.2f} {before[0] / cpu:7.0f}x" if before else f"{'-':>8} {'-':>9} {'-':>8}"
    print(f"{name:16} {cpu:8.2f} {wall:9.2f} {peak:8.0f} {original}")
    return wall


def block(title, analysis, of, others, seconds):
    print(f"\n{title}\n{'command':16} {'CPU s':>8} {'wall s':>9} {'peak MB':>8} {'CPU s':>8} {'wall s':>9} {'faster':>8}")
    walls = {}
    with tempfile.TemporaryDirectory() as out:
        for name, arguments in [
            ("metrics", [of]),
            ("policy-metrics", [of]),
            ("sweep", [of, *GRID]),
            ("compare", [of]),
            ("failures", [of]),
            ("calibration", [f"{place}={run}" for place, run in enumerate([of, *others])]),
            ("latency", [of]),
            ("simulate", [of, "--jobs", "2000"]),
            ("report", [of, "--out", out]),
        ]:
            walls[name] = measure(name, [analysis, name, *arguments])
        page = os.path.getsize(os.path.join(out, "report.html")) / 1e6
    together = walls["metrics"] + walls["policy-metrics"] + walls["sweep"]
    print(f"metrics + policy-metrics + sweep: {together:.2f} s (goal: {seconds} s); page: {page:.2f} MB (goal: 6 MB)")


def main():
    analysis, run_of_full, *more = sys.argv[1:]
    supported = more[:1]
    print("Second numbers: the original (reference/original_speed.md).")
    block("13,656 records", analysis, run_of_full, supported, 1)
    if len(more) > 1:
        block("the large run", analysis, more[1], [], 12)


main()
