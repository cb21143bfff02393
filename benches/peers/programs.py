"""The programs that are compared: how each does each step. A step that one has not is left out."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


class Program:
    """One program with a repository of its own in a scratch directory."""

    name = ""
    command = ""

    def __init__(self, place, tree):
        self.place, self.tree = place, tree
        self.vault = place / "vault"
        (place / "home").mkdir(parents=True)
        self.env = {**os.environ, "HOME": str(place / "home"), **self.environment()}

    @classmethod
    def find(cls):
        return shutil.which(cls.command or cls.name)

    @classmethod
    def version(cls):
        found = subprocess.run([cls.find(), "--version"], capture_output=True, text=True, check=False)
        lines = (found.stdout or found.stderr).splitlines()
        return lines[0].strip() if lines else "?"

    def environment(self):
        return {}

    def restored(self, target):
        """Returns where a restored tree lies in its target."""
        return target

    def cwd(self, step):
        """Returns the directory that a step is run in; none is the current one."""
        return None


class Devvault(Program):
    name = "devvault"

    @classmethod
    def find(cls):
        program = ROOT / "target/release/devvault"
        return program if program.exists() else None

    def environment(self):
        return {"DEVVAULT_CONFIG_DIR": str(self.place / "config"), "DEVVAULT_STATE_DIR": str(self.place / "state")}

    def steps(self, file):
        vault = [self.find(), "--vault", self.vault]
        return {
            "init": lambda _: [self.find(), "init", self.vault],
            "first backup": lambda _: [*vault, "backup", self.tree],
            "no-op backup": lambda _: [*vault, "backup", self.tree],
            "edit backup": lambda _: [*vault, "backup", self.tree],
            "quick verify": lambda _: [*vault, "verify", "--quick"],
            "full verify": lambda _: [*vault, "verify"],
            "restore": lambda target: [*vault, "restore", "3", target],
            "one file": lambda target: [*vault, "restore", f"1:{file}", target],
            "snapshots": lambda _: [*vault, "snapshots"],
            "status": lambda _: [*vault, "status"],
        }


class Restic(Program):
    name = "restic"

    @classmethod
    def version(cls):
        return subprocess.run([cls.find(), "version"], capture_output=True, text=True, check=True).stdout.strip()

    def environment(self):
        return {"RESTIC_PASSWORD": "bench"}

    def restored(self, target):
        return target / self.tree.relative_to("/")

    def steps(self, file):
        vault = [self.find(), "-q", "-r", self.vault]
        return {
            "init": lambda _: [*vault, "init"],
            "first backup": lambda _: [*vault, "backup", self.tree],
            "no-op backup": lambda _: [*vault, "backup", self.tree],
            "edit backup": lambda _: [*vault, "backup", self.tree],
            "quick verify": lambda _: [*vault, "check"],
            "full verify": lambda _: [*vault, "check", "--read-data"],
            "restore": lambda target: [*vault, "restore", "latest", "--target", target],
            "one file": lambda target: [*vault, "restore", "latest", "--target", target, "--include", self.tree / file],
            "snapshots": lambda _: [*vault, "snapshots"],
        }


class Rustic(Program):
    name = "rustic"

    def environment(self):
        return {"RUSTIC_PASSWORD": "bench", "RUSTIC_LOG_LEVEL": "error", "RUSTIC_NO_PROGRESS": "true"}

    def steps(self, file):
        vault = [self.find(), "-r", self.vault]
        return {
            "init": lambda _: [*vault, "init"],
            "first backup": lambda _: [*vault, "backup", self.tree],
            "no-op backup": lambda _: [*vault, "backup", self.tree],
            "edit backup": lambda _: [*vault, "backup", self.tree],
            "quick verify": lambda _: [*vault, "check"],
            "full verify": lambda _: [*vault, "check", "--read-data"],
            "restore": lambda target: [*vault, "restore", f"latest:{self.tree}", target],
            "snapshots": lambda _: [*vault, "snapshots"],
        }


class Borg(Program):
    name = "borg"

    def environment(self):
        return {"BORG_PASSPHRASE": "bench", "BORG_BASE_DIR": str(self.place / "borg")}

    def restored(self, target):
        return target / self.tree.relative_to("/")

    def cwd(self, step):
        return step in ("restore", "one file")

    def steps(self, file):
        borg, relative = self.find(), str(self.tree).lstrip("/")
        return {
            "init": lambda _: [borg, "init", "-e", "authenticated", self.vault],
            "first backup": lambda _: [borg, "create", f"{self.vault}::1", self.tree],
            "no-op backup": lambda _: [borg, "create", f"{self.vault}::2", self.tree],
            "edit backup": lambda _: [borg, "create", f"{self.vault}::3", self.tree],
            "quick verify": lambda _: [borg, "check", self.vault],
            "full verify": lambda _: [borg, "check", "--verify-data", self.vault],
            "restore": lambda _: [borg, "extract", f"{self.vault}::3"],
            "one file": lambda _: [borg, "extract", f"{self.vault}::1", f"{relative}/{file}"],
            "snapshots": lambda _: [borg, "list", self.vault],
        }


class Conserve(Program):
    name = "conserve"

    def steps(self, file):
        conserve = self.find()
        return {
            "init": lambda _: [conserve, "init", self.vault],
            "first backup": lambda _: [conserve, "backup", "--no-progress", self.vault, self.tree],
            "no-op backup": lambda _: [conserve, "backup", "--no-progress", self.vault, self.tree],
            "edit backup": lambda _: [conserve, "backup", "--no-progress", self.vault, self.tree],
            "quick verify": lambda _: [conserve, "validate", "--quick", "--no-progress", self.vault],
            "full verify": lambda _: [conserve, "validate", "--no-progress", self.vault],
            "restore": lambda target: [conserve, "restore", "--no-progress", self.vault, target],
            # No "one file": `restore --only` makes no directories above it, and fails.
            "snapshots": lambda _: [conserve, "versions", self.vault],
        }


class Bupstash(Program):
    name = "bupstash"

    def environment(self):
        return {"BUPSTASH_REPOSITORY": str(self.vault), "BUPSTASH_KEY": str(self.place / "key")}

    def steps(self, file):
        put = [self.find(), "put", "--quiet", "name=tree", self.tree]
        latest = "$({0} list --format=jsonl1 name=tree | tail -1 | sed 's/.*\"id\":\"\\([^\"]*\\)\".*/\\1/')"
        get = f"{self.find()} get --quiet id={latest.format(self.find())}"
        return {
            "init": lambda _: f"{self.find()} init && {self.find()} new-key -o {self.place / 'key'}",
            "first backup": lambda _: put,
            "no-op backup": lambda _: put,
            "edit backup": lambda _: put,
            "full verify": lambda _: f"{get} >/dev/null",
            "restore": lambda target: f"mkdir {shlex.quote(str(target))} && {get} | tar -x -C {shlex.quote(str(target))}",
            "snapshots": lambda _: [self.find(), "list"],
        }


class Kopia(Program):
    """Written from its documentation; it has not been at hand to run."""

    name = "kopia"

    def environment(self):
        return {"KOPIA_PASSWORD": "bench", "KOPIA_CONFIG_PATH": str(self.place / "kopia.config"), "KOPIA_CHECK_FOR_UPDATES": "false"}

    def steps(self, file):
        kopia = self.find()
        create = [kopia, "snapshot", "create", "--no-progress", self.tree]
        latest = f"$({kopia} snapshot list --json {shlex.quote(str(self.tree))} | python3 -c 'import json, sys; print(json.load(sys.stdin)[-1][\"id\"])')"
        return {
            "init": lambda _: [kopia, "repository", "create", "filesystem", "--path", self.vault],
            "first backup": lambda _: create,
            "no-op backup": lambda _: create,
            "edit backup": lambda _: create,
            "quick verify": lambda _: [kopia, "snapshot", "verify"],
            "full verify": lambda _: [kopia, "snapshot", "verify", "--verify-files-percent=100"],
            "restore": lambda target: f"{kopia} snapshot restore {latest} {shlex.quote(str(target))}",
            "snapshots": lambda _: [kopia, "snapshot", "list"],
        }


class Rsync(Program):
    name = "rsync"

    def steps(self, file):
        copy = ["rsync", "-aHAX", "--delete", f"{self.tree}/", f"{self.vault}/"]
        return {
            "first backup": lambda _: copy,
            "no-op backup": lambda _: copy,
            "edit backup": lambda _: copy,
            "full verify": lambda _: ["rsync", "-anc", f"{self.tree}/", f"{self.vault}/"],
            "restore": lambda target: ["rsync", "-aHAX", f"{self.vault}/", f"{target}/"],
        }


class Tar(Program):
    name = "tar | zstd"
    command = "zstd"

    def steps(self, file):
        archive, tree = shlex.quote(f"{self.vault}/a.tar.zst"), shlex.quote(str(self.tree))
        pack = f"tar -C {tree} -cf - . | zstd -q -f -3 -T2 -o {archive}"
        return {
            "init": lambda _: ["mkdir", "-p", self.vault],
            "first backup": lambda _: pack,
            "edit backup": lambda _: pack,
            "full verify": lambda _: f"zstd -q -t {archive}",
            "restore": lambda target: f"mkdir {shlex.quote(str(target))} && zstd -q -d -c {archive} | tar -x -C {shlex.quote(str(target))}",
        }


class Anchors(Program):
    """What the system's own tools take for the bare work."""

    name = "anchor"
    command = "cp"

    @classmethod
    def version(cls):
        return "cp -a; find -printf; b3sum --check; each of the plain tree"

    def steps(self, file):
        tree, sums = shlex.quote(str(self.tree)), shlex.quote(str(self.place / "sums"))
        steps = {
            "no-op backup": lambda _: ["find", self.tree, "-printf", "%p %s %T@ %C@ %i\\n"],
            "edit backup": lambda _: ["find", self.tree, "-printf", "%p %s %T@ %C@ %i\\n"],
            "restore": lambda target: ["cp", "-a", self.tree, target],
        }
        if shutil.which("b3sum"):
            steps["prepare"] = lambda _: f"find {tree} -type f -print0 | xargs -0 b3sum > {sums}"
            steps["full verify"] = lambda _: ["b3sum", "--check", "--quiet", self.place / "sums"]
        return steps


class Hashdeep(Program):
    name = "hashdeep"

    @classmethod
    def version(cls):
        return subprocess.run(["hashdeep", "-V"], capture_output=True, text=True, check=True).stdout.splitlines()[0]

    def steps(self, file):
        tree, sums = shlex.quote(str(self.tree)), shlex.quote(str(self.place / "sums"))
        return {
            "prepare": lambda _: f"hashdeep -r -l {tree} > {sums}",
            "full verify": lambda _: f"hashdeep -r -l -a -k {sums} {tree}",
        }


ALL = [Devvault, Restic, Rustic, Borg, Conserve, Bupstash, Kopia, Rsync, Tar, Anchors, Hashdeep]
