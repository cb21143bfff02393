"""Runs one command and measures it."""

import os
import subprocess
import sys
import time
from pathlib import Path


def run(command, env=None, cwd=None):
    """Runs a command; returns wall seconds, CPU seconds of it and its children, and peak memory in MiB."""
    shell = isinstance(command, str)
    begun = time.monotonic()
    child = subprocess.Popen(command, env=env, cwd=cwd, shell=shell, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - begun
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"exit status {child.returncode}: {command if shell else ' '.join(map(str, command))}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 1024}


def forget_caches():
    """Has the system write out and forget what it holds in memory of files."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def stored(path):
    """Returns the bytes of all files below a directory."""
    return sum(file.lstat().st_size for file in Path(path).rglob("*") if file.is_file() and not file.is_symlink())
