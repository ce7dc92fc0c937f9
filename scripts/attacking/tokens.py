"""Attacks on client tokens: forged, raced for, un-spent by a restore."""

import random
import sqlite3
import subprocess
import threading

from .altered import database
from .target import Came, seen, together
from .wire import Wire, forged, keys, request


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
