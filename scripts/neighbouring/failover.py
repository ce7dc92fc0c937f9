"""Patroni with etcd by the lines of docs/operate/postgresql.md: a switchover, and a leader that is killed, under load."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
import uuid
from types import SimpleNamespace

import rotation
from .beside import CLOSED, Certificates, Issuer, Process, block, dropped, hand_over, listens, version, with_ours
from .poolers import PASSWORD, password, store

# Addresses of the docs, and ours: three machines, all on the loopback.
MACHINES = {"a": ("10.0.0.5", "127.0.0.11"), "b": ("10.0.0.6", "127.0.0.12"), "c": ("10.0.0.7", "127.0.0.13")}
BIN = sorted(rotation.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
# RFC 7517 A.1.
OTHER_KEY = {
    **rotation.KEY,
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
}


class Etcd(Process):
    def __init__(self, folder):
        self.port, peer = rotation.free_ports(2)
        ours, theirs = (f"http://127.0.0.1:{port}" for port in (self.port, peer))
        command = ["etcd", "--data-dir", folder / "etcd", "--listen-client-urls", ours, "--advertise-client-urls", ours]
        command += ["--listen-peer-urls", theirs, "--initial-advertise-peer-urls", theirs]
        command += ["--initial-cluster", f"default={theirs}"]
        super().__init__(command, folder / "etcd.log", ("127.0.0.1", self.port))


class Node(Process):
    """One machine: Patroni, and the PostgreSQL that it starts."""

    def __init__(self, folder, name, etcd, ports, certificates):
        self.name, self.address, (self.rest, self.port) = name, MACHINES[name][1], ports
        self.home = folder / f"patroni-{name}"
        self.home.mkdir()
        for path in (certificates.certificate, certificates.key):
            (self.home / path.name).write_bytes(path.read_bytes())
        (self.home / "server.key").chmod(0o600)
        lines = with_ours(
            block("operate/postgresql.md", "etcd3:"), ("name: a\n", f"name: {name}\n"),
            ("10.0.0.5:2379,10.0.0.6:2379,10.0.0.7:2379", f"127.0.0.1:{etcd}"),
            ("10.0.0.5:8008", f"{self.address}:{self.rest}"), ("10.0.0.5:5432", f"{self.address}:{self.port}"),
            ("/var/lib/postgresql/15/cardveil", self.home / "data"), ("/usr/lib/postgresql/15/bin", BIN),
            ("/var/lib/postgresql/", f"{self.home}/"), ("/etc/patroni/", f"{self.home}/"),
            ('"..."', f'"{PASSWORD}"'), ("10.0.0.0/8", "127.0.0.0/8"),
            ("  parameters:\n    ssl", f"  parameters:\n    unix_socket_directories: {self.home}\n    ssl"),
        )
        self.settings = self.home / "config.yml"
        self.settings.write_text(lines)
        hand_over(self.home, *self.home.iterdir())
        # libpq looks for certificates there.
        env = {**os.environ, "HOME": str(self.home)}
        super().__init__([*dropped(), "patroni", self.settings], folder / f"patroni-{name}.log", (self.address, self.rest), env)

    def said(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.address}:{self.rest}/{path}", timeout=2) as answer:
                return json.load(answer)
        except OSError:
            return {}

    def killed(self):
        """As if its machine had lost its power."""
        file = self.home / "data/postmaster.pid"
        postmaster = int(file.read_text().split()[0])
        os.kill(postmaster, signal.SIGSTOP)
        self.end(signal.SIGKILL)
        os.kill(postmaster, signal.SIGKILL)
        # Or its number would be taken for that of another process, at the end.
        file.unlink()

    def __exit__(self, *_):
        """Patroni would wait for standbys that are gone, so both end at once."""
        self.end(signal.SIGKILL)
        file = self.home / "data/postmaster.pid"
        if file.exists():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text().split()[0]), signal.SIGQUIT)
            until(lambda: not listens((self.address, self.port)), 15)


class Load:
    """A light load: what was acknowledged, and when."""

    def __init__(self, d):
        self.d, self.over, self.lock = d, threading.Event(), threading.Lock()
        self.redeemed, self.unsure, self.times, self.failed = {}, [], [], 0
        self.threads = [threading.Thread(target=self.work) for _ in range(3)]
        for thread in self.threads:
            thread.start()

    def work(self):
        while not self.over.wait(0.05):
            token, status, attempt = None, None, str(uuid.uuid4())
            try:
                issued, token = self.d.issue(self.d.merchant_api())
                status = self.d.redeem(self.d.client_api(), token, attempt=attempt)[0] if issued == 201 else None
            except (*CLOSED, TimeoutError):
                pass
            with self.lock:
                if status == 200:
                    self.redeemed[attempt] = token
                    self.times.append(time.monotonic())
                else:
                    self.failed += 1
                    self.unsure += [token] if token else []

    def gap(self, since):
        """The longest time without a redemption since then."""
        with self.lock:
            times = [since, *(at for at in self.times if at > since)]
        return max((later - at for at, later in zip(times, times[1:])), default=float("inf"))

    def goes_on(self, since, seconds=120):
        """Waits until cards have been shown again for some seconds after `since`."""
        until = time.monotonic() + seconds
        while True:
            with self.lock:
                after = [at for at in self.times if at > since + 1]
            if after and after[-1] - after[0] > 5 and len(after) > 50:
                return
            assert time.monotonic() < until, f"no card is shown any more; {self.failed} failed"
            time.sleep(0.2)

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


def patroni(folder):
    names = [f"IP:{address}" for _, address in MACHINES.values()]
    certificates = Certificates(folder, names)
    (port,) = rotation.free_ports(1)
    with contextlib.ExitStack() as stack:
        etcd = stack.enter_context(Etcd(folder))
        nodes = {}
        for name in MACHINES:
            (rest,) = rotation.free_ports(1)
            nodes[name] = stack.enter_context(Node(folder, name, etcd.port, (rest, port), certificates))
            # The first one makes the cluster.
            until(lambda: nodes["a"].said("cluster") and any(m["role"] == "leader" for m in members(nodes)), 90)
        until(lambda: settled(nodes, 3), 120)
        d = issuer(folder, nodes, port, certificates)
        try:
            told = failovers(d, nodes)
        finally:
            d.kill()
    etcd_is = version("etcd", "--version")
    return f"{version('patroni', '--version')}, etcd {etcd_is}", told


def until(what, seconds):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.3)


def members(nodes):
    for node in nodes.values():
        said = node.said("cluster").get("members")
        if said:
            return said
    return []


def leader(nodes):
    return next((member["name"] for member in members(nodes) if member["role"] == "leader"), None)


def settled(nodes, count):
    """All are there, and one of the standbys is the synchronous one."""
    states = {member["role"]: member["state"] for member in members(nodes)}
    running = [member for member in members(nodes) if member["state"] in ("running", "streaming")]
    return len(running) == count and "sync_standby" in states and "leader" in states


def issuer(folder, nodes, port, certificates):
    node = nodes[leader(nodes)]
    for sql in (
        f"CREATE ROLE owner LOGIN PASSWORD '{PASSWORD}'", f"CREATE ROLE cardveil LOGIN PASSWORD '{PASSWORD}'",
        "CREATE DATABASE cardveil OWNER owner TEMPLATE template0 ENCODING 'UTF8'",
    ):
        command = [BIN / "psql", "-X", "-q", "-h", node.address, "-p", str(port), "-U", "postgres", "-c", sql]
        subprocess.run(command, check=True, env={**os.environ, "PGPASSWORD": PASSWORD}, stdin=subprocess.DEVNULL)
    line = block("operate/postgresql.md", "connect_timeout").strip()
    pairs = [*MACHINES.values(), ("port=5432", f"port={port}")]
    connection = with_ours(line, *pairs).removeprefix('postgres = "').removesuffix('"')
    several = SimpleNamespace(connection=store(folder, connection, certificates))
    d = Issuer(folder, several, password(folder))
    d.start()
    return d


def failovers(d, nodes):
    load = Load(d)
    try:
        load.goes_on(time.monotonic())
        first = leader(nodes)
        second = next(m["name"] for m in members(nodes) if m["role"] == "sync_standby")
        wanted = time.monotonic()
        command = ["patronictl", "-c", nodes[first].settings, "switchover", "--master", first, "--candidate", second, "--force"]
        subprocess.run(command, check=True, capture_output=True)
        load.goes_on(wanted)
        switchover = load.gap(wanted)
        until(lambda: leader(nodes) == second and settled(nodes, 3), 120)
        load.goes_on(time.monotonic())
        killed = time.monotonic()
        nodes[second].killed()
        load.goes_on(killed)
        failover = load.gap(killed)
        third = leader({name: node for name, node in nodes.items() if name != second})
        assert third not in (None, second), third
    finally:
        load.end()
    return told(d, load, switchover, failover)


def told(d, load, switchover, failover):
    again = lambda tokens: sum(d.redeem(d.client_api(), token, OTHER_KEY)[0] == 200 for token in tokens)
    assert again(load.redeemed.values()) == 0, "an acknowledged redemption went to a second key"
    # Whose answer was lost may have been redeemed or not: the log must not have it twice.
    again(load.unsure)
    entries = [json.loads(line) for line in d.run("audit", "export").stdout.splitlines()]
    released = [entry for entry in entries if entry["kind"] == "reveal.released"]
    lost = set(load.redeemed) - {entry["detail"]["attempt"] for entry in released}
    assert not lost, f"{len(lost)} of {len(load.redeemed)} that were acknowledged are not on record"
    of = [entry["target"]["token"] for entry in released]
    assert len(of) == len(set(of)), "a token was released twice"
    raised = sum(entry["kind"] == "epoch.raised" for entry in entries)
    assert raised == 2, f"the epoch was raised {raised} times"
    d.run("audit", "verify")
    return (
        f"three nodes, {len(load.redeemed)} cards shown under a light load, {load.failed} calls failed meanwhile: switchover "
        f"{switchover:.1f} s without one, leader killed {failover:.1f} s; all on record, none to a second key"
    )
