#!/usr/bin/env python3
"""Attacks the finished binary as a penetration tester would: one who has the binary, a debugger, a proxy, and a stolen
key of low privilege (`make attacks`; what came by hand is in docs/reports/attacks.md).

One line an attack: its name, how much was tried, what came. It ends with 1 when one succeeds. So that it can fail, each
first sees what it looks for where that is. ONLY=memory,least says which."""

import base64
import json
import os
import random
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import rotation
from attacker import Wire, forged, keys, memory, once, request, sha256, shapes, totp

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


def memory_and_debugger(t):
    """Reads the memory of a server that has just answered, with its connections open; attaches as its own account."""
    for flag in ("--export", "--read-pins", "--set-pins"):
        t.run("merchant", "set", t.merchant, flag, "true")
    tried, won = left_in_memory(t, "M0", CVV, PIN)
    if won and all(hit.startswith(("CVV", "PIN")) for hit in won):
        # Four digits are among sealed bytes by chance, one time in 200: other digits tell.
        t.kill()
        tried, won = left_in_memory(t, "M1", "5926", "7143")
    debugger, tries = as_its_account(t)
    return Came(tried + tries, "nothing of a caller in memory, database, WAL or log; no debugger, no core dump", won + debugger)


def left_in_memory(t, card_no, cvv, told_pin):
    pair = t.credential(scopes=FULL)
    t.feed({**json.loads(line(0)), "card_no": card_no, "type": "physical", "pan": PAN, "cvv": cvv, "name": HOLDER})
    t.start()
    merchant, client = Wire(t.merchant_at), Wire(t.client_at)
    sought = {"PAN": PAN, "CVV": cvv, "name": HOLDER, "PIN": told_pin, "Api-Key": pair["api_key"], "apiSecret": pair["api_secret"]}
    bearer, key = {"authorization": f"Bearer {pair['api_key']}"}, pair["api_key"]

    merchant.send(f"GET /v1/cards HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\n".encode())
    until = time.monotonic() + 30
    while not found(t.server.pid, {"Api-Key": key}):
        seen(time.monotonic() < until, "an Api-Key in half a request")
    seen(merchant.send(b"\r\n").answer().status == 200, "the rest of it answered")

    stamped = {"api-key": key, "timestamp": str(int(time.time() * 1000))}
    login = merchant.call("GET", "/open-api/v1/merchant/token", stamped).json()["data"]["access_token"]
    exported = merchant.call("GET", f"/open-api/v1/card/{card_no}/private/info", {**stamped, "access-token": login}).json()
    seen(exported["code"] == 0, "card data by private/info")
    pin = f"/v2/cards/{t.card_id(card_no)}/pin?accountId=F50091&personId={PERSONS[0]}&cardholderVerificationMethod=OTP"
    seen(merchant.call("PUT", pin, bearer_to_equals(key), {"pin": told_pin}).status == 200, "a PIN set")
    seen(told_pin.encode() in merchant.call("GET", pin, bearer_to_equals(key)).body, "a PIN told")
    app = merchant.call("PUT", f"/v1/people/{PERSONS[0]}/totp", bearer).json()["secret"]
    code = totp(app)
    merchant.call("POST", f"/v1/people/{PERSONS[0]}/totp/confirm", bearer, {"code": code})
    token = merchant.call("POST", "/v1/client-tokens", bearer, {"card_no": card_no}).json()["token"]
    sought |= {"Access-Token": login, "app's secret": app, "code": code, "token": token}
    wish = t.wish(token, fields=("pan", "expiry", "cvv", "name"))
    seen(client.call("POST", "/client/v1/redeem", t.frame(), wish).status == 200, "a card shown")
    client.call("POST", "/client/v1/redeem", t.frame(), t.wish(token, key=keys(2)[1]))
    odd = [
        (t.merchant_at, request("PUT", pin, bearer, f'{{"pin": "{told_pin}", "pan": "{PAN}'.encode())),
        (t.merchant_at, request("PATCH", f"/v1/cards/{t.card_id(card_no)}", bearer, {"label": f"{HOLDER} {PAN}"})),
        (t.merchant_at, request("GET", f"/v1/cards?search={PAN}", bearer)),
        (t.merchant_at, request("GET", "/v1/cards", {**bearer, "x": "y" * 100_000})),
        (t.merchant_at, request("GET", f"/v1/cards/{key}", bearer)),
        (t.client_at, request("POST", "/client/v1/redeem", {"origin": "https://evil.example"}, wish)),
        (t.client_at, request("POST", "/client/v1/redeem", t.frame(), b"x" * 20_000 + token.encode())),
        (t.client_at, request("POST", "/client/v1/redeem", t.frame(), wish) * 3),
    ]
    held = [merchant, client]
    for port, data in odd:
        held.append(Wire(port).send(data))
        seen(held[-1].answer() is not None, "an answer to an odd request")
    # Redemptions that nobody waits for went deepest.
    alone = merchant.call("POST", "/v1/client-tokens", bearer, {"card_no": card_no}).json()["token"]
    sought["token of a caller who left"] = alone
    for _ in range(30):
        Wire(t.client_at).send(request("POST", "/client/v1/redeem", t.frame(), {**wish, "token": alone})).close()
    time.sleep(2)
    won = [f"{what} in memory at {place}" for what, place in found(t.server.pid, sought)]
    seen(found(t.server.pid, {"a label": "Travel 1"}), "a card's label, which is there")
    files = [*t.home.glob("data/*"), *t.home.glob("fence/*"), t.log]
    files += [Path(f"/proc/{t.server.pid}/{name}") for name in ("environ", "cmdline")]
    for file in files:
        data = file.read_bytes()
        won += [f"{what} in {file.name}" for what, text in sought.items() if len(text) > 6 for shape in shapes(text) if shape in data]
    return len(sought), won


def bearer_to_equals(key):
    return {"authorization": f"ApiKey {key}"}


def found(pid, sought):
    """What is in the memory of a process: each whole text, or any twelve bytes of a long one, in all its shapes."""
    parts = [
        (what, part)
        for what, text in sought.items()
        for shape in shapes(text)
        for part in ([shape] if len(shape) <= 24 else [shape[at:at + 12] for at in range(0, len(shape) - 11, 12)])
    ]
    places = []
    for place, data in memory(pid):
        for what, part in parts:
            at = data.find(part)
            while at >= 0:
                around = data[at - 1:at] + data[at + len(part):at + len(part) + 1]
                # Four digits inside a number or an id are there by chance.
                chance = len(part) <= 6 and any(byte < 128 and chr(byte).isalnum() or byte in b":.-" for byte in around)
                if not chance:
                    places.append((what, f"{place}: {data[max(at - 24, 0):at + len(part) + 24]}"))
                at = data.find(part, at + 1)
    return places


LOOK = """
import ctypes, os, sys
pid, libc, saw = int(sys.argv[1]), ctypes.CDLL(None, use_errno=True), []
for name in ("mem", "environ", "maps", "fd"):
    try:
        path = f"/proc/{pid}/{name}"
        os.listdir(path) if name == "fd" else open(path, "rb").read(0 if name == "mem" else 1)
        saw.append(name)
    except OSError:
        pass
libc.ptrace.argtypes = [ctypes.c_long] * 4
if libc.ptrace(16, pid, 0, 0) == 0:
    saw.append("ptrace")
    os.waitpid(pid, 0)
    libc.ptrace(17, pid, 0, 0)
print(" ".join(saw))
"""


def as_its_account(t):
    """What another process of the server's own account may look at, and whether it leaves a core dump."""
    t.stop()
    drop = []
    if os.getuid() == 0:
        drop = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        for folder in (t.home.parent, *t.home.parents):
            if folder.owner() == "root" and folder != Path("/") and str(folder).startswith(tempfile.gettempdir() + "/"):
                folder.chmod(0o711)
        subprocess.run(["chown", "-R", "nobody", t.home], check=True)
    look = lambda pid: subprocess.run([*drop, sys.executable, "-c", LOOK, str(pid)], capture_output=True, text=True, cwd="/").stdout.split()
    sleeper = subprocess.Popen([*drop, "sleep", "60"])
    try:
        time.sleep(0.2)
        could = look(sleeper.pid)
    finally:
        sleeper.kill()
        sleeper.wait()
    seen("environ" in could, "a process of the same account")
    t.start(*drop)
    won = [f"its own account may use {what}" for what in look(t.server.pid) if what in could]
    limits = Path(f"/proc/{t.server.pid}/limits").read_text()
    if not re.search(r"Max core file size\s+0\s+0 ", limits):
        won.append("core dumps are not off")
    t.server.send_signal(signal.SIGABRT)
    t.server.wait()
    won += [f"a core dump: {file}" for file in (*t.home.glob("**/core*"), *Path(".").glob("core*"))]
    return won, len(could) + 2


DATA = {
    "/open-api/v1/card/active": {"card_no": "NO", "cvv": "123", "card_last_no": "1111"},
    "/open-api/v1/card/list": {"start_time": "2020-01-01", "end_time": "2020-01-30"},
    "/open-api/v1/card/pin/set": {"card_no": "NO", "pin": base64.b64encode(bytes(16)).decode()},
    "/open-api/v1/card/status/update": {"card_no": "NO", "status": "2"},
    "/v1/cards/{card_id}": {"label": "Mine"},
    "/v1/cards/{card_id}/transitions": {"state": "suspended", "reason": "x"},
    "/v1/client-tokens": {"card_no": "NO"},
    "/v1/mfa/sessions": {"card_no": "NO", "operation": "VIEW_CARD"},
    "/v1/people/{person_id}/totp/confirm": {"code": "123456"},
    "/v1/simulator/wallet-tokens": {"card_id": "CARD", "wallet": "APPLE_PAY", "device_type": "WATCH", "device_id": "d", "decision": "green"},
    "/v1/webhooks": {"url": "https://hooks.example/x", "topics": ["card.state"]},
    "/v2/cards/{cardId}": {"name": "Mine"},
    "/v2/cards/{cardId}/pin": {"pin": "8350", "cardholderVerificationMethod": "OTP"},
    "/v2/cards/{cardId}/transition": {"state": "SUSPENDED"},
    "/v2/ipaddresses": {"ip": "198.51.100.7"},
    "/v2/webhooks": {"enabled": True, "url": "https://hooks.example/x", "webhookEventTypeName": "CardStateUpdated"},
    "/v2/mfa/sessions": {"accountId": "F50091", "personId": "PERSON", "cardId": "CARD", "operationName": "VIEW_CARD"},
}
BY_DEFAULT = {  # docs/permissions.md
    "GET /open-api/v1/merchant/token", "GET /open-api/v1/merchant/client/{card_no}/token", "POST /open-api/v1/card/list",
    "GET /open-api/v1/card/{card_no}/detail", "GET /v2/cards/{cardId}/access-token", "POST /v2/mfa/sessions", "GET /v2/cards",
    "GET /v2/cards/{cardId}", "GET /v2/cards/tokens", "POST /v1/client-tokens", "POST /v1/mfa/sessions", "GET /v1/cards",
    "GET /v1/cards/{card_id}", "GET /v1/wallet-tokens", "GET /v1/wallet-tokens/{id}",
}


def operations(no, card, person):
    """Every operation of the three dialects, of this card and person."""
    names = {"card_no": no, "card_id": card, "cardId": card, "person_id": person, "id": card}
    query = {"accountId": "F50091", "personId": person, "cardholderVerificationMethod": "OTP"}
    for path, methods in json.loads((rotation.ROOT / "docs/openapi.json").read_text())["paths"].items():
        for method, operation in methods.items():
            if not path.startswith(("/v1/", "/v2/", "/open-api/")):
                continue
            asked = [x["name"] for x in operation.get("parameters", []) if x["in"] == "query" and x["name"] in query]
            address = path.format(**names) + ("?" + "&".join(f"{name}={query[name]}" for name in asked) if asked else "")
            body = None
            if "requestBody" in operation:
                text = json.dumps(DATA.get(path, {}))
                body = json.loads(text.replace('"NO"', f'"{no}"').replace('"CARD"', f'"{card}"').replace('"PERSON"', f'"{person}"'))
            yield f"{method.upper()} {path}", method.upper(), address, body


def say(t, method, address, body, key, access):
    if address.startswith("/open-api"):
        return t.keysecure(method, address, body, key, access)
    return (t.equals if address.startswith("/v2") else t.native)(method, address, body, key)


def rows(t):
    """What decides, and what is sealed, of all rows."""
    tables = ("merchant", "credential", "embed", "card", "wallet_token", "subscription", "delivery")
    return {table: t.sql().execute(f"SELECT * FROM {table}").fetchall() for table in tables}


ABSENT = ("X99", "00000000-0000-4000-8000-0000000000ff", "00000000-0000-4000-8000-0000000000fe")


def telling(t, key, foreign, skip=()):
    """Where what is foreign is answered in another way than what is absent."""
    won, access = [], t.login(key)
    for (name, *theirs), (_, *absent) in zip(operations(*foreign), operations(*ABSENT)):
        # They make something, or log in: of each caller's own.
        if name in skip or name in ("GET /open-api/v1/merchant/token", "POST /v1/webhooks", "POST /v2/webhooks"):
            continue
        first, second = say(t, *theirs, key, access), say(t, *absent, key, access)
        if first.told() != second.told():
            won.append(f"{name}: {first.status} {first.code()} of a foreign card, {second.status} {second.code()} of none")
    return won


def least_key(t):
    """Every operation with a pair that was made without flags, of own, foreign and absent cards."""
    t.start()
    own, foreign, access, won, tried, allowed = t.card_id("C0"), t.card_id("X0", t.other), t.login(), [], 0, 0
    before = rows(t)
    for name, *asked in operations("C0", own, PERSONS[0]):
        answer = say(t, *asked, t.api_key, access)
        tried += 1
        refused = answer.status == 403 or answer.code() in (1010, 1013) or name == "GET /v1/wallet-tokens/{id}"
        allowed += not refused
        if refused == (name in BY_DEFAULT) and name != "GET /v1/wallet-tokens/{id}":
            won.append(f"{name}: {answer.status} {answer.code()}")
        if b"4111111111111111" in answer.body or b"2030" in answer.body:
            won.append(f"{name} tells what is sealed")
    if rows(t) != before:
        won.append("it changed rows")
    seen(allowed >= 10, "what such a key may do")
    won += telling(t, t.api_key, ("X0", foreign, PERSONS[2]))
    for flag in ("--export", "--read-pins", "--set-pins"):
        t.run("merchant", "set", t.merchant, flag, "true")
    mighty = t.credential(scopes=FULL)["api_key"]
    seen(t.native("PATCH", f"/v1/cards/{own}", {"label": "Mine"}, mighty).status == 200 and rows(t) != before, "a change of a row")
    people = ("PUT /v1/people/{person_id}/totp", "DELETE /v1/people/{person_id}/totp", "POST /v1/people/{person_id}/totp/confirm")
    won += telling(t, mighty, ("X0", foreign, PERSONS[2]), people)
    return Came(tried * 5, f"{allowed} of {tried} operations answered: those of docs/permissions.md; foreign is as absent", won)


def bound_key(t):
    """A credential of one person against another's cards, factors and codes."""
    t.start()
    for flag in ("--export", "--read-pins", "--set-pins"):
        t.run("merchant", "set", t.merchant, flag, "true")
    scopes = ("cards:read:own", "cards:write:own", "cards:export", "pins:read", "pins:set", "mfa:manage", "wallets:provision")
    key = t.credential("--person", PERSONS[0], scopes=scopes)["api_key"]
    mighty = t.credential(scopes=FULL)["api_key"]
    own, theirs, won, tried = t.card_id("C0"), t.card_id("C1"), [], 0
    for scope in ("cards:read:any", "cards:write:any", "webhooks:manage", "mfa:codes"):
        tried += 1
        try:
            t.credential("--person", PERSONS[0], scopes=("cards:read:own", scope))
            won.append(f"it may have {scope}")
        except AssertionError:
            pass
    seen(say(t, "GET", f"/v1/cards/{own}", None, key, None).status == 200, "its own card")
    before = rows(t)
    won += telling(t, key, ("C1", theirs, PERSONS[1]))
    tried += 2 * len(DATA)
    for list_of in ("/v1/cards?limit=100", f"/v1/cards?person_id={PERSONS[1]}", "/v1/cards?search=Travel", "/v1/wallet-tokens",
                    "/v2/cards?accountId=F50091", f"/v2/cards?accountId=F50091&personId={PERSONS[1]}", "/v2/cards/tokens?accountId=F50091"):
        tried += 1
        if PERSONS[1].encode() in say(t, "GET", list_of, None, key, None).body:
            won.append(f"{list_of} lists another's")
    t.run("merchant", "set", t.merchant, "--mfa", "view-card=required")
    secret = t.native("PUT", f"/v1/people/{PERSONS[1]}/totp", key=mighty).json()["secret"]
    t.native("POST", f"/v1/people/{PERSONS[1]}/totp/confirm", {"code": totp(secret)}, mighty)
    session = t.native("POST", "/v1/mfa/sessions", {"card_no": "C1", "operation": "VIEW_CARD"}, mighty).json()["session_id"]
    mfa = {"session_id": session, "code": totp(secret, time.time() + 30)}
    for card, who in (("C1", key), ("C0", key), ("C3", mighty)):
        tried += 1
        if t.native("POST", "/v1/client-tokens", {"card_no": card, "mfa": mfa}, who).status == 201:
            won.append(f"another's second factor passed for {card}")
    seen(t.native("POST", "/v1/client-tokens", {"card_no": "C1", "mfa": mfa}, mighty).status == 201, "the right use of it")
    for who, login in ((key, t.login(mighty)), (mighty, t.login(key))):
        tried += 1
        if t.keysecure("GET", "/open-api/v1/card/C1/detail", None, who, login).code() != 1007:
            won.append("an Access-Token of another credential was taken")
    if {k: v for k, v in rows(t).items() if k != "merchant"} != {k: v for k, v in before.items() if k != "merchant"}:
        won.append("it changed rows")
    return Came(tried, "another person's cards and factors are as absent; no webhooks, no codes", won)


FORGED = (
    b"\xff", b"unknown", b"", b" ", b"127.0.0.1", b"127.0.0.1:80", b"[::ffff:127.0.0.1]:1", b"::ffff:7f00:1", b"203.0.113.7",
    b"203.0.113.7:1", b"[2001:db8::7]:1", b"_hidden", b"for=203.0.113.7", b"203.0.113.7,", b",203.0.113.7", b"203.0.113.7\t",
    b"203.0.113.7 203.0.113.7", b"0xcb.0.0x71.7", b"3405803783", b"203.0.113.007", b"127.1", b"0", b"localhost", b"\x80" * 50,
    b"203.0.113.7%00", b"203.0.113.7/32", b"'203.0.113.7'", b"203.0.113.7;203.0.113.7",
)


def forged_addresses(t):
    """A stranger behind a trusted proxy, and strangers who pose as one."""
    t.env["CARDVEIL_NETWORK_TRUSTED_PROXIES"] = '["127.0.0.1/32", "127.0.0.9/32"]'
    t.start()
    add = lambda *ips: t.json("credential", "add", "--merchant", t.merchant, "--json", *(w for ip in ips for w in ("--allow-ip", ip)))["api_key"]
    victims = [add("203.0.113.7/32", "2001:db8::7/128"), add("127.0.0.0/8"), add("127.0.0.1/32")]

    def said(key, fields, more=(), source=None, port=None, first=b""):
        lines = [b"GET /v1/cards?limit=1 HTTP/1.1", b"host: a", b"authorization: Bearer " + key.encode()]
        lines += [b"x-forwarded-for: " + field for field in fields] + list(more)
        with Wire(port or t.merchant_at, source) as wire:
            answer = wire.send(first + b"\r\n".join(lines) + b"\r\n\r\n").answer()
            return answer.status if answer else None

    for hop in (b"203.0.113.7", b"203.0.113.7:4711", b"[2001:db8::7]:443", b"198.51.100.66, 203.0.113.7, 127.0.0.9"):
        seen(said(victims[0], [hop]) == 200, f"{hop} as its proxy writes it")
    won, tried, stranger = [], 0, b"198.51.100.66"
    for key in victims:
        for hop in FORGED:
            # As nginx appends the address that it sees, and others do.
            for fields in ([hop + b", " + stranger], [hop, stranger], [hop + b", " + stranger + b":4711, 127.0.0.9"]):
                tried += 1
                if said(key, fields) == 200:
                    won.append(f"{fields} passed")
        for name in (b"x-real-ip", b"forwarded", b"true-client-ip", b"cf-connecting-ip", b"x_forwarded_for"):
            tried += 1
            if said(key, [stranger], [name + b": 203.0.113.7"]) == 200:
                won.append(f"{name} is believed")
        for fields in ([b"127.0.0.1," * 10_000 + stranger], [b"203.0.113.7"] * 50 + [stranger], [b"127.0.0.9, 127.0.0.1"], []):
            tried += 1
            if said(key, fields) == 200:
                won.append(f"{len(fields)} fields passed")
    for source, key in (("127.0.0.2", victims[0]), ("127.0.0.2", victims[2])):
        tried += 1
        if said(key, [b"203.0.113.7"], source=source) == 200:
            won.append("one who is no proxy was believed")
    t.stop()
    t.env["CARDVEIL_NETWORK_PROXY_PROTOCOL"] = '["merchant"]'
    t.start()
    header = b"PROXY TCP4 203.0.113.7 10.0.0.1 49152 80\r\n"
    second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([203, 0, 113, 7, 10, 0, 0, 1, 0, 1, 0, 80])
    seen(said(victims[0], [], first=header) == 200 and said(victims[0], [], first=second) == 200, "a header of the proxy's")
    for first, source in ((header, "127.0.0.2"), (second, "127.0.0.2"), (b"PROXY UNKNOWN\r\n" + header, None), (header[:-2], None),
                          (b"PROXY UNKNOWN\r\n", None), (b"PROXY TCP4 198.51.100.66 10.0.0.1 1 80\r\n" + second, None), (b"", None)):
        for key in victims[::2]:
            tried += 1
            if said(key, [b"203.0.113.7"], source=source, first=first) == 200:
                won.append(f"{first} passed")
    return Came(tried, "nobody was taken for another: 403, 400 or 431", won)


def smuggling(t):
    """Requests that a proxy before the server may read in another way: how many answers come."""
    t.start()
    own = b"host: a\r\nauthorization: Bearer " + t.api_key.encode() + b"\r\n"
    inner = b"GET /v1/cards?limit=1 HTTP/1.1\r\n" + own + b"\r\n"
    text, chunked = b'{"card_no":"C0"}', b"transfer-encoding: chunked\r\n"
    posted = lambda fields, body: b"POST /v1/client-tokens HTTP/1.1\r\n" + own + b"content-type: application/json\r\n" + fields + b"\r\n" + body + inner
    whole = b"10\r\n" + text + b"\r\n0\r\n\r\n"

    def answers(data):
        with Wire(t.merchant_at) as wire:
            wire.send(data)
            wire.socket.shutdown(socket.SHUT_WR)
            return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+)", wire.rest())]

    seen(answers(inner * 2) == [200, 200] and answers(posted(b"content-length: 16\r\n", text)) == [201, 200], "two requests")
    lengths = (b"16, 16", b"+16", b"-1", b"0x10", b"1 6", b"18446744073709551632", b"16\r\ncontent-length: 17")
    attempts = [posted(b"content-length: " + length + b"\r\n", text) for length in lengths]
    attempts += [posted(b"content-length: 4\r\n" + chunked, whole), posted(b"content-length : 16\r\n", text)]
    attempts += [posted(b"transfer-encoding: " + coding + b"\r\n", whole) for coding in (b"identity", b"gzip, chunked", b"xchunked", b"\x0bchunked", b"chunked\r\n" + chunked[:-2])]
    attempts += [posted(chunked, size + b"\r\n" + text + b"\r\n0\r\n\r\n") for size in (b"-10", b"0x10", b"1000000000000000010", b"10;a\nb")]
    attempts += [posted(chunked, b"10\r\n" + text + b"XX0\r\n\r\n"), posted(chunked, b"10\n" + text + b"\n0\n\n")]
    won = [f"{data[:300]}: {got}" for data in attempts for got in [answers(data)] if len(got) > 1]
    hosts = (b"", b"host: a\r\nhost: b\r\n", b"host: a\r\n b\r\n", b"host: a\r\nx: a\rhost: b\r\n", b"host: a\r\nx: a\0b\r\n")
    auth = own.split(b"\r\n", 1)[1]
    paths = (b"/v1/cards/%0d%0aHost:%20evil", b"/v1/cards x", b"/v1/cards\0", b"/v1/x/../cards", b"/v1/x/%2e%2e/cards", b"//v1/cards", b"/v1%2fcards", b"/V1/cards", b"/metrics", b"/embed/" + t.embed.encode())
    odd = [b"GET /v1/cards?limit=1 HTTP/1.1\r\n" + host + auth + b"\r\n" for host in hosts]
    odd += [b"GET " + path + b" HTTP/1.1\r\n" + own + b"\r\n" for path in paths]
    odd += [inner.replace(b"GET", method) for method in (b"HEAD", b"TRACE", b"CONNECT", b"OPTIONS")]
    odd += [inner.replace(b"\r\n\r\n", b"\r\nauthorization: Bearer wrong\r\n\r\n"), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    won += [f"{data[:200]}: {got}" for data in odd for got in [answers(data)] if any(status < 400 or status > 499 for status in got) or len(got) > 1]
    return Came(len(attempts) + len(odd), "one answer each at most, 400 and the end of the connection where it is ambiguous", won)


def forged_tokens(t):
    """Tokens of the right public form, from many addresses, and what they cost; then real ones, altered."""
    t.env.pop("CARDVEIL_LIMITS_CLIENT_PER_MINUTE")
    t.start()
    rng, count, callers, refusals = random.Random(1), 100_000, 4, {}
    entries = lambda: t.sql().execute("SELECT count(*) FROM audit").fetchone()[0]
    size = lambda: sum(file.stat().st_size for file in t.database.parent.iterdir())
    before, held, logged = entries(), size(), t.log.stat().st_size

    def guess(n):
        with Wire(t.client_at, f"127.0.0.{n + 1}") as wire:
            for _ in range(count // callers):
                answer = wire.call("POST", "/client/v1/redeem", t.frame(), t.wish(forged(rng)))
                refusals[answer.status] = refusals.get(answer.status, 0) + 1

    together(guess, callers)
    won = [f"{status} to a forged token" for status in refusals if status not in (403, 429)]
    # The server signs its log from time to time, whatever happens.
    if entries() - before > 3 or size() - held > 100_000:
        won.append(f"they wrote {entries() - before} entries, {size() - held} bytes")
    per_call = (t.log.stat().st_size - logged) // count
    token = t.token("C0")
    if t.redeem(token).status != 200:
        won.append("a real token from the same address was not redeemed")
    token, tried = t.token("C1"), count
    body, refused = token[9:-6], {}
    altered = [token[:at] + chr(ord(token[at]) ^ 1) + token[at + 1:] for at in range(len(token))]
    for at in range(len(body)):
        altered.append(forged(rng, body=body[:at] + ("1" if body[at] == "0" else "0") + body[at + 1:]))
    altered += [forged(rng, "cvt_live_", body), token + " ", token[:-1], token.upper(), token * 2, "A" * 256]
    for at, text in enumerate(altered):
        answer = t.redeem(text, source=f"127.{at % 200 + 1}.{at // 200}.1")
        refused.setdefault((answer.status, answer.code()), []).append(answer)
        tried += 1
    won += [f"{len(of)} altered tokens: {what}" for what, of in refused.items() if what not in ((403, "token_refused"), (400, "invalid_request"))]
    if t.redeem(token).status != 200:
        won.append("the altered copies spoilt the token")
    t.run("epoch", "raise")
    token = t.token("C2")
    seen(t.redeem(token, source="127.9.9.9").status == 200, "a token of this epoch")
    spread = ", ".join(f"{number} of {status}" for status, number in sorted(refusals.items()))
    return Came(tried, f"{spread}; no entry, no row; {per_call} bytes of the access log a call", won)


def together(what, count):
    threads = [threading.Thread(target=what, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def race(t, token, holders):
    """Each holder of a key asks at the same moment."""
    wires, answers, gate = [Wire(t.client_at) for _ in holders], [None] * len(holders), threading.Barrier(len(holders))

    def ask(n):
        gate.wait()
        try:
            answers[n] = wires[n].send(request("POST", "/client/v1/redeem", t.frame(), t.wish(token, holders[n]))).answer()
        except OSError:
            pass  # The server was killed.

    together(ask, len(holders))
    for wire in wires:
        wire.close()
    return {n for n, answer in enumerate(answers) if answer and answer.status == 200}


def races(t):
    """One token, many keys at once; and a kill -9 in the middle."""
    t.start()
    holders, won, rounds, kills, early = keys(200), [], 3, 8, 0
    for n in range(rounds):
        got = race(t, t.token(f"C{n}"), holders)
        seen(got, "that anybody got it")
        if len(got) > 1:
            won.append(f"{len(got)} keys got one token")
    rng = random.Random(2)
    for n in range(kills):
        token = t.token(f"C{n}")
        killer = threading.Timer(rng.uniform(0.01, 0.1), t.server.kill)
        killer.start()
        got = race(t, token, holders[:60])
        killer.join()
        t.server.wait()
        t.start()
        early += not got
        got |= {at for at in range(60) if t.redeem(token, key=holders[at]).status == 200}
        if len(got) != 1:
            won.append(f"{len(got)} keys got one token over a kill")
    t.run("audit", "verify")
    return Came(rounds * 200 + kills * 120, f"one key each; {early} of {kills} kills came before anybody was answered", won)


def restores(t):
    """A spent token, and the database of before it was spent put back in every way that there is at hand."""
    holders, data, won, cases = keys(2), t.home / "data", [], 0
    read = lambda: {file.name: file.read_bytes() for file in data.iterdir()}

    def put(saved):
        for file in data.iterdir():
            file.unlink()
        for name, text in saved.items():
            (data / name).write_bytes(text)
            (data / name).chmod(0o600)

    def copied():
        copy = sqlite3.connect(":memory:")
        t.sql().backup(copy)
        return copy

    def stopped(how):
        t.stop() if how == "stopped" else t.kill()

    def files(how):
        saved = read()
        return lambda: (stopped(how), put(saved), t.start())

    def main_file():
        saved = read()["cardveil.db"]
        return lambda: (t.kill(), (data / "cardveil.db").write_bytes(saved), t.start())

    def by_sqlite(running):
        copy = copied()
        def back():
            if not running:
                t.kill()
            with sqlite3.connect(t.database, timeout=30) as live:
                copy.backup(live)
            if not running:
                t.start()
        return back

    def fence_lost():
        saved = read()
        return lambda: (t.stop(), put(saved), (t.home / "fence/cardveil.fence").unlink(), t.start())

    def by_command():
        t.run("backup", str(t.home / "backup"))
        return lambda: (t.stop(), t.run("restore", "--replace", str(t.home / "backup")), t.start())

    ways = {
        "files, after a stop": lambda: files("stopped"), "files, after a kill": lambda: files("killed"), "the file without its WAL": main_file,
        "sqlite3 .restore, stopped": lambda: by_sqlite(False), "sqlite3 .restore while it serves": lambda: by_sqlite(True),
        "files, and the fence lost": fence_lost, "cardveil restore": by_command,
    }
    t.start()
    for n, (name, way) in enumerate(ways.items()):
        token = t.token(f"C{n}")
        back = way()
        seen(t.redeem(token, key=holders[0]).status == 200, "the first key")
        back()
        cases += 1
        if t.redeem(token, key=holders[1]).status == 200:
            won.append(f"{name}: a second key got it")
        if t.redeem(t.token(f"C{n}"), key=holders[1]).status != 200:
            won.append(f"{name}: new tokens are not redeemed")
    verified = t.run("audit", "verify")
    seen("ok" in verified.stdout, "a log that verifies")
    return Came(cases, "the spent token stayed spent", won)


def postgres_restores(t):
    """The same with dumps of PostgreSQL, under nodes that run and that do not."""
    cluster, holders, won, cases = t.cluster, keys(2), [], 0
    dump = cluster.folder / "dump"

    def does(program, *args, database=True):
        command = [*cluster.drop, cluster.bin / program, "-h", cluster.folder, "-U", "postgres", *(("-d", "cardveil") if database else ()), *args]
        subprocess.run(command, check=True, cwd="/", stdin=subprocess.DEVNULL, capture_output=True)

    def whole():
        does("pg_restore", "--clean", "--if-exists", dump)

    def tokens():
        does("psql", "-qc", "DELETE FROM cardveil.token")
        does("pg_restore", "--data-only", "-t", "token", dump)

    def anew():
        does("dropdb", "cardveil", database=False)
        does("createdb", "-O", "owner", "cardveil", database=False)
        does("pg_restore", dump)

    ways = ((True, "the whole", whole), (True, "the tokens alone", tokens), (True, "another database", anew), (False, "the whole, while it serves", whole))
    t.start()
    for n, (stop, name, back) in enumerate(ways):
        token = t.token(f"C{n}")
        dump.unlink(missing_ok=True)
        does("pg_dump", "-Fc", "-f", dump)
        seen(t.redeem(token, key=holders[0]).status == 200, "the first key")
        if stop:
            t.kill()
        back()
        if stop:
            t.start()
        cases += 1
        if t.redeem(token, key=holders[1]).status == 200:
            won.append(f"{name}: a second key got it")
    return Came(cases, "the spent token stayed spent", won)


def second_factors(t):
    """Guessed codes, the weaker factor, PINs beyond the budget, references that are none."""
    for name in ("CARD_MOST", "PERSON_MOST"):
        t.env.pop(f"CARDVEIL_BUDGETS_{name}")
    t.start()
    for flag in ("--read-pins", "--set-pins"):
        t.run("merchant", "set", t.merchant, flag, "true")
    t.run("merchant", "set", t.merchant, "--mfa", "view-card=required")
    key, won, tried = t.credential(scopes=FULL)["api_key"], [], 0
    secret = t.native("PUT", f"/v1/people/{PERSONS[0]}/totp", key=key).json()["secret"]
    t.native("POST", f"/v1/people/{PERSONS[0]}/totp/confirm", {"code": totp(secret, time.time() - 30)}, key)
    right = {totp(secret, time.time() + 30 * step) for step in range(-3, 10)}
    open_session = lambda **more: t.native("POST", "/v1/mfa/sessions", {"card_no": "C0", "operation": "VIEW_CARD", **more}, key)
    issue = lambda session, code: t.native("POST", "/v1/client-tokens", {"card_no": "C0", "mfa": {"session_id": session, "code": code}}, key)
    tried += 1
    if open_session(factor="OTP").status == 201:
        won.append("the weaker factor may be picked")
    session, answers = open_session().json()["session_id"], set()
    for guess in range(200):
        if f"{guess:06}" not in right:
            tried += 1
            answer = issue(session, f"{guess:06}")
            answers.add((answer.status, answer.code()))
    if answers != {(403, "mfa_refused")}:
        won.append(f"guesses were answered {answers}")
    if issue(session, totp(secret)).status == 201:
        won.append("a session outlived its wrong codes")
    tried += 25
    if any(open_session().status == 201 for _ in range(25)):
        won.append("guessing goes on in a new session")
    t.run("mfa", "reset", "--merchant", t.merchant, "--person", PERSONS[0])
    passed = issue(open_session().json()["session_id"], totp(secret))
    seen(passed.status == 201, "the right code")
    t.run("merchant", "set", t.merchant, "--mfa", "view-card=delegated")
    delegated = lambda text: t.equals("GET", f"/v2/cards/{card}/access-token?accountId=F50091&sessionId={text}", key=key)
    card = t.card_id("C2")
    for text in ("undefined", "null", "0", "NaN", "[object%20Object]", "None", "nil", "false", "", "%20", "UNDEFINED", "00000000-0000-0000-0000-000000000000"):
        tried += 1
        if delegated(text).status == 200:
            won.append(f"the reference {text!r} counts")
    seen(delegated("login-7f3a9c").status == 200, "a reference that is one")
    # With a policy off, 20 a day are free, and beyond them a second factor is asked for.
    pin = f"/v2/cards/{t.card_id('C1')}/pin?accountId=F50091&personId={PERSONS[1]}&cardholderVerificationMethod=OTP"
    set_pins = [t.equals("PUT", pin, {"pin": PIN}, key).status for _ in range(150)]
    tried += len(set_pins)
    seen(200 in set_pins, "a PIN set")
    if set_pins.count(200) > 50:
        won.append(f"{set_pins.count(200)} of 150 PINs were set")
    return Came(tried, f"no code, no weaker factor, no reference passed; {set_pins.count(200)} of {len(set_pins)} PINs set, then refused", won)


ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m"


def files_and_terminals(t):
    """Planted links, open modes, card numbers in every text, escapes in whatever is printed."""
    won, tried, victim = [], 0, t.home / "victim"
    victim.write_text("precious")
    for name, command in (
        ("backup", ["backup", t.home / "one"]), ("backup.partial", ["backup", t.home / "two"]),
        ("report", ["card", "import", "-", "--form", "jsonl", "--merchant", t.merchant, "--report", t.home / "three"]),
    ):
        {"backup": t.home / "one", "backup.partial": t.home / "two.partial", "report": t.home / "three"}[name].symlink_to(victim)
        tried += 1
        done = subprocess.run([rotation.BINARY, *command], env=t.env, input="{}\n", capture_output=True, text=True)
        if victim.read_text() != "precious" or done.returncode == 0:
            won.append(f"{name} followed a link")
    t.run("backup", str(t.home / "sound"))
    if (t.home / "sound").stat().st_mode & 0o077:
        won.append("others may read a backup")
    row = json.loads(line(1))
    texts = ("card_no", "account_id", "name", "label", "product", "card_unique_no", "cardholder_no")
    number = "4111111111111111"
    groups = [number[at:at + 4] for at in range(0, 16, 4)]
    forms = (number, *(by.join(groups) for by in (" ", "-", ".", "_", "\xa0", "\u200b")), "".join(chr(0xFEE0 + ord(d)) for d in number), f"x{number}y")
    for field in texts:
        for n, form in enumerate(forms):
            tried += 1
            card = {**row, "card_no": f"N{field}{n}", field: form}
            given = subprocess.run([rotation.BINARY, "card", "add", "--merchant", t.merchant], env=t.env, input=json.dumps(card), capture_output=True, text=True)
            if given.returncode == 0:
                won.append(f"a card number as {field}: {form!r}")
    t.start()
    key = t.credential(scopes=FULL)["api_key"]
    attempts = [
        ("name of a merchant", lambda: t.run("merchant", "add", "--name", ESCAPE)),
        ("name on a card", lambda: t.feed({**row, "card_no": "E1", "name": ESCAPE})),
        ("label", lambda: t.feed({**row, "card_no": "E2", "label": ESCAPE})),
        ("label by a call", lambda: seen(t.native("PATCH", f"/v1/cards/{t.card_id('C0')}", {"label": ESCAPE}, key).status == 200, "")),
        ("reason by a call", lambda: seen(t.native("POST", f"/v1/cards/{t.card_id('C0')}/transitions", {"state": "suspended", "reason": ESCAPE}, key).status == 200, "")),
    ]
    for what, attempt in attempts:
        tried += 1
        try:
            attempt()
            won.append(f"escapes as {what}")
        except AssertionError:
            pass
    once(t.client_at, "POST", "/client/v1/redeem", {**t.frame(), "user-agent": "a\x1b[2Jb", "x-request-id": "\x1b[2J"}, t.wish(t.token("C1", key)))
    # Whoever writes the database passes by all checks.
    with t.sql() as database:
        database.execute("UPDATE card SET label = ?1 WHERE no = 'C1'", [ESCAPE])
        database.execute("UPDATE merchant SET name = ?1 WHERE id = ?2", [ESCAPE, t.other])
    seen(ESCAPE in t.sql().execute("SELECT label FROM card WHERE no = 'C1'").fetchone()[0], "the escapes in the database")
    of = ("--merchant", t.merchant)
    printed = [
        t.run(*command) for command in (("card", "show", "C1", *of), ("card", "list", *of), ("card", "list", *of, "--json"), ("merchant", "list"),
        ("merchant", "show", t.other), ("audit", "tail", "-n", "100"), ("audit", "export"), ("credential", "list"), ("embed", "list"))
    ]
    tried += len(printed)
    for done in printed:
        if re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout + done.stderr):
            won.append(f"{done.args[1:3]} prints control characters")
    if re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", t.log.read_bytes()):
        won.append("the server's log has control characters")
    t.stop()
    live = t.home.parent / "live"
    env = {**t.env, "CARDVEIL_CONFIG": str(live / "cardveil.toml")}
    command = lambda *args: subprocess.run([rotation.BINARY, *args], env=env, capture_output=True, text=True)
    seen(command("init", "--dir", str(live), "--environment", "live").returncode == 0, "a live deployment")
    seen(command("merchant", "list").returncode == 0, "that it opens")
    for path in (live / "cardveil.toml", live / "data", live / "data/cardveil.db", live / "keys", live / "keys/root.key", live / "fence", live):
        mode = path.stat().st_mode & 0o7777
        path.chmod(0o777)
        tried += 1
        if command("merchant", "list").returncode == 0:
            won.append(f"live with {path.name} of mode 777")
        path.chmod(mode)
    seen(command("merchant", "list").returncode == 0, "that it opens again")
    return Came(tried, "links and open modes refused; no card number in a text; nothing raw on a terminal", won)


def connections(t):
    """Connections and requests that do not end, from one address, while another is served."""
    t.start()
    held, won, tried = [], [], 0

    def others_are_served(during):
        answer = t.redeem(t.token("C0"), source="127.0.0.3")
        if answer.status != 200:
            won.append(f"during {during} another address got {answer.status}")

    def hold(data, port, count):
        nonlocal tried
        for n in range(count):
            try:
                held.append(Wire(port, "127.0.0.2").send(data(n) if callable(data) else data))
            except OSError:
                pass
            tried += 1

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft[1], 8_192), soft[1]))
    body = b"POST /client/v1/redeem HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 9000\r\n\r\n{"
    for name, data, port in (
        ("idle connections", b"", t.client_at), ("half a head", b"GET /embed/x HTTP/1.1\r\nhost: a\r\nx: ", t.client_at),
        ("half a body", body, t.client_at), ("half a handshake", b"\x16\x03\x01\x02\x00\x01\x00", t.merchant_at),
        ("half a PROXY header", b"PROXY TCP4 ", t.merchant_at),
    ):
        hold(data, port, 1_000)
        others_are_served(name)
    for wire in held:
        wire.socket.settimeout(0.001)
    shut = sum(closed(wire) for wire in held)
    seen(shut > 2_000, f"that connections beyond the cap are closed ({shut} of {len(held)})")
    slow = Wire(t.client_at, "127.0.0.4").send(body)
    for name, data in (
        ("giant heads", b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 4_000_000), ("100,000 fields", b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 100_000),
        ("a giant line", b"GET /" + b"a" * 4_000_000), ("a giant body", b"POST /client/v1/redeem HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 90000000\r\n\r\n" + b" " * 4_000_000),
    ):
        for _ in range(5):
            tried += 1
            with Wire(t.client_at, "127.0.0.5") as wire:
                answer = wire.send(data).answer()
                if answer and not 400 <= answer.status < 500:
                    won.append(f"{name}: {answer.status}")
        others_are_served(name)
    # The request of half a body has 20 s.
    ended = slow.answer()
    if ended is None or ended.status != 408:
        won.append(f"a body that does not come is {ended and ended.status}")
    for wire in held:
        wire.close()
    most = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{t.server.pid}/status").read_text())[1]) // 1024
    return Came(tried, f"{shut} of {len(held)} closed by the cap, the others out of time; others were served; {most} MiB at most", won)


def closed(wire):
    try:
        return wire.socket.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def lists(t):
    """48 connections of searches and far pages while another merchant's cardholder is shown a card."""
    extra = "\n".join(line(n).replace('"Travel', '"Petrol') for n in range(CARDS, 10_000))
    t.run("card", "import", "-", "--form", "jsonl", "--merchant", t.merchant, given=extra)
    t.env["CARDVEIL_LIMITS_CREDENTIAL_PER_SECOND"] = "200"
    key = t.credential(merchant=t.other)["api_key"]
    t.start()
    statuses, over, calls = {}, threading.Event(), ("/v1/cards?search=nowhere", "/v1/cards?search=petrol&limit=100", "/v1/cards?state=failed")

    def list_on(n):
        with Wire(t.merchant_at, "127.0.0.2") as wire:
            while not over.is_set():
                answer = wire.call("GET", calls[n % 3], {"authorization": f"Bearer {spy}"})
                statuses[answer.status] = statuses.get(answer.status, 0) + 1

    spy = t.credential()["api_key"]
    storm = threading.Thread(target=together, args=(list_on, 48))
    storm.start()
    try:
        shown, until = [], time.monotonic() + 8
        while time.monotonic() < until:
            issued = t.native("POST", "/v1/client-tokens", {"card_no": "X0"}, key)
            shown.append(issued.status if issued.status != 201 else t.redeem(issued.json()["token"], embed=t.other_embed).status)
    finally:
        over.set()
        storm.join()
    won = [f"{len([s for s in shown if s != 200])} of {len(shown)} were not shown"] if set(shown) != {200} else []
    seen(statuses.get(429), "lists that are held back")
    if len(shown) < 8:
        won.append(f"{len(shown)} shown in 8 s")
    spread = ", ".join(f"{number} of {status}" for status, number in sorted(statuses.items()))
    return Came(sum(statuses.values()), f"lists: {spread}; meanwhile {len(shown)} of {len(shown)} cards were shown", won)


def database(t):
    """A hand in the database while the server runs: what is refused, and what SECURITY.md says is not."""
    t.start()
    for flag in ("--export", "--read-pins", "--set-pins"):
        t.run("merchant", "set", t.merchant, flag, "true")
    won, told, holders, tried = [], [], keys(3), 0

    def write(statement, *values):
        nonlocal tried
        tried += 1
        with t.sql() as live:
            live.execute(statement, values)

    def tampered():
        return t.run("audit", "export").stdout.count("vault.tampered")

    def admitted(what, happens):
        if happens:
            told.append(what)

    sealed = t.sql().execute("SELECT no, dek, pan, expiry, name FROM card WHERE no IN ('C0', 'C1') ORDER BY no").fetchall()
    for columns in (("dek", "pan", "expiry", "name"), ("pan",), ("dek",), ("name",)):
        held = {no: dict(zip(("dek", "pan", "expiry", "name"), rest)) for no, *rest in sealed}
        for no, other in (("C0", "C1"), ("C1", "C0")):
            write(f"UPDATE card SET {', '.join(f'{c} = ?' for c in columns)} WHERE no = ?", *(held[other][c] for c in columns), no)
        before = tampered()
        answer = t.redeem(t.token("C0"), fields=("pan", "name"))
        if answer.status == 200:
            won.append(f"{columns} of another card opened")
        elif tampered() == before:
            won.append(f"{columns} of another card: no alarm")
        for no in ("C0", "C1"):
            write("UPDATE card SET dek = ?, pan = ?, expiry = ?, name = ? WHERE no = ?", *held[no].values(), no)
    seen(t.redeem(t.token("C0")).status == 200, "the card as it was")

    token = t.token("C2")
    t.redeem(token, key=holders[0])
    write("UPDATE token SET state = NULL, conflict = 0 WHERE hash = ?", sha256(token))
    admitted("a token un-spent by its row", t.redeem(token, key=holders[1]).status == 200)
    write("UPDATE credential SET rights = ?", '["cards:read:any","cards:write:any"]')
    answer = t.native("PATCH", f"/v1/cards/{t.card_id('C3')}", {"label": "Mine"})
    admitted("rights raised by a credential's row", answer.status == 200)
    write("UPDATE card SET no = 'swap' WHERE no = 'C4'")
    write("UPDATE card SET no = 'C4' WHERE no = 'C5'")
    write("UPDATE card SET no = 'C5' WHERE no = 'swap'")
    admitted("order numbers swapped", t.redeem(t.token("C4")).status == 200)

    verify = lambda: subprocess.run([rotation.BINARY, "audit", "verify"], env=t.env, capture_output=True, text=True)
    seen(verify().returncode == 0, "a log that verifies")
    for statement in ("UPDATE audit SET event = replace(event, 'success', 'refused') WHERE seq = 20", "DELETE FROM audit WHERE seq = 20"):
        try:
            write(statement)
            won.append("a trigger lets the log be changed")
        except sqlite3.IntegrityError:
            pass
    with t.sql() as live:
        kept = live.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'").fetchall()
        for name, _ in kept:
            live.execute(f"DROP TRIGGER {name}")
    row = t.sql().execute("SELECT event, hash FROM audit WHERE seq = 20").fetchone()
    last = t.sql().execute("SELECT max(seq) FROM audit").fetchone()[0]
    changes = (
        ("an altered entry", "UPDATE audit SET event = replace(event, 'success', 'refused') WHERE seq = 20", "UPDATE audit SET event = ?1, hash = ?2 WHERE seq = 20"),
        ("a removed entry", "DELETE FROM audit WHERE seq = 20", "INSERT INTO audit VALUES (20, ?1, ?2)"),
        ("two entries changed over", "UPDATE audit SET event = (SELECT event FROM audit WHERE seq = 21) WHERE seq = 20", "UPDATE audit SET event = ?1, hash = ?2 WHERE seq = 20"),
    )
    for what, change, back in changes:
        write(change)
        if verify().returncode == 0:
            won.append(f"verify does not see {what}")
        write(back, *row)
    seen(verify().returncode == 0, "the log as it was")
    before = verify().stdout
    write("DELETE FROM audit WHERE seq > ?", last - 3)
    cut = verify()
    if cut.returncode == 0 and cut.stdout == before:
        won.append("a log that was cut off at its end looks whole")
    return Came(tried, f"what is sealed is refused with an alarm, the log's changes are found; as SECURITY.md admits: {', '.join(told) or 'nothing'}", won)


def mutations(t):
    """Requests that were good before a byte, a value or a member was changed, to all routes of all listeners."""
    t.run("merchant", "set", t.merchant, "--export", "true")
    pair = t.credential(scopes=FULL)
    key, count, rng = pair["api_key"], 20_000, random.Random(3)
    t.feed({**json.loads(line(0)), "card_no": "M0", "pan": PAN, "cvv": CVV, "name": HOLDER})
    t.start()
    access, token, seeds = t.login(key), t.token("M0", key), []
    card, stamp = t.card_id("M0"), str(int(time.time() * 1000))
    native, equals = {"authorization": f"Bearer {key}"}, {"authorization": f"ApiKey {key}"}
    for name, method, address, body in operations("M0", card, PERSONS[0]):
        headers = native if address.startswith("/v1") else equals
        if address.startswith("/open-api"):
            headers = {"api-key": key, "timestamp": stamp, "access-token": access}
        seeds.append((t.merchant_at, method, address, headers, body))
    wish = t.wish(token, fields=("pan", "name"))
    seeds += [(t.client_at, "POST", "/client/v1/redeem", t.frame(), wish)] * 6
    seeds += [(t.client_at, "POST", "/client/v1/events", t.frame(), {"redemption": "rdm_1", "token": token, "event": "displayed"})]
    seeds += [(t.client_at, "POST", "/client/v1/wallet/eligibility", t.frame(), {
        "token": token, "app": t.embed, "key": rotation.KEY, "wallet": "APPLE_PAY", "device_type": "WATCH", "device_id": "d"})]
    seeds += [(t.client_at, "GET", path, {}, None) for path in (
        f"/embed/{t.embed}?as=part&lang=de", f"/webview/{t.embed}", f"/client/v1/embeds/{t.embed}", "/sdk/v1/cardveil.js", "/sdk/v1/manifest.json")]
    seeds += [(t.admin_at, "GET", path, {}, None) for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/reference")]
    secrets = (key, pair["api_secret"], token, access, PAN, HOLDER)
    odd, statuses, lock = (b"\0", b"\xff", b"%00", b"%ff", b"{", b"[", b'"', b"\r", b"\n", b"..", b"/", b"-1", b"1e999", b"null", b"\xed\xa0\x80", b"a" * 300), {}, threading.Lock()
    won = []

    def mutated(data):
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            at, kind = rng.randrange(len(data)), rng.randrange(5)
            end = min(at + rng.choice((1, 2, 8, 40)), len(data))
            if kind == 0:
                data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1:]
            elif kind == 1:
                data = data[:at] + data[end:]
            elif kind == 2:
                data = data[:at] + data[at:end] * 2 + data[end:]
            elif kind == 3:
                data = data[:at] + rng.choice(odd) + data[at:]
            else:
                data = data[:at] + rng.choice(odd) + data[end:]
        return data

    def value(body):
        changed = json.loads(json.dumps(body))
        names = list(changed)
        if names:
            changed[rng.choice(names)] = rng.choice((None, 0, -1, 2**63, 1e308, "", "\u0000", "x" * 5000, [], {}, [[]] * 50, True, "\ud83d\ude00"))
        return json.dumps(changed).encode()

    def fuzz(n):
        for _ in range(count // 4):
            with lock:
                port, method, address, headers, body = rng.choice(seeds)
                if isinstance(body, dict) and rng.random() < 0.5:
                    data = request(method, address, headers, value(body))
                else:
                    data = mutated(request(method, address, headers, body))
            with Wire(port) as wire:
                wire.send(data)
                wire.socket.shutdown(socket.SHUT_WR)
                got = wire.rest()
            for status in re.findall(rb"^HTTP/1.1 (\d+)", got):
                statuses[int(status)] = statuses.get(int(status), 0) + 1
                if status.startswith(b"5") or b'"code":1001' in got:
                    won.append(f"{status.decode()} to {data[:200]}")
            if any(secret.encode() in got for secret in (pair["api_secret"], PAN, HOLDER)):
                won.append(f"a secret in the answer to {data[:200]}")

    together(fuzz, 4)
    seen(statuses.get(200, 0) > 500 and statuses.get(400, 0) > 500, "answers of all kinds")
    t.stop()
    said = t.log.read_text(errors="replace") + t.run("audit", "export").stdout + t.run("card", "list", "--merchant", t.merchant, "--json").stdout
    won += ["a secret in the log or a record" for secret in secrets if secret in said]
    won += ["an ERROR in the log" for entry in said.splitlines() if '"level":"ERROR"' in entry and "panick" in entry]
    spread = ", ".join(f"{number} of {status}" for status, number in sorted(statuses.items()))
    return Came(count, spread, won)

ATTACKS = {
    "memory": memory_and_debugger, "least-key": least_key, "bound-key": bound_key, "addresses": forged_addresses,
    "smuggling": smuggling, "forged-tokens": forged_tokens, "races": races, "restores": restores, "dumps": postgres_restores,
    "factors": second_factors, "files": files_and_terminals, "connections": connections, "lists": lists, "database": database,
    "mutations": mutations,
}


def main():
    won, asked = 0, os.environ.get("ONLY", ",".join(ATTACKS)).split(",")
    for name in asked:
        attack = ATTACKS[name]
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="cardveil-attack-") as folder:
            cluster, target = None, None
            try:
                if attack is postgres_restores:
                    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
                        print(f"{name}: skipped: there is no PostgreSQL here", flush=True)
                        continue
                    cluster = rotation.Cluster(folder)
                target = Target(folder, cluster=cluster)
                came = attack(target)
            finally:
                if target:
                    target.kill()
                if cluster:
                    cluster.stop()
        told = f"SUCCEEDED {len(came.won)}: {'; '.join(came.won[:5])}" if came.won else came.what
        print(f"{name}: {came.tried} tried: {told} ({time.monotonic() - begun:.0f} s)", flush=True)
        won += len(came.won)
    print(f"{len(asked)} attacks, {won} successes")
    return 1 if won else 0


if __name__ == "__main__":
    sys.exit(main())
