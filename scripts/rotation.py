#!/usr/bin/env python3
"""Rotates everything under load: class keys, records' keys, the index, the MACs and the root, over many cards
(`make rotation`).

Counts as a failure: a reveal that fails at any moment; a move that does not go on after a kill where it was;
a record that is left behind; a root key of before that still opens something. CARDS=100000 says how many, and
STORE=postgres where."""

import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARY = os.environ.pop("CARDVEIL_BIN", str(ROOT / "target/release/cardveil"))
CARDS = int(os.environ.get("CARDS", "100000"))
STORE = os.environ.get("STORE", "sqlite")
# Slow enough that a move can be killed twice on its way.
SECONDS = 12
# RFC 7515 A.3: a public key is all that a redemption needs.
KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}


class Cluster:
    """A PostgreSQL of its own, on a unix socket. Its programs do not run as root."""

    def __init__(self, folder):
        self.folder, self.bin = Path(folder) / "postgres", sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self.folder.mkdir()
        self.drop = []
        if os.getuid() == 0:
            os.chmod(folder, 0o711)
            subprocess.run(["chown", "nobody", self.folder], check=True)
            self.drop = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        self.data = self.folder / "data"
        self.run("initdb", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--no-locale", "-D", self.data)
        options = f"-c listen_addresses= -k {self.folder}"
        self.run("pg_ctl", "-w", "-D", self.data, "-l", self.folder / "log", "-o", options, "start")
        for sql in ("CREATE ROLE owner LOGIN", "CREATE ROLE cardveil LOGIN", "CREATE DATABASE cardveil OWNER owner"):
            self.run("psql", "-X", "-q", "-h", self.folder, "-U", "postgres", "-c", sql)
        self.connection = f"host={self.folder} user=cardveil dbname=cardveil"

    def run(self, program, *args):
        command = [*self.drop, self.bin / program, *args]
        subprocess.run(command, check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def ask(self, sql):
        """What its superuser finds, as text."""
        command = [*self.drop, self.bin / "psql", "-X", "-At", "-h", self.folder, "-U", "postgres", "-d", "cardveil", "-c", sql]
        return subprocess.run(command, check=True, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout

    def stop(self):
        self.run("pg_ctl", "-w", "-m", "fast", "-D", self.data, "stop")


class Deployment:
    def __init__(self, folder, cluster=None):
        self.home = Path(folder) / "home"
        self.config = self.home / "cardveil.toml"
        self.env = dict(
            os.environ,
            CARDVEIL_CONFIG=str(self.config),
            CARDVEIL_LOG="error",
            CARDVEIL_BUDGETS_CARD_MOST="0",
            CARDVEIL_BUDGETS_PERSON_MOST="0",
            CARDVEIL_LIMITS_CREDENTIAL_PER_SECOND="0",
            CARDVEIL_LIMITS_CLIENT_PER_MINUTE="0",
        )
        self.run("init", "--dir", str(self.home))
        self.merchant_at, self.client_at, self.admin_at = free_ports(3)
        for usual, port in ((7410, self.merchant_at), (7420, self.client_at), (7430, self.admin_at)):
            self.configure(f"127.0.0.1:{usual}", f"127.0.0.1:{port}")
        if cluster:
            self.configure('database = "data/cardveil.db"\nfence = "fence/cardveil.fence"', f'postgres = "{cluster.connection}"')
            self.run("migrate", "--owner", "owner")
        self.cluster = cluster
        self.merchant = self.json("merchant", "add", "--name", "Shop", "--json")["id"]
        of = ("--merchant", self.merchant, "--json")
        self.api_key = self.json("credential", "add", "--allow-ip", "127.0.0.1/32", *of)["api_key"]
        self.embed = self.json("embed", "add", "--origin", "https://shop.example", *of)["id"]
        self.run("card", "import", "-", "--form", "jsonl", *of, given="\n".join(map(line, range(CARDS))))
        self.server = None

    def configure(self, stands, instead):
        text = self.config.read_text()
        assert stands in text, stands
        self.config.write_text(text.replace(stands, instead))

    def run(self, *args, given=None, fails=False):
        done = subprocess.run([BINARY, *args], env=self.env, input=given, capture_output=True, text=True)
        assert fails in (None, done.returncode != 0), f"{args}: {done.returncode} {done.stderr}"
        return done

    def json(self, *args):
        return json.loads(self.run(*args).stdout)

    def start(self, *under):
        log = (self.home / "server.log").open("a")
        self.server = subprocess.Popen([*under, BINARY, "serve"], env=self.env, stdout=log, stderr=log)
        while True:
            assert self.server.poll() is None, "the server ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.admin_at}/readyz", timeout=5).close()
                return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)

    def stop(self):
        self.server.send_signal(signal.SIGTERM)
        assert self.server.wait() == 0

    def under(self, of, state):
        """How many records are under the keys of a class in a state."""
        keys = self.json("key", "list", "--json")
        return sum(key["records"] for key in keys if key["class"] == of and key["state"] == state)

    def macs_under(self, version):
        """How many cards have a MAC under that version of the key for rows."""
        if self.cluster:
            sql = f"SELECT count(*) FROM cardveil.card WHERE substr(mac, 1, 4) = '\\x{version:08x}'"
            return int(self.cluster.ask(sql))
        with contextlib.closing(sqlite3.connect(f"file:{self.home}/data/cardveil.db?mode=ro", uri=True)) as file:
            sql = "SELECT count(*) FROM card WHERE substr(mac, 1, 4) = ?"
            return file.execute(sql, [version.to_bytes(4, "big")]).fetchone()[0]

    def move(self, left, *more):
        """Moves all that `left` counts, killed twice on the way."""
        command = [BINARY, "key", "rewrap", "--per-second", str(max(CARDS // SECONDS, 1)), *more]
        still = left()
        assert still == CARDS, f"{still} of {CARDS} are to be moved"
        for _ in range(2):
            moving = subprocess.Popen(command, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            # It may first wait until every server has noticed the key.
            while left() == still and moving.poll() is None:
                time.sleep(0.1)
            time.sleep(SECONDS / 4)
            moving.kill()
            moving.wait()
            before, still = still, left()
            print(f"  killed: {still} of {CARDS} are still to be moved")
            assert 0 < still < before, "it was killed too early or too late to mean anything"
        assert subprocess.run(command, env=self.env, capture_output=True).returncode == 0
        assert left() == 0


class Load:
    """Cardholders who look at their cards, one after the other."""

    def __init__(self, deployment, readers=2):
        self.deployment, self.shown, self.failed, self.over = deployment, 0, [], False
        self.threads = [threading.Thread(target=self.look) for _ in range(readers)]
        for thread in self.threads:
            thread.start()

    def look(self):
        d = self.deployment
        while not self.over:
            bearer = {"authorization": f"Bearer {d.api_key}"}
            asked = {"card_no": f"C{random.randrange(CARDS)}"}
            status, token = post(f"http://127.0.0.1:{d.merchant_at}/v1/client-tokens", asked, bearer)
            if status == 201:
                frame = {"origin": f"http://127.0.0.1:{d.client_at}"}
                wish = {"embed": d.embed, "key": KEY, "fields": ["pan"], "attempt": "00000000-0000-4000-8000-000000000001"}
                status, _ = post(f"http://127.0.0.1:{d.client_at}/client/v1/redeem", {"token": token["token"], **wish}, frame)
            if status == 200:
                self.shown += 1
            else:
                self.failed.append(status)

    def end(self):
        self.over = True
        for thread in self.threads:
            thread.join()
        print(f"  {self.shown} cards shown meanwhile, {len(self.failed)} failed")
        assert self.shown > 0 and not self.failed, self.failed[:5]


def line(n):
    return json.dumps({
        "card_no": f"C{n}", "account_id": "F50091", "person_id": "775596ae-2624-40af-a9dc-9756110a4a04",
        "pan": "4111111111111111", "expiry": "12/2030", "name": "A CARDHOLDER",
    })


def post(url, body, headers=None):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, None


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def main():
    with tempfile.TemporaryDirectory(prefix="cardveil-rotation-") as folder:
        cluster = Cluster(folder) if STORE == "postgres" else None
        try:
            d = Deployment(folder, cluster)
            d.start()
            try:
                rotate(d)
            finally:
                d.server.kill()
        finally:
            if cluster:
                cluster.stop()
    print(f"{CARDS} cards in {STORE}: class key, record keys, index, MACs and root rotated, no reveal failed")


def rotate(d):
    load = Load(d)
    print("the class key")
    d.run("key", "rotate", "--class", "pan")
    d.move(lambda: d.under("pan", "retiring"), "--class", "pan")
    # It waits until every server has the new one.
    time.sleep(11)
    d.run("key", "retire", "--class", "pan", "--version", "1")
    print("the records' keys")
    d.run("key", "rotate", "--class", "pan")
    d.move(lambda: d.under("pan", "retiring"), "--class", "pan", "--deks")
    assert d.under("pan", "active") == CARDS
    print("the index of the numbers")
    d.run("key", "rotate", "--class", "index")
    d.move(lambda: d.under("index", "retiring"), "--class", "index")
    d.run("key", "retire", "--class", "index", "--version", "1")
    print("the MACs of the rows")
    d.run("key", "rotate", "--class", "row")
    d.move(lambda: d.macs_under(1), "--class", "row")
    assert d.macs_under(2) == CARDS
    # Tokens and sessions, which are not moved, may live for an hour.
    print("  not yet:", d.run("key", "retire", "--class", "row", "--version", "1", fails=True).stderr.splitlines()[0])
    load.end()
    print("the root")
    d.configure('root = "keys/root.key"', 'root = "keys/root.key"\nnext_root = "new-keys/root.key"')
    d.run("key", "create-root")
    d.stop()
    d.start()
    load = Load(d)
    d.run("key", "rotate", "--root")
    time.sleep(5)
    load.end()
    d.stop()
    d.configure('next_root = "new-keys/root.key"\n', "")
    print("  of the old root alone:", d.run("key", "list", fails=True).stderr.splitlines()[0])
    d.configure('root = "keys/root.key"', 'root = "new-keys/root.key"')
    d.start()
    load = Load(d)
    time.sleep(2)
    load.end()


if __name__ == "__main__":
    sys.exit(main())
