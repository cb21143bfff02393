"""Runs one command and writes what it took to a descriptor.

A program of its own, because the system counts the memory of whoever starts a command as that command's: the session, which
holds lists of a million files, would make every peak as large as itself.
"""

import json
import os
import sys
import time

descriptor, words = int(sys.argv[1]), sys.argv[2:]
os.set_inheritable(descriptor, False)
begun = time.monotonic()
child = os.posix_spawnp(words[0], words, os.environ)
_, status, usage = os.wait4(child, 0)
taken = {
    "status": os.waitstatus_to_exitcode(status),
    "wall": time.monotonic() - begun,
    "cpu": usage.ru_utime + usage.ru_stime,
    "memory": usage.ru_maxrss / 1024,
}
with os.fdopen(descriptor, "w") as result:
    json.dump(taken, result)
