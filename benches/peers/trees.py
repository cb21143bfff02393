"""The trees that are backed up, and their second versions."""

import argparse
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Tree:
    """A name, and how its copy is made."""

    name: str
    origin: Path | None = None
    count: int = 0
    gigabytes: float = 0

    def make(self, place):
        """Makes the first version; returns one file of it, relative to the tree."""
        if self.origin:
            shutil.copytree(self.origin, place, symlinks=True)
        elif self.count:
            many(place, self.count)
        else:
            big(place, self.gigabytes)
        files = sorted(path for path in place.rglob("*") if path.is_file() and not path.is_symlink())
        return files[len(files) // 2].relative_to(place)


def parse(text):
    """Reads NAME=DIRECTORY, many=COUNT or big=GIGABYTES."""
    name, _, value = text.partition("=")
    try:
        if name == "many":
            return Tree(name, count=int(value))
        if name == "big":
            return Tree(name, gigabytes=float(value))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: not a number") from None
    if not Path(value).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no directory")
    return Tree(name, origin=Path(value).resolve())


def many(place, count):
    """Makes small text files, 500 a directory."""
    chance = random.Random(1)
    words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 12))) for _ in range(2000)]
    for number in range(count):
        directory = place / f"{number // 50_000:03}" / f"{number // 500:05}"
        if number % 500 == 0:
            directory.mkdir(parents=True)
        content = b" ".join(chance.choices(words, k=chance.randint(5, 120)))
        (directory / f"{number:08}.txt").write_bytes(b"%d " % number + content)


def big(place, gigabytes):
    """Makes a file that does not compress, and a copy of it with an edit in the middle."""
    place.mkdir(parents=True)
    chance, left = random.Random(2), int(gigabytes * 5e8)
    with open(place / "image", "wb") as file, open(place / "copy", "wb") as copy:
        middle, done = left // 2, 0
        while done < left:
            block = chance.randbytes(min(8 << 20, left - done))
            file.write(block)
            if done <= middle < done + len(block):
                copy.write(b"an insertion that shifts all that follows")
            copy.write(block)
            done += len(block)


def edit(place):
    """Makes the second version in place: a hundredth of the files changed, some removed, renamed, added."""
    chance = random.Random(3)
    files = sorted(path for path in place.rglob("*") if path.is_file() and not path.is_symlink())
    chosen = chance.sample(files, max(1, len(files) // 100))
    for path in chosen:
        os.chmod(path, path.stat().st_mode | 0o200)
        with open(path, "r+b") as file:
            file.seek(path.stat().st_size // 2)
            file.write(chance.randbytes(min(64, path.stat().st_size) or 1))
    untouched = sorted(set(files) - set(chosen))
    for path in chance.sample(untouched, len(untouched) // 1000):
        path.unlink()
    directories = sorted(path for path in place.iterdir() if path.is_dir() and not path.is_symlink())
    if directories:
        directories[-1].rename(place / "renamed-directory")
    for number in range(max(1, len(files) // 1000)):
        (place / f"added-{number}").write_bytes(chance.randbytes(2000))
