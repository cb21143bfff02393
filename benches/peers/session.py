"""One session: every step of every program on every tree, in turn."""

import platform
import subprocess
import sys
import time

import measure
import trees

STEPS = [
    "init", "first backup", "no-op backup", "edit backup", "quick verify", "prepare", "full verify", "restore", "one file", "snapshots", "status",
]
# Files younger than this are read again by the next backup.
SETTLE_SECONDS = 3


def run(scratch, chosen, kinds, runs, cold):
    """Returns all figures: by tree, step and program a list with one measurement a run."""
    figures = {
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cold": cold,
        "versions": {kind.name: kind.version() for kind in kinds},
        "steps": {},
        "stored": {},
        "added": {},
    }
    for tree in chosen:
        for turn in range(runs):
            place = scratch / f"{tree.name}-{turn}"
            place.mkdir()
            one_turn(place, tree, kinds, cold, figures)
            # Not between steps: file systems are slow for a while after a large removal.
            subprocess.run(["rm", "-rf", place], check=True)
    return figures


def one_turn(place, tree, kinds, cold, figures):
    origin = place / "tree"
    file = tree.make(origin)
    subjects = [kind(place / kind.name.replace(" | ", "-"), origin) for kind in kinds]
    time.sleep(SETTLE_SECONDS)
    for step in STEPS:
        if step == "edit backup":
            trees.edit(origin)
            time.sleep(SETTLE_SECONDS)
        for subject in subjects:
            make = subject.steps(file).get(step)
            if make is None:
                continue
            target = subject.place / f"{step.replace(' ', '-')}-target"
            cwd = None
            if subject.cwd(step):
                target.mkdir()
                cwd = target
            if cold:
                measure.forget_caches()
            print(f"{tree.name}: {step}: {subject.name}", file=sys.stderr)
            before = measure.stored(subject.vault) if step.endswith("backup") else 0
            taken = measure.run(make(target), subject.env, cwd)
            if step == "prepare":
                continue
            figures["steps"].setdefault(tree.name, {}).setdefault(step, {}).setdefault(subject.name, []).append(taken)
            if step.endswith("backup"):
                added = measure.stored(subject.vault) - before
                figures["added"].setdefault(tree.name, {}).setdefault(step, {}).setdefault(subject.name, []).append(added)
            if step == "restore" and subject.name != "anchor":
                compare(origin, subject.restored(target))
    for subject in subjects:
        if subject.vault.exists():
            figures["stored"].setdefault(tree.name, {})[subject.name] = measure.stored(subject.vault)


def compare(origin, restored):
    subprocess.run(["diff", "-r", "--no-dereference", origin, restored], check=True)
