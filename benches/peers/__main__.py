#!/usr/bin/env python3
"""Runs devvault and every peer that is installed on the same trees, in turn, and prints medians and ratios.

    cargo build --release
    python3 benches/peers run linux=/path/to/linux-source many=100000 big=1 --runs 3 --json out.json --markdown out.md
    python3 benches/peers growth

Restores are only comparable on a file system from which nothing was removed just before: as root, add `--disk 14` (GB; a tree
of 1 GB takes about 2 for each program).

A tree is NAME=DIRECTORY (copied, never changed), many=COUNT small files, or big=GIGABYTES. Every exit status is checked
and every restored tree is compared. Machines are noisy: read the ratios, not the seconds.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import growth
import measure
import programs
import report
import session
import trees


def main():
    parser = argparse.ArgumentParser(prog="benches/peers", description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path, help="where the copies, vaults and restored trees go")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="the steps of a backup program's life on each tree")
    run.add_argument("trees", nargs="+", type=trees.parse)
    run.add_argument("--runs", type=int, default=3, help="how often everything is done, in turn")
    run.add_argument("--cold", action="store_true", help="drop the page cache before every step (root)")
    run.add_argument("--disk", type=int, metavar="GIGABYTES", help="a new ext4 of that size for each turn, on a loop device (root)")
    run.add_argument("--only", action="append", default=[], metavar="NAME", help="only devvault and these peers")
    run.add_argument("--json", type=Path)
    run.add_argument("--markdown", type=Path)
    grow = commands.add_parser("growth", help="how time grows with files and with snapshots")
    grow.add_argument("--snapshots", type=int, default=1000)
    grow.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options = parser.parse_args()
    if not programs.Devvault.find():
        sys.exit("build it first: cargo build --release")
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="devvault-bench-") as scratch:
        if options.command == "growth":
            print(growth.measure_all(Path(scratch), options.files, options.snapshots))
            return
        subjects = [kind for kind in programs.ALL if kind.find() and (not options.only or kind.name in [*options.only, "devvault"])]
        figures = session.run(Path(scratch), options.trees, subjects, options.runs, options.cold, options.disk)
    table = report.markdown(figures)
    print(table)
    if options.markdown:
        options.markdown.write_text(table)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except measure.Failed as failed:
        sys.exit(str(failed))
