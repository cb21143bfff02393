"""One session: every step of every program on every tree, in turn."""

import os
import platform
import subprocess
import sys
import time

import disk
import measure
import trees

STEPS = [
    "init", "first backup", "no-op backup", "edit backup", "quick verify", "prepare", "full verify", "restore", "one file", "snapshots", "status",
]
# Files younger than this are read again by the next backup.
SETTLE_SECONDS = 3


def run(scratch, chosen, kinds, runs, cold, gigabytes):
    """Returns all figures: by tree, step and program a list with one measurement a run. A peer that fails a step or restores
    another tree is told; devvault ends the session with that. Each turn has a new file system of so many GB, if it is told."""
    figures = {
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cold": cold,
        "disk": gigabytes,
        "versions": {kind.name: kind.version() for kind in kinds},
        "steps": {},
        "stored": {},
        "added": {},
        "differs": {},
        "failed": {},
    }
    for tree in chosen:
        for turn in range(runs):
            # Removed only when the turn is over: file systems are slow for a while after a large removal.
            with disk.place(scratch, f"{tree.name}-{turn}", gigabytes) as place:
                # Forth and back: who comes early in a step meets another medium and another cache than who comes late.
                one_turn(place, tree, kinds if turn % 2 == 0 else kinds[::-1], cold, figures)
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
            # Whoever syncs would wait for what another one wrote.
            os.sync()
            if cold:
                measure.forget_caches()
            print(f"{tree.name}: {step}: {subject.name}", file=sys.stderr)
            before = measure.stored(subject.vault) if step.endswith("backup") else 0
            try:
                taken = measure.run(make(target), subject.env, cwd)
            except measure.Failed as failed:
                if subject.name == "devvault" or step == "prepare":
                    raise
                figures["failed"].setdefault(tree.name, {}).setdefault(subject.name, {})[step] = str(failed).replace(str(place), "")
                continue
            if step == "prepare":
                continue
            figures["steps"].setdefault(tree.name, {}).setdefault(step, {}).setdefault(subject.name, []).append(taken)
            if step.endswith("backup"):
                added = measure.stored(subject.vault) - before
                figures["added"].setdefault(tree.name, {}).setdefault(step, {}).setdefault(subject.name, []).append(added)
            if step == "restore" and subject.name != "anchor":
                told = differences(origin, subject.restored(target))
                if told and subject.name == "devvault":
                    sys.exit(f"devvault restored another tree: {told[0]}")
                if told:
                    said = f"{len(told)} differences, the first: {told[0].replace(str(place), '')}"
                    figures["differs"].setdefault(tree.name, {})[subject.name] = said
    for subject in subjects:
        if subject.vault.exists():
            figures["stored"].setdefault(tree.name, {})[subject.name] = measure.stored(subject.vault)


def differences(origin, restored):
    """Returns what `diff` says of a restored tree; nothing where it is the same."""
    found = subprocess.run(["diff", "-rq", "--no-dereference", origin, restored], capture_output=True, text=True, errors="replace")
    if found.returncode > 1:
        sys.exit(found.stderr)
    return found.stdout.splitlines()
