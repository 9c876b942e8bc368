#!/usr/bin/env python3
"""Prints the runs of `scripts/bench --compare` beside the measured figures of the Python original."""
import json
import sys
from pathlib import Path

# Measured on a machine of the same kind (2 cores): propose 31-39 ms and verify ~14 ms CPU a record.
ORIGINAL_CPU_S = (425, 535)
ORIGINAL_WALL_S = "about 380"
ORIGINAL_MB = "146-301 a process"


def main() -> None:
    folder = Path(sys.argv[1])
    runs = {name: json.loads((folder / f"compare-{name}.json").read_text()) for name in ("record", "manifest", "1x", "10x")}
    for name, run in runs.items():
        for key in ("wall_s", "cpu_s", "peak_rss_mb"):
            if run[key] is None:
                sys.exit(f"compare-{name}.json: {key} is not known, so there is nothing to compare")
    print(f"\n{'run':34} {'records':>9} {'wall s':>9} {'CPU s':>9} {'peak MB':>9} {'ms/record':>10}")
    print(f"{'original, Python (extrapolated)':34} {13656:>9} {ORIGINAL_WALL_S:>9} {'425-535':>9} {ORIGINAL_MB:>9} {'31-39':>10}")
    for name, run in runs.items():
        per_record = 1e3 * run["cpu_s"] / max(run["records"], 1)
        print(f"{'ours, ' + name:34} {run['records']:>9} {run['wall_s']:>9.2f} {run['cpu_s']:>9.2f} "
              f"{run['peak_rss_mb']:>9.0f} {per_record:>10.3f}")
    record, small, large = runs["record"], runs["1x"], runs["10x"]
    print(f"\nCPU: {ORIGINAL_CPU_S[0] / record['cpu_s']:.0f} to {ORIGINAL_CPU_S[1] / record['cpu_s']:.0f} times less than the original")
    print(f"10 x the corpus: {large['wall_s'] / small['wall_s']:.1f} x the time (at most 10.5), "
          f"{large['peak_rss_mb'] / small['peak_rss_mb']:.2f} x the memory (at most 1.2)")


if __name__ == "__main__":
    main()
