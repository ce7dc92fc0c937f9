#!/usr/bin/env python3
"""Presses a server that shows cards out of its memory, with swap at hand, and looks at what got there
(`make swap`; promise P3). Needs root, for the swap file and a limit on memory; says so where it cannot.

Counts as a failure: a page of a server that may lock its memory in swap; anything of a card there; a server
that may not lock it and does not say so. So that these can fail: a server without the right must have
pages in swap, and what another process leaves there must be found."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("CARDS", "50")
from canary import NUMBERS, findings  # noqa: E402
from rotation import Deployment, Load  # noqa: E402

MIB = 1 << 20
SWAP, LIMIT, HOG = 256 * MIB, 96 * MIB, 192 * MIB
# Fills memory with what does not compress, says so, and holds it until its input ends.
HOGGING = f"""
import os, sys
held = bytearray()
while len(held) < {HOG}:
    held += os.urandom({MIB} - 32) + sys.argv[1].encode().ljust(32)
print(flush=True)
sys.stdin.read()
"""


class Skip(Exception):
    pass


class Limit:
    """A control group with little memory, of either version."""

    def __init__(self):
        for top, most in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            group = Path(top) / f"cardveil-swap-{os.getpid()}"
            try:
                group.mkdir()
                (group / most).write_text(str(LIMIT))
            except OSError:
                if group.is_dir():
                    group.rmdir()
                continue
            self.group = group
            return
        raise Skip("no limit on memory can be set here")

    def take(self, pid):
        (self.group / "cgroup.procs").write_text(str(pid))

    def end(self):
        self.group.rmdir()


def sized(status, name):
    line = next(line for line in status.splitlines() if line.startswith(name + ":"))
    return int(line.split()[1])


def press(deployment, limit, under, planted):
    """Of a server that showed cards under pressure: its pages in swap, in KiB, and all that is in swap."""
    deployment.start(*under)
    hog = None
    try:
        load = Load(deployment)
        limit.take(deployment.server.pid)
        hog = subprocess.Popen([sys.executable, "-c", HOGGING, planted], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        limit.take(hog.pid)
        assert hog.stdout.readline() == b"\n", "the memory was not taken"
        status = Path(f"/proc/{deployment.server.pid}/status").read_text()
        load.end()
        return sized(status, "VmSwap"), sized(status, "VmLck")
    finally:
        deployment.server.kill()
        deployment.server.wait()
        if hog is not None:
            hog.communicate()


def in_swap(file):
    """What is found in the swap file; what was written there and is free now is found too."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("1")
    found = set()
    with file.open("rb") as swap:
        # A piece at a time, each with the end of the one before.
        while piece := swap.read(16 * MIB):
            found |= set(findings(piece))
            if swap.tell() < SWAP:
                swap.seek(-64, os.SEEK_CUR)
    return found


def main():
    if os.geteuid() != 0:
        raise Skip("it takes root")
    with tempfile.TemporaryDirectory(prefix="cardveil-swap-") as folder:
        file = Path(folder) / "swap"
        limit = Limit()
        try:
            # Written, not only allotted: what the kernel swaps to blocks that nobody wrote reads as zeros.
            file.touch(mode=0o600)
            file.write_bytes(bytes(SWAP))
            for command in (["mkswap", file], ["swapon", file]):
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode != 0:
                    raise Skip(f"no swap file can be had here: {done.stderr.strip()}")
            look(Deployment(folder), limit, file)
        finally:
            subprocess.run(["swapoff", file], capture_output=True)
            limit.end()


def look(deployment, limit, file):
    deployment.env["CARDVEIL_LOG"] = "warn"
    swapped, locked = press(deployment, limit, [], "nothing")
    print(f"  with the right to lock: {swapped} KiB in swap, {locked} KiB locked")
    assert swapped == 0 and locked > 0
    found = in_swap(file)
    assert not found, f"in swap: {found}"
    # Without the right it serves too, and says what that means.
    log = deployment.home / "server.log"
    said = "memory is not locked, so keys and card data could be written to swap"
    assert said not in log.read_text()
    unlocked = ["prlimit", "--memlock=65536", "setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]
    swapped, locked = press(deployment, limit, unlocked, f" {NUMBERS[0].decode()} ")
    print(f"  without: {swapped} KiB in swap, {locked} KiB locked")
    assert swapped > 0 and locked == 0, "the pressure was too little to prove anything"
    assert said in log.read_text()
    assert "a card number" in in_swap(file), "what was planted in swap was not found there"


if __name__ == "__main__":
    try:
        main()
        print("swap: nothing of the server was there")
    except Skip as why:
        print(f"swap: skipped: {why}")
