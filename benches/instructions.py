#!/usr/bin/env python3
"""Counts the instructions of the main operations on a small tree, and refuses a rise: times cannot be held in CI, counts can.

    cargo build --release
    benches/instructions.py           # compares with instructions.json
    benches/instructions.py --write   # after a change that is meant, in the same commit

Counts hold for one compiler and one set of processor features; where either differs from those of the file, nothing is
compared, and that is said. Needs valgrind.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target/release/devvault"
KEPT = Path(__file__).with_suffix(".json")
# A count repeats within a hundredth; hash maps are seeded at random and threads take turns.
RISE_MAX = 1.10
FILES = 2000


def make_tree(root):
    chance = random.Random(1)
    words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 12))) for _ in range(2000)]
    for number in range(FILES):
        directory = root / f"{number // 50:03}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{number:05}.txt").write_bytes(b" ".join(chance.choices(words, k=chance.randint(5, 1200))))


def count(command, env, scratch):
    """Returns the instructions of a command, in all its threads."""
    out = scratch / "callgrind.out"
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *command],
        env=env, capture_output=True, text=True, check=False,
    )
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode != 0 or not found:
        sys.exit(f"exit status {run.returncode}: {command}\n{run.stderr[-2000:]}")
    return int(found[1])


def circumstances():
    """Returns what a count depends on besides the program."""
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    return {"rustc": rustc, "processor": hashlib.sha256(flags.encode()).hexdigest()[:16], "files": FILES}


def measure(scratch):
    env = {**os.environ, "HOME": str(scratch), "DEVVAULT_CONFIG_DIR": str(scratch / "config"), "DEVVAULT_STATE_DIR": str(scratch / "state")}
    tree, vault = scratch / "tree", scratch / "vault"
    make_tree(tree)
    subprocess.run([PROGRAM, "init", vault], env=env, check=True, stdout=subprocess.DEVNULL)
    # Younger files would be read again by the second backup.
    time.sleep(3)
    program = [PROGRAM, "--vault", vault]
    steps = {
        "first backup": [*program, "backup", tree],
        "no-op backup": [*program, "backup", tree],
        "quick verify": [*program, "verify", "--quick"],
        "full verify": [*program, "verify"],
        "restore": [*program, "restore", "1", scratch / "restored"],
    }
    return {name: count(command, env, scratch) for name, command in steps.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        print("instructions are not counted: valgrind is not installed")
        return
    if not PROGRAM.exists():
        sys.exit("build it first: cargo build --release")
    here = circumstances()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    if not options.write and kept.get("circumstances") != here:
        print("instructions are not compared: the compiler or the processor is not the one of instructions.json")
        return
    with tempfile.TemporaryDirectory(prefix="devvault-count-") as scratch:
        counted = measure(Path(scratch))
    if options.write:
        KEPT.write_text(json.dumps({"circumstances": here, "instructions": counted}, indent=1) + "\n")
    risen = []
    for name, instructions in counted.items():
        before = kept.get("instructions", {}).get(name)
        ratio = instructions / before if before else 1
        print(f"{name:14} {instructions:>14,} instructions, {instructions / FILES:>9,.0f} a file, {ratio:.3f} of what is kept")
        if ratio > RISE_MAX:
            risen.append(name)
    if risen and not options.write:
        sys.exit(f"more instructions than before: {', '.join(risen)}; if that is meant, --write in the same commit, and say why")


if __name__ == "__main__":
    main()
