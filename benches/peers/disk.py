"""A new file system for each turn.

ext4 takes no inode again that was freed within five minutes, and looks past each such inode whenever it wants one, so that
whatever restores first after a large removal pays for it, and whatever restores last does not.
"""

import contextlib
import subprocess
from pathlib import Path


@contextlib.contextmanager
def disk(scratch, gigabytes):
    """Mounts an empty ext4 of so many GB, on a sparse file and a loop device, for as long as the context lasts. Root only."""
    image, place = Path(scratch) / "disk", Path(scratch) / "mounted"
    place.mkdir(exist_ok=True)
    with open(image, "wb") as file:
        file.truncate(gigabytes * 1_000_000_000)
    told = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", image], capture_output=True, text=True, check=True)
    loop = told.stdout.strip()
    try:
        # All of it now: what the kernel would do later would be measured. An inode for every 6 KiB: trees have many small files.
        later = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mkfs.ext4", "-q", "-i", "6144", "-E", later, loop], check=True)
        subprocess.run(["mount", "-o", "noatime", loop, place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)
        image.unlink()
