"""Attacks by altering: rows of the database, and requests that were good."""

import json
import random
import re
import socket
import sqlite3
import subprocess
import threading
import time

import rotation
from .callers import operations
from .target import CVV, Came, FULL, HOLDER, PAN, PERSONS, line, seen, together
from .wire import Wire, keys, request, sha256


def database(t):
    """A hand in the database while the server runs."""
    t.start()
    for flag in ("--export", "--read-pins", "--set-pins"):
        t.run("merchant", "set", t.merchant, flag, "true")
    won, holders, tried = [], keys(3), 0

    def write(statement, *values):
        nonlocal tried
        tried += 1
        with t.sql() as live:
            live.execute(statement, values)

    def tampered():
        return t.run("audit", "export").stdout.count("vault.tampered")

    def alarmed(before):
        """The server puts what it found on record within five seconds."""
        until = time.monotonic() + 20
        while tampered() == before and time.monotonic() < until:
            time.sleep(0.5)
        return tampered() > before

    def refused(what, happens):
        if happens:
            won.append(what)
        elif not alarmed(before):
            won.append(f"{what}: no alarm")

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
    before = tampered()
    refused("a token un-spent by its row", t.redeem(token, key=holders[1]).status == 200)
    rights = t.sql().execute("SELECT id, rights FROM credential").fetchall()
    card = t.card_id("C3")
    write("UPDATE credential SET rights = ?", '["cards:read:any","cards:write:any"]')
    before = tampered()
    refused("rights raised by a credential's row", t.native("PATCH", f"/v1/cards/{card}", {"label": "Mine"}).status == 200)
    for credential, was in rights:
        write("UPDATE credential SET rights = ? WHERE id = ?", was, credential)
    before, spare = tampered(), t.token("C4")
    for statement in ("no = 'swap' WHERE no = 'C4'", "no = 'C4' WHERE no = 'C5'", "no = 'C5' WHERE no = 'swap'"):
        write(f"UPDATE card SET {statement}")
    refused("order numbers swapped", t.redeem(spare).status == 200)

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
    row = t.sql().execute("SELECT event, chain_hash, personal FROM audit WHERE seq = 20").fetchone()
    last = t.sql().execute("SELECT max(seq) FROM audit").fetchone()[0]
    changes = (
        ("an altered entry", "UPDATE audit SET event = replace(event, 'success', 'refused') WHERE seq = 20", "UPDATE audit SET event = ?1, chain_hash = ?2, personal = ?3 WHERE seq = 20"),
        ("a removed entry", "DELETE FROM audit WHERE seq = 20", "INSERT INTO audit (seq, event, chain_hash, personal) VALUES (20, ?1, ?2, ?3)"),
        ("two entries changed over", "UPDATE audit SET event = (SELECT event FROM audit WHERE seq = 21) WHERE seq = 20", "UPDATE audit SET event = ?1, chain_hash = ?2, personal = ?3 WHERE seq = 20"),
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
    return Came(tried, "all is refused with an alarm, the log's changes are found", won)


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
