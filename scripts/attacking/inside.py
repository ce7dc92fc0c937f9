"""Attacks from the same machine: memory, a debugger, files, terminals."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import rotation
from .target import CVV, Came, FULL, HOLDER, PAN, PERSONS, PIN, line, seen
from .wire import Wire, keys, memory, once, request, shapes, totp


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
    no_text = ("person_id", "pan", "expiry", "card_id", "type", "state", "cvv")
    page = Path("docs/operate/import.md").read_text()
    texts = [column for column in re.findall(r"^\| `(\w+)` \|", page, re.M) if column not in no_text]
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
    # Whoever writes the database passes by all checks of texts, and an operator may take the rows as they are.
    with t.sql() as database:
        database.execute("UPDATE card SET label = ?1 WHERE no = 'C1'", [ESCAPE])
        database.execute("UPDATE merchant SET name = ?1 WHERE id = ?2", [ESCAPE, t.other])
    (card,) = t.sql().execute("SELECT id FROM card WHERE no = 'C1'").fetchone()
    for row in (("card", str(uuid.UUID(bytes=card))), ("merchant", t.other)):
        t.run("audit", "accept", *row, "--yes")
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
