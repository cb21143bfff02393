"""How devvault's time grows with files and with snapshots."""

import statistics

import measure
import programs
import trees


def measure_files(scratch, counts):
    """Returns rows: files, microseconds a file of first backup, no-op, verify, restore."""
    rows = []
    for count in counts:
        tree = scratch / f"many-{count}"
        trees.many(tree, count)
        subject = programs.Devvault(scratch / f"files-{count}", tree)
        steps = subject.steps("")
        row = [f"{count:,}"]
        for step in ("init", "first backup", "no-op backup", "full verify"):
            taken = measure.run(steps[step](None), subject.env)
            if step != "init":
                row.append(f"{taken['wall'] / count * 1e6:.1f} ({taken['memory']:.0f} MiB)")
        rows.append(row)
    return rows


def measure_snapshots(scratch, count):
    """Returns rows: snapshots, milliseconds of a no-op backup, of `snapshots`, of `status`."""
    tree = scratch / "few"
    trees.many(tree, 10_000)
    subject = programs.Devvault(scratch / "snapshots", tree)
    steps = subject.steps("")
    measure.run(steps["init"](None), subject.env)
    rows, walls = [], []
    for number in range(1, count + 1):
        walls.append(measure.run(steps["no-op backup"](None), subject.env)["wall"])
        if number in (2, 10, 100, count):
            status = [subject.find(), "--vault", subject.vault, "status"]
            listed = statistics.median(measure.run(steps["snapshots"](None), subject.env)["wall"] for _ in range(5))
            looked = statistics.median(measure.run(status, subject.env)["wall"] for _ in range(5))
            backup = statistics.median(walls[-5:])
            rows.append([f"{number:,}", *(f"{seconds * 1e3:.0f}" for seconds in (backup, listed, looked))])
    return rows


def measure_all(scratch, counts, snapshots):
    files = ["| files | first backup, us a file | no-op backup | full verify |", "|---|---|---|---|"]
    files += [f"| {' | '.join(row)} |" for row in measure_files(scratch, counts)]
    many = ["| snapshots | no-op backup, ms | snapshots | status |", "|---|---|---|---|"]
    many += [f"| {' | '.join(row)} |" for row in measure_snapshots(scratch, snapshots)]
    return "\n".join([*files, "", *many]) + "\n"
