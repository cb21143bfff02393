"""A new file system for each turn.

ext4 takes no inode again that was freed within five minutes, and looks past each such inode whenever it wants one, so that
whatever restores first after a large removal pays for it, and whatever restores last does not.
"""

import contextlib
import subprocess


@contextlib.contextmanager
def place(scratch, name, gigabytes):
    """Makes an empty directory for as long as the context lasts: on a new file system of so many GB, if it is told."""
    with disk(scratch, gigabytes) if gigabytes else contextlib.nullcontext(scratch) as medium:
        made = medium / name
        made.mkdir()
        yield made
        if not gigabytes:
            subprocess.run(["rm", "-rf", made], check=True)


@contextlib.contextmanager
def disk(scratch, gigabytes):
    """Mounts an empty ext4 of so many GB, on a sparse file and a loop device, for as long as the context lasts. Root only."""
    image, mounted = scratch / "disk", scratch / "mounted"
    mounted.mkdir(exist_ok=True)
    with open(image, "wb") as file:
        file.truncate(gigabytes * 1_000_000_000)
    told = subprocess.run(["losetup", "--find", "--show", "--direct-io=on", image], capture_output=True, text=True, check=True)
    loop = told.stdout.strip()
    try:
        # All of it now: what the kernel would do later would be measured. An inode for every 6 KiB: trees have many small files.
        later = "lazy_itable_init=0,lazy_journal_init=0"
        subprocess.run(["mkfs.ext4", "-q", "-i", "6144", "-E", later, loop], check=True)
        subprocess.run(["mount", "-o", "noatime", loop, mounted], check=True)
        try:
            yield mounted
        finally:
            subprocess.run(["umount", mounted], check=True)
    finally:
        subprocess.run(["losetup", "--detach", loop], check=True)
        image.unlink()
