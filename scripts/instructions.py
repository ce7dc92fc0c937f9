#!/usr/bin/env python3
"""Counts the instructions of an issue and of a redemption, and compares them with those on record (`make instructions`).

A demo runs under callgrind on one core. Requests go in fixed batches: all connections send, then all answers are read,
so that the same work is done in each run. Each case is counted three times, and the median counts. A rise of a twentieth
over `bench/instructions.json` is a failure; RECORD=1 writes the file anew.

callgrind counts what runs outside the kernel, and knows no SHA extensions: hashing looks ten times dearer than it is.
The figures depend on the compiler, the C library and the processor's vector instructions: compare those of one machine."""

import itertools
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rotation import BINARY, KEY, ROOT

RECORD = ROOT / "bench/instructions.json"
# What `callgrind_annotate` reads: where the instructions of each case's last round went.
PROFILES = ROOT / "target/instructions"
ROUNDS = 3
RISE_MAX = 1.05
# Requests that one case counts in a round, by connections: whole batches.
ISSUES = {1: 150, 64: 1024}
REDEMPTIONS = {1: 50, 64: 256}
# glibc copies and clears with one instruction for many bytes where that is faster, and callgrind counts each byte.
TUNABLES = "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000"


class Counted:
    """A demo under callgrind."""

    def __init__(self, folder):
        self.folder = Path(folder)
        port = free_base()
        command = ["valgrind", "-q", "--tool=callgrind", "--fair-sched=yes", "--compress-strings=no"]
        command += [f"--callgrind-out-file={folder}/counted"]
        command += [BINARY, "demo", "--json", "--dir", f"{folder}/demo", "--port-base", str(port)]
        self.log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(
            command,
            env=dict(os.environ, GLIBC_TUNABLES=TUNABLES),
            stdout=subprocess.PIPE,
            stderr=self.log,
            preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
        )
        ready = self.process.stdout.readline()
        if not ready:
            sys.exit(f"the demo did not start: {(self.folder / 'log').read_text()}")
        self.demo = json.loads(ready)
        self.merchant_at, self.client_at = port + 10, port + 20
        self.cards = [card for card in self.demo["cards"] if card["state"] == "active"]

    def counting(self, name, work):
        """The instructions that the work took; where it took them stays in a file of that name."""
        self.command("zero")
        work()
        before = set(self.folder.glob("counted.*"))
        self.command("dump")
        (dump,) = set(self.folder.glob("counted.*")) - before
        profile = dump.read_text()
        dump.unlink()
        # Calls that began before counting did: `callgrind_annotate` takes what they cost for the caller's own.
        (PROFILES / name).write_text(re.sub(r"^calls=0 .*\n.*\n", "", profile, flags=re.MULTILINE))
        return int(re.search(r"^totals: (\d+)$", profile, flags=re.MULTILINE)[1])

    def command(self, word):
        subprocess.run(["vgdb", f"--pid={self.process.pid}", word], check=True, capture_output=True, timeout=60)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.log.close()


class Connections:
    """So many connections that stay open."""

    def __init__(self, port, count):
        self.sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]

    def ask(self, requests):
        """Sends them in batches of one a connection, and gives the bodies of the answers."""
        requests, bodies = iter(requests), []
        while batch := list(itertools.islice(requests, len(self.sockets))):
            for connection, request in zip(self.sockets, batch):
                connection.sendall(request)
            bodies += [answer(connection) for connection, _ in zip(self.sockets, batch)]
        return bodies

    def close(self):
        for connection in self.sockets:
            connection.close()


def answer(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(connection)
    head, body = data.split(b"\r\n\r\n", 1)
    headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(headers[b"content-length"]):
        body += received(connection)
    if not head.startswith(b"HTTP/1.1 200 "):
        sys.exit(f"a wrong answer: {head.splitlines()[0]} {body}")
    return json.loads(body)


def received(connection):
    piece = connection.recv(65536)
    if not piece:
        sys.exit("the server closed a connection")
    return piece


def get(path, **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nhost: counted\r\n{lines}\r\n".encode()


def now():
    return int(time.time() * 1000)


class Caller:
    """A partner's server and its cardholders."""

    def __init__(self, counted):
        self.counted, self.demo, self.attempts = counted, counted.demo, 0
        login = Connections(counted.merchant_at, 1)
        (told,) = login.ask([get("/open-api/v1/merchant/token", api_key=self.demo["api_key"], timestamp=now())])
        login.close()
        self.access_token = told["data"]["access_token"]

    def issue(self, connections, count):
        """The tokens of so many issues, for each card in turn."""
        cards = itertools.islice(itertools.cycle(self.counted.cards), count)
        asked = dict(api_key=self.demo["api_key"], access_token=self.access_token)
        path = "/open-api/v1/merchant/client/{}/token"
        bodies = connections.ask(get(path.format(card["card_no"]), timestamp=now(), **asked) for card in cards)
        return [body["data"]["client_access_token"] for body in bodies]

    def redemption(self, token):
        self.attempts += 1
        body = json.dumps({
            "token": token,
            "embed": self.demo["embed"],
            "key": KEY,
            "fields": ["pan", "expiry", "name"],
            "attempt": f"00000000-0000-4000-8000-{self.attempts:012x}",
        })
        return (
            "POST /client/v1/redeem HTTP/1.1\r\nhost: counted\r\ncontent-type: application/json\r\n"
            f"origin: {self.demo['client_url']}\r\ncontent-length: {len(body)}\r\n\r\n{body}"
        ).encode()


def measure(counted):
    """Each case: instructions a request, in each round."""
    caller, cases = Caller(counted), {}
    for count in (1, 64):
        merchant, client = Connections(counted.merchant_at, count), Connections(counted.client_at, count)
        # Caches fill, and statements are prepared.
        client.ask([caller.redemption(token) for token in caller.issue(merchant, max(2 * count, 16))])
        for _ in range(ROUNDS):
            took = counted.counting(f"issue-{count}", lambda: caller.issue(merchant, ISSUES[count]))
            cases.setdefault(f"issue-{count}", []).append(took / ISSUES[count])
            requests = [caller.redemption(token) for token in caller.issue(merchant, REDEMPTIONS[count])]
            took = counted.counting(f"redeem-{count}", lambda: client.ask(requests))
            cases.setdefault(f"redeem-{count}", []).append(took / REDEMPTIONS[count])
        merchant.close()
        client.close()
    return cases


def free_base():
    """A port, such that it and those 10, 20 and 30 above are free."""
    for base in range(20_000, 60_000, 50):
        try:
            for port in (base, base + 10, base + 20, base + 30):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    sys.exit("no free ports")


def main():
    PROFILES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PROFILES.parent) as folder:
        counted = Counted(folder)
        try:
            cases = measure(counted)
        finally:
            counted.stop()
    medians = {name: round(statistics.median(rounds)) for name, rounds in cases.items()}
    if os.environ.get("RECORD"):
        RECORD.write_text(json.dumps(medians, indent=2) + "\n")
    recorded, failed = json.loads(RECORD.read_text()), False
    print("| case-connections | instructions each | on record | | each round |\n| --- | --- | --- | --- | --- |")
    for name, median in medians.items():
        ratio, rounds = median / recorded[name], ", ".join(f"{took:,.0f}" for took in cases[name])
        print(f"| {name} | {median:,} | {recorded[name]:,} | {ratio - 1:+.1%} | {rounds} |")
        failed |= ratio > RISE_MAX
    if failed:
        sys.exit("more instructions than on record by a twentieth: find out why, or RECORD=1 and say why in the commit")


if __name__ == "__main__":
    main()
