"""Runs one command and measures it."""

import json
import os
import subprocess
import sys
from pathlib import Path


class Failed(Exception):
    """A command ended with another exit status than 0."""


def run(command, env=None, cwd=None):
    """Runs a command; returns wall seconds, CPU seconds of it and its children, and peak memory in MiB. Raises `Failed`."""
    words = ["sh", "-c", command] if isinstance(command, str) else [str(word) for word in command]
    reading, writing = os.pipe()
    launcher = [sys.executable, "-E", "-S", Path(__file__).with_name("launch.py"), str(writing)]
    with os.fdopen(reading) as result:
        child = subprocess.Popen([*launcher, *words], env=env, cwd=cwd, stdout=subprocess.DEVNULL, pass_fds=[writing])
        os.close(writing)
        taken = json.loads(result.read())
    child.wait()
    status = taken.pop("status")
    if status != 0:
        raise Failed(f"exit status {status}: {' '.join(words)}")
    return taken


def forget_caches():
    """Has the system forget what it holds in memory of files, as far as it is written out."""
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def stored(path):
    """Returns the bytes of all files below a directory."""
    return sum(file.lstat().st_size for file in Path(path).rglob("*") if file.is_file() and not file.is_symlink())
