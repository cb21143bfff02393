#!/usr/bin/env python3
"""Times devvault beside the peers that are installed, on one tree, in turn, and prints medians and ratios.

    cargo build --release
    benches/peers.py TREE [--runs 3] [--scratch DIR]

Every exit status is checked and every restored tree is compared. Each restore goes into a directory of its own, which is
removed only at the end: file systems slow down for a while after a large removal. Machines are noisy: read the ratios.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(command, env):
    """Runs a command; returns wall seconds, CPU seconds and peak memory in MiB."""
    begun = time.monotonic()
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"exit status {child.returncode}: {' '.join(map(str, command))}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


class Devvault:
    name = "devvault"
    program = ROOT / "target/release/devvault"

    def __init__(self, scratch):
        self.vault = scratch / "vault"
        self.env = {**os.environ, "HOME": str(scratch / "home"), "DEVVAULT_CONFIG_DIR": str(scratch / "config"),
                    "DEVVAULT_STATE_DIR": str(scratch / "state")}
        run([self.program, "init", self.vault], self.env)

    def steps(self, tree, target):
        vault = [self.program, "--vault", self.vault]
        return {
            "first backup": [*vault, "backup", tree],
            "no-op backup": [*vault, "backup", tree],
            "full verify": [*vault, "verify"],
            "restore": [*vault, "restore", "1", target],
        }

    def restored(self, target, tree):
        return target


class Restic:
    name = "restic"
    program = shutil.which("restic")

    def __init__(self, scratch):
        self.vault = scratch / "restic"
        self.env = {**os.environ, "HOME": str(scratch / "home"), "RESTIC_PASSWORD": "bench"}
        run([self.program, "-q", "-r", self.vault, "init"], self.env)

    def steps(self, tree, target):
        vault = [self.program, "-q", "-r", self.vault]
        return {
            "first backup": [*vault, "backup", tree],
            "no-op backup": [*vault, "backup", tree],
            "full verify": [*vault, "check", "--read-data"],
            "restore": [*vault, "restore", "latest", "--target", target],
        }

    def restored(self, target, tree):
        return target / tree.relative_to("/")


def size(path):
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file()) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tree", type=lambda text: Path(text).resolve())
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=None)
    options = parser.parse_args()
    peers = [peer for peer in (Devvault, Restic) if peer.program and Path(peer.program).exists()]
    if Devvault not in peers:
        sys.exit("build it first: cargo build --release")
    figures, stored = {}, {}
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="devvault-bench-") as scratch:
        for turn in range(options.runs):
            for peer in peers:
                place = Path(scratch) / f"{peer.name}-{turn}"
                (place / "home").mkdir(parents=True)
                subject, target = peer(place), place / "restored"
                for step, command in subject.steps(options.tree, target).items():
                    figures.setdefault((step, peer.name), []).append(run(command, subject.env))
                subprocess.run(["diff", "-r", "--no-dereference", options.tree, subject.restored(target, options.tree)], check=True)
                stored[peer.name] = size(subject.vault)
    print(f"tree {options.tree.name}, {options.runs} runs in turn, medians\n")
    print("| step | peer | wall s | CPU s | peak MiB | wall against devvault |\n|---|---|---|---|---|---|")
    for (step, name), runs in sorted(figures.items()):
        own = [wall for wall, _, _ in figures[(step, "devvault")]]
        ratios = [wall / mine for (wall, _, _), mine in zip(runs, own)]
        wall, cpu, memory = (statistics.median(column) for column in zip(*runs))
        print(f"| {step} | {name} | {wall:.2f} | {cpu:.2f} | {memory:.0f} | {statistics.median(ratios):.2f} |")
    print("\nstored: " + ", ".join(f"{name} {megabytes:.1f} MB" for name, megabytes in stored.items()))


if __name__ == "__main__":
    main()
