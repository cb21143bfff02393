"""The figures as a table."""

import statistics

import marks
import session


def markdown(figures):
    """Returns a table a tree: medians, and the median of the ratios of paired runs against devvault."""
    cache = "cold cache" if figures["cold"] else "warm cache"
    lines = [cache + (", a new file system for each turn" if figures["disk"] else ""), ""]
    lines += [f"- {name}: {version}" for name, version in figures["versions"].items()]
    for tree, steps in figures["steps"].items():
        lines += ["", f"## {tree}", "", "| step | program | wall s | CPU s | peak MiB | devvault's wall / this one's |", "|---|---|---|---|---|---|"]
        for step in session.STEPS:
            for name, runs in steps.get(step, {}).items():
                median = {key: statistics.median(run[key] for run in runs) for key in ("wall", "cpu", "memory")}
                own = steps[step].get("devvault")
                ratio = f"{statistics.median(mine['wall'] / run['wall'] for mine, run in zip(own, runs)):.2f}" if own else ""
                lines.append(f"| {step} | {name.replace('|', chr(92) + '|')} | {median['wall']:.2f} | {median['cpu']:.2f} | {median['memory']:.0f} | {ratio} |")
        stored = figures["stored"].get(tree, {})
        own = stored.get("devvault")
        lines += ["", "| stored after three backups | MB | devvault's / this one's |", "|---|---|---|"]
        lines += [f"| {name} | {size / 1e6:.1f} | {own / size:.2f} |" for name, size in stored.items() if own]
        lines += [f"\n{name} restored another tree: {said}" for name, said in figures["differs"].get(tree, {}).items()]
        for name, steps in figures["failed"].get(tree, {}).items():
            lines += [f"\n{name} failed: {step}: `{said}`" for step, said in steps.items()]
    judged = marks.judge(figures)
    lines += ["", "## Marks", "", "| tree | mark | measured | |", "|---|---|---|---|"]
    lines += [f"| {tree} | {mark.replace('|', chr(92) + '|')} | {found} | {'holds' if holds else '**missed**'} |" for tree, mark, found, holds in judged]
    return "\n".join(lines) + "\n"
