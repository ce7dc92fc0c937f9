"""What all neighbours need: the docs' own lines, a process that ends with its block, certificates, and an issuer."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
import uuid
from http.client import HTTPConnection, HTTPSConnection, RemoteDisconnected
from pathlib import Path

import rotation

CALLER = "127.0.0.2"
CARDS = 20


class Skipped(Exception):
    """What was not tried, and why."""


def block(page, mark):
    """The one fenced block of a page that has this text, as it stands there."""
    blocks = re.findall(r"(?ms)^```[a-z]*\n(.*?)^```", (rotation.ROOT / "docs" / page).read_text())
    found = [text for text in blocks if mark in text]
    assert len(found) == 1, f"docs/{page} has {len(found)} blocks with {mark!r}"
    return found[0]


def with_ours(text, *pairs):
    """The docs' lines with our ports, paths and certificates. What is to be replaced must stand there."""
    for stands, instead in pairs:
        assert stands in text, f"{stands!r} is not in the docs' lines any more:\n{text}"
        text = text.replace(stands, str(instead))
    return text


def dropped():
    """Daemons that refuse to run as root."""
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []


def hand_over(*paths):
    if os.getuid() == 0:
        for path in paths:
            shutil.chown(path, "nobody", "nogroup")


class Process:
    """A neighbour, which ends with the block. `ready` is an address that it listens at."""

    def __init__(self, command, log, ready, env=None):
        self.command, self.log, self.ready, self.env = [str(word) for word in command], Path(log), ready, env
        self.process = None

    def __enter__(self):
        out = self.log.open("a")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/", env=self.env)
        until = time.monotonic() + 30
        while not listens(self.ready):
            ended = self.process.poll() is not None
            assert not ended and time.monotonic() < until, f"{self.command[0]} does not listen:\n{self.log.read_text()[-2000:]}"
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.end()

    @contextlib.contextmanager
    def stalled(self):
        """It and its children do nothing."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        pids = [self.process.pid, *map(int, children)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def end(self, by=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(by)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def listens(address):
    try:
        socket.create_connection(address, timeout=1).close()
        return True
    except OSError:
        return False


def version(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    text = done.stdout + done.stderr
    return re.search(r"\d+\.\d+(\.\d+)*", text).group() if re.search(r"\d+\.\d+", text) else text.strip()


class Certificates:
    """An authority and a server's certificate, made by the lines of docs/operate/postgresql.md."""

    def __init__(self, folder, names):
        self.folder = Path(folder)
        lines = block("operate/postgresql.md", "CN=our databases")
        subject = ",".join(names)
        script = with_ours(lines, ("subjectAltName=DNS:db.internal", f"subjectAltName={subject}"))
        subprocess.run(["bash", "-ec", script], check=True, cwd=self.folder, capture_output=True)
        self.ca, self.certificate, self.key = (self.folder / name for name in ("ca.pem", "server.crt", "server.key"))
        for path in (self.ca, self.certificate):
            path.chmod(0o644)

    def both(self, path):
        """Certificate and key in one file, as haproxy reads them."""
        path.write_text(self.certificate.read_text() + self.key.read_text())
        return path

    def context(self):
        return ssl.create_default_context(cafile=self.ca)


class Issuer(rotation.Deployment):
    """A deployment whose merchant's key is taken from one address alone."""

    def __init__(self, folder, cluster=None, owner_password=None):
        rotation.CARDS = CARDS
        self.owner_password = owner_password
        super().__init__(folder, cluster)
        self.env |= {f"CARDVEIL_LIMITS_{name}_PER_MINUTE": "0" for name in ("REFUSED", "NETWORK", "ALL")}
        self.env["CARDVEIL_LOG"] = "info"
        of = ("--merchant", self.merchant, "--json")
        self.bound = self.json("credential", "add", "--allow-ip", f"{CALLER}/32", *of)["api_key"]
        self.log = self.home / "server.log"

    def run(self, *args, **more):
        if args[0] == "migrate" and self.owner_password:
            args += ("--owner-password-file", str(self.owner_password))
        return super().run(*args, **more)

    def kill(self):
        if self.server and self.server.poll() is None:
            self.server.kill()
            self.server.wait()

    def merchant_api(self, at=None, tls=None):
        return connect(at or ("127.0.0.1", self.merchant_at), tls)

    def client_api(self, at=None, tls=None):
        return connect(at or ("127.0.0.1", self.client_at), tls)

    def issue(self, connection, forged=None):
        """The status, and the token."""
        headers = {"authorization": f"Bearer {self.bound}", **({"x-forwarded-for": forged} if forged else {})}
        status, body = call(connection, "/v1/client-tokens", {"card_no": "C0"}, headers)
        return status, (body or {}).get("token")

    def redeem(self, connection, token, key=rotation.KEY, forged=None, attempt=None):
        frame = {"origin": f"http://127.0.0.1:{self.client_at}", "sec-fetch-site": "same-origin"}
        wish = {"token": token, "embed": self.embed, "key": key, "fields": ["pan"], "attempt": attempt or str(uuid.uuid4())}
        status, body = call(connection, "/client/v1/redeem", wish, {**frame, **({"x-forwarded-for": forged} if forged else {})})
        return status, (body or {}).get("code")

    def requests(self):
        """What the access log has of requests."""
        lines = (json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{"))
        return [line for line in lines if line.get("message") == "request"]


def connect(at, tls=None):
    more = {"timeout": 60, "source_address": (CALLER, 0)}
    return HTTPSConnection(*at, context=tls, **more) if tls else HTTPConnection(*at, **more)


def call(connection, path, body, headers):
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
    answer = connection.getresponse()
    text = answer.read()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, None


CLOSED = (RemoteDisconnected, ConnectionError, ssl.SSLError)
