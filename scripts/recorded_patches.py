"""Counts the rows of `worker verify --output jsonl` on standard input: see scripts/recorded-patches."""
import collections
import json
import re
import sys

# What a collateral place is about, the first that fits.
KINDS = [
    ("image", r"/image$"),
    ("requests and limits", r"/resources(/|$)"),
    ("capabilities", r"/securityContext/capabilities"),
    ("allowPrivilegeEscalation", r"/allowPrivilegeEscalation$"),
    ("runAsNonRoot, runAsUser, runAsGroup", r"/securityContext/runAs"),
    ("readOnlyRootFilesystem", r"/readOnlyRootFilesystem$"),
    ("privileged", r"/privileged$"),
    ("seccompProfile", r"/seccompProfile"),
    ("a whole security context", r"/securityContext$"),
    ("other fields of a security context", r"/securityContext/"),
    ("environment", r"/env(/|$)"),
    ("container ports", r"/(c|initC)ontainers/\d+/ports"),
    ("volumes and mounts", r"/volume"),
    ("restartPolicy", r"/restartPolicy$"),
    ("labels, selectors", r"/(labels|selector|matchLabels)"),
    ("names, namespaces", r"^\w+ /metadata/(name|namespace|generateName)$"),
    ("API version, kind", r"^\w+ /(apiVersion|kind)$"),
    ("a Service's spec", r"^\w+ /spec/(type|externalName|clusterIP|ports)"),
    ("schedule, job template", r"^\w+ /spec/(schedule|jobTemplate)"),
    ("companion", r"^companion"),
]


def kind(change):
    """The kind of a `word pointer`."""
    return next((name for name, pattern in KINDS if re.search(pattern, change)), re.sub(r"/\d+", "/*", change))


def main():
    """Prints the row of a run and its kinds of collateral."""
    run = sys.argv[1]
    rows = before = after = effective_before = effective = 0
    kinds, policies = collections.Counter(), collections.Counter()
    for line in sys.stdin:
        row = json.loads(line)
        rows += 1
        accepted = row["status"] == "accepted"
        # The safety gate's errors about collateral come from nowhere else; without them it says what it said before.
        mark = f"not needed for {row['policy_id']}: "
        others = [error for error in row["errors"] if not error.startswith(mark)]
        was_accepted = accepted or (row["gates"]["apply"] == "passed" and not others)
        # Without a rescan nothing counts as effective.
        rescanned = row["gates"]["rescan"] == "passed" and not row["new_violations"]
        before += was_accepted
        after += accepted
        effective_before += was_accepted and rescanned
        effective += accepted and rescanned and not row["collateral"]
        if was_accepted and not accepted:
            policies[row["policy_id"]] += 1
            kinds.update({kind(change) for change in row["collateral"]})
    share = lambda n: f"{n} ({100 * n / max(rows, 1):.1f} %)"
    print("| run | records | accepted, collateral ignored | accepted | effective, collateral ignored | effective |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(f"| {run} | {rows} | {share(before)} | {share(after)} | {share(effective_before)} | {share(effective)} |")
    print(f"\nNewly refused: {before - after}. Records by what their collateral is about (one may have several):")
    for name, count in kinds.most_common(40):
        print(f"  {count:6} {name}")
    print("By policy: " + ", ".join(f"{policy} {count}" for policy, count in policies.most_common()) + "\n")


main()
