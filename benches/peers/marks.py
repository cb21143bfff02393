"""The marks: how far below each peer devvault means to stay, as ratios inside one run, and whether it does.

A mark that is missed stands in the table as missed. Seconds say nothing here; machines differ and are shared.
"""

import statistics
from dataclasses import dataclass


@dataclass
class Mark:
    """devvault's figure for a step is at most so much of another's, on these trees; on every real one where none is named."""

    step: str
    other: str
    most: float
    trees: tuple = ()
    cold: bool = False
    # Whose step is held against it, where that is not the same.
    of: str = ""
    only: str = "wall"

    def says(self):
        what = self.step if not self.of else f"{self.step} against {self.of}"
        return f"{what} ≤ {self.most:g} × {self.other}"


@dataclass
class Bound:
    """devvault's own figure has a bound, on these trees."""

    what: str
    most: float
    unit: str
    trees: tuple = ()


EACH = ("first backup", "no-op backup", "edit backup", "quick verify", "full verify", "restore")
# Made for one purpose each, with marks of their own.
MADE = ("many", "big")
MARKS = [
    Mark("first backup", "tar | zstd", 1.5),
    Mark("first backup", "restic", 0.45),
    Mark("first backup", "bupstash", 1.0),
    Mark("no-op backup", "anchor", 1.5),
    Mark("no-op backup", "bupstash", 1.0),
    Mark("no-op backup", "conserve", 1.0),
    Mark("no-op backup", "restic", 0.25),
    Mark("edit backup", "anchor", 2.5),
    Mark("edit backup", "conserve", 1.0),
    Mark("edit backup", "restic", 0.4),
    Mark("full verify", "anchor", 1.0),
    Mark("full verify", "restic", 0.45),
    Mark("full verify", "bupstash", 0.65),
    Mark("full verify", "conserve", 0.65),
    Mark("full verify", "anchor", 0.3, cold=True),
    Mark("quick verify", "restic", 0.2),
    Mark("quick verify", "conserve", 1.0),
    Mark("restore", "anchor", 0.85),
    Mark("restore", "restic", 0.65),
    Mark("restore", "bupstash", 0.95),
    *(Mark(step, "restic", 0.4, trees=("many",)) for step in EACH),
    Mark("one file", "devvault", 0.1, trees=("many",), of="quick verify"),
]
MEMORY = [Bound("peak memory", 120, "MiB", ("linux",)), Bound("peak memory", 300, "MiB", ("many",)), Bound("peak memory", 150, "MiB", ("big",))]
STORED = [("restic", 0.78, "linux"), ("bupstash", 0.98, "linux")]
NO_OP_ADDS_MAX = 100_000
# They store what they copy as it is, or nothing that could be restored.
NO_STORE = ("rsync", "tar | zstd", "anchor", "hashdeep")


def judge(figures):
    """Returns rows: tree, what is promised, what was measured, whether it holds."""
    rows = []
    for tree, steps in figures["steps"].items():
        rows += [row for mark in MARKS if (row := judge_mark(mark, tree, steps, figures["cold"]))]
        if figures["cold"]:
            continue
        rows += [row for bound in MEMORY if tree in bound.trees and (row := judge_memory(bound, tree, steps))]
        rows += judge_stored(tree, figures["stored"].get(tree, {}))
        rows += judge_added(tree, figures["added"].get(tree, {}))
    return rows


def judge_mark(mark, tree, steps, cold):
    own, others = steps.get(mark.step, {}).get("devvault"), steps.get(mark.of or mark.step, {}).get(mark.other)
    meant = tree in mark.trees if mark.trees else tree not in MADE
    if not own or not others or mark.cold != cold or not meant:
        return None
    ratio = statistics.median(mine[mark.only] / other[mark.only] for mine, other in zip(own, others))
    return (tree, mark.says(), f"{ratio:.2f}", ratio <= mark.most)


def judge_memory(bound, tree, steps):
    peaks = [run["memory"] for step in steps.values() for run in step.get("devvault", [])]
    return (tree, f"{bound.what} ≤ {bound.most:g} {bound.unit}", f"{max(peaks):.0f}", max(peaks) <= bound.most) if peaks else None


def judge_stored(tree, stored):
    own = stored.get("devvault")
    if not own:
        return []
    named = [(peer, most) for peer, most, where in STORED if where == tree and peer in stored]
    every = [(peer, 1.0) for peer in stored if peer not in (*NO_STORE, "devvault", *(peer for peer, _ in named))]
    return [
        (tree, f"stored ≤ {most:g} × {peer}", f"{own / stored[peer]:.2f}", own <= most * stored[peer])
        for peer, most in named + every
    ]


def judge_added(tree, added):
    rows = []
    no_op = statistics.median(added.get("no-op backup", {}).get("devvault", [0]))
    rows.append((tree, f"a no-op backup adds < {NO_OP_ADDS_MAX / 1000:g} kB", f"{no_op / 1000:.1f}", no_op < NO_OP_ADDS_MAX))
    edit = {name: statistics.median(sizes) for name, sizes in added.get("edit backup", {}).items() if name not in NO_STORE}
    own = edit.pop("devvault", None)
    if own is not None and edit:
        least = min(edit, key=edit.get)
        rows.append((tree, "an edit adds less than any peer", f"{own / 1e6:.2f} MB, {least} {edit[least] / 1e6:.2f} MB", own < edit[least]))
    return rows
