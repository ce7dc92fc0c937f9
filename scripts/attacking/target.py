"""The deployment that is attacked, and how an attack tells what came."""

import json
import sqlite3
import threading
import time

import rotation
from .wire import once


CARDS = 40
PERSONS = tuple(f"0b0f0f5e-6a52-4c7e-9c55-00000000000{n}" for n in range(3))
PAN, CVV, HOLDER, PIN = "378282246310005", "8417", "MEMORIA SOUGHTFOR", "8350"
ATTEMPT = "00000000-0000-4000-8000-000000000001"
FULL = ("cards:read:any", "cards:write:any", "cards:export", "pins:read", "pins:set", "mfa:manage", "mfa:codes", "webhooks:manage")


def line(n):
    return json.dumps({
        "card_no": f"C{n}", "account_id": "F50091", "person_id": PERSONS[n % 2], "label": f"Travel {n}",
        "pan": "4111111111111111", "expiry": "12/2030", "name": "A CARDHOLDER",
    })


class Target(rotation.Deployment):
    """A deployment with a partner, another partner's card, and the stolen key of the former."""

    def __init__(self, folder, cluster=None):
        rotation.line, rotation.CARDS = line, CARDS
        super().__init__(folder, cluster)
        # Limits would answer before what is tried; an attack that is about them takes these out.
        self.env |= {f"CARDVEIL_LIMITS_{name}_PER_MINUTE": "0" for name in ("REFUSED", "NETWORK", "ALL")}
        self.env["CARDVEIL_LOG"] = "info"
        self.env["CARDVEIL_ISSUER_STORE_CVV_REASON"] = "the tester's"
        self.cluster = cluster
        self.other = self.json("merchant", "add", "--name", "Other", "--json")["id"]
        self.other_embed = self.json("embed", "add", "--origin", "https://other.example", "--merchant", self.other, "--json")["id"]
        self.feed({**json.loads(line(0)), "card_no": "X0", "person_id": PERSONS[2]}, self.other)
        self.database = self.home / "data/cardveil.db"
        self.log = self.home / "server.log"

    def feed(self, card, merchant=None):
        self.run("card", "add", "--merchant", merchant or self.merchant, given=json.dumps(card))

    def credential(self, *more, merchant=None, scopes=()):
        flags = [word for scope in scopes for word in ("--scope", scope)]
        of = ("--merchant", merchant or self.merchant, "--allow-ip", "127.0.0.0/8", "--json")
        return self.json("credential", "add", *of, *flags, *more)

    def card_id(self, no, merchant=None):
        return self.json("card", "show", no, "--merchant", merchant or self.merchant, "--json")["card_id"]

    def native(self, method, path, body=None, key=None, source=None):
        return once(self.merchant_at, method, path, {"authorization": f"Bearer {key or self.api_key}"}, body, source)

    def equals(self, method, path, body=None, key=None):
        return once(self.merchant_at, method, path, {"authorization": f"ApiKey {key or self.api_key}"}, body)

    def login(self, key=None):
        plain = {"api-key": key or self.api_key, "timestamp": str(int(time.time() * 1000))}
        answer = once(self.merchant_at, "GET", "/open-api/v1/merchant/token", plain).json()
        return (answer.get("data") or {}).get("access_token", "none")

    def keysecure(self, method, path, body=None, key=None, access=None):
        headers = {
            "api-key": key or self.api_key, "timestamp": str(int(time.time() * 1000)),
            "access-token": access or self.login(key),
        }
        return once(self.merchant_at, method, path, headers, body)

    def token(self, card_no="C0", key=None, **more):
        return self.native("POST", "/v1/client-tokens", {"card_no": card_no, **more}, key).json()["token"]

    def wish(self, token, key=None, fields=("pan",), attempt=ATTEMPT, embed=None):
        key = key or rotation.KEY
        return {"token": token, "embed": embed or self.embed, "key": key, "fields": list(fields), "attempt": attempt}

    def frame(self):
        return {"origin": f"http://127.0.0.1:{self.client_at}", "sec-fetch-site": "same-origin"}

    def redeem(self, token, source=None, **more):
        return once(self.client_at, "POST", "/client/v1/redeem", self.frame(), self.wish(token, **more), source)

    def audit(self):
        return [json.loads(entry) for entry in self.run("audit", "export").stdout.splitlines()]

    def sql(self):
        return sqlite3.connect(self.database, timeout=30)

    def kill(self):
        if self.server and self.server.poll() is None:
            self.server.kill()
            self.server.wait()


class Came:
    """What an attack came to: how much was tried, in words what came, and what succeeded."""

    def __init__(self, tried, what, won):
        self.tried, self.what, self.won = tried, what, list(won)


def seen(well, what):
    """What an attack must see before what it does not see means anything."""
    assert well, f"the attack cannot see: {what}"


def together(what, count):
    threads = [threading.Thread(target=what, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def rows(t):
    """What decides, and what is sealed, of all rows."""
    tables = ("merchant", "credential", "embed", "card", "wallet_token", "subscription", "delivery")
    return {table: t.sql().execute(f"SELECT * FROM {table}").fetchall() for table in tables}
