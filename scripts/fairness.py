#!/usr/bin/env python3
"""What one merchant's lists do to another merchant's issue and redeem (`make fairness`).

One merchant has CARDS cards, and 48 connections of one credential that reads lists; the other issues and redeems, one
call after the other, alone and beside each list. STORE=postgres says where, ATTACKS=search,far which, SECONDS how long
each. Counts as a failure: an issue or a redemption that is not answered, or whose median beside a list is more than
WORST times that alone. Two cores are enough: the lists' caller is a process of its own beside the server."""

import asyncio
import datetime
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import urllib.parse
from http.client import HTTPConnection

import rotation

CARDS = int(os.environ.get("CARDS", "100000"))
SECONDS = float(os.environ.get("SECONDS", "10"))
WORST = float(os.environ.get("WORST", "6"))
CONNECTIONS = 48
PERSON = "775596ae-2624-40af-a9dc-9756110a4a04"


def line(n, prefix):
    return json.dumps({
        "card_no": f"{prefix}{n}", "account_id": "F50091", "person_id": f"00000000-0000-4000-8000-{n:012}",
        "pan": "4111111111111111", "expiry": "12/2030", "name": "A CARDHOLDER", "label": f"Petrol {n}",
    })


class Fairness(rotation.Deployment):
    """The deployment's own merchant is the one that lists."""

    def __init__(self, folder, cluster):
        rotation.line, rotation.CARDS = (lambda n: line(n, "T")), CARDS
        super().__init__(folder, cluster)
        merchant = self.json("merchant", "add", "--name", "Victim", "--json")["id"]
        of = ("--merchant", merchant, "--json")
        self.victim_key = self.json("credential", "add", "--allow-ip", "127.0.0.1/32", *of)["api_key"]
        self.victim_embed = self.json("embed", "add", "--origin", "https://shop.example", *of)["id"]
        self.run("card", "import", "-", "--form", "jsonl", *of, given="\n".join(line(n, "V") for n in range(100)))


def attacks(d):
    """Each as method, path, headers that change with the time, body."""
    bearer = lambda: {"authorization": f"Bearer {d.api_key}"}
    now = lambda: str(int(time.time() * 1000))

    def login():
        connection = HTTPConnection("127.0.0.1", d.merchant_at)
        connection.request("GET", "/open-api/v1/merchant/token", headers={"api-key": d.api_key, "timestamp": now()})
        return json.load(connection.getresponse())["data"]["access_token"]

    access = login()
    keysecure = lambda: {"api-key": d.api_key, "timestamp": now(), "access-token": access}
    days = [datetime.date.today() + datetime.timedelta(days=by) for by in (-30, 2)]
    far = {"start_time": str(days[0]), "end_time": str(days[1]), "page": max(CARDS // 100 - 1, 0), "size": 100}
    equals = {"accountId": "F50091", "state": "TERMINATED", "search": "nowhere"}
    return {
        "search": ("GET", "/v1/cards?search=nowhere", bearer, b""),
        "far": ("POST", "/open-api/v1/card/list", keysecure, json.dumps(far).encode()),
        "filter": ("GET", "/v1/cards?state=failed", bearer, b""),
        "count": ("GET", "/v2/cards?" + urllib.parse.urlencode(equals), lambda: {"authorization": d.api_key}, b""),
    }


def attack(port, attack, seconds, told):
    told.put(asyncio.run(storm(port, attack, seconds)))


async def storm(port, attack, seconds):
    method, path, headers, body = attack
    answers, until = {}, time.monotonic() + seconds

    async def caller():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.monotonic() < until:
            head = {"host": "localhost", "content-type": "application/json", "content-length": len(body), **headers()}
            lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
            writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
            status = int((await reader.readline()).split()[1])
            length, line = 0, await reader.readline()
            while line.strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
                line = await reader.readline()
            text = await reader.readexactly(length)
            # KeySecure says it in the body.
            kept = 429 if b'"code":1009' in text else 500 if b'"code":1001' in text else status
            answers[kept] = answers.get(kept, 0) + 1
        writer.close()

    await asyncio.gather(*(caller() for _ in range(CONNECTIONS)))
    return answers


class Victim:
    def __init__(self, d):
        self.d, self.n = d, 0

    def measure(self, seconds):
        issue, redeem, failed, until = [], [], 0, time.monotonic() + seconds
        merchant, client = (HTTPConnection("127.0.0.1", port, timeout=30) for port in (self.d.merchant_at, self.d.client_at))
        while time.monotonic() < until:
            self.n += 1
            bearer = {"authorization": f"Bearer {self.d.victim_key}"}
            status, token = self.call(issue, merchant, "/v1/client-tokens", {"card_no": f"V{self.n % 100}"}, bearer)
            if status != 201:
                failed += 1
                continue
            attempt = f"00000000-0000-4000-8000-{self.n:012}"
            wish = {"token": token["token"], "embed": self.d.victim_embed, "key": rotation.KEY, "fields": ["pan"], "attempt": attempt}
            here = {"origin": f"http://127.0.0.1:{self.d.client_at}", "sec-fetch-site": "same-origin"}
            status, _ = self.call(redeem, client, "/client/v1/redeem", wish, here)
            failed += status != 200
        return issue, redeem, failed

    @staticmethod
    def call(times, connection, path, body, headers):
        begun = time.monotonic()
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **headers})
        answer = connection.getresponse()
        text = answer.read()
        times.append((time.monotonic() - begun) * 1000)
        return answer.status, json.loads(text)


def percentiles(times):
    if len(times) < 2:
        return times[0] if times else 0.0, times[0] if times else 0.0
    return statistics.median(times), statistics.quantiles(times, n=100)[98]


def row(name, alone, measured, answers, seconds):
    issue, redeem, failed = measured
    cells = [name]
    for times, before in ((issue, alone[0]), (redeem, alone[1])):
        p50, p99 = percentiles(times)
        cells += [f"{p50:.1f} / {p99:.1f}", f"{p50 / percentiles(before)[0]:.1f}"]
    told = ", ".join(f"{count / seconds:.0f} of {status}" for status, count in sorted(answers.items()))
    print(f"| {' | '.join(cells)} | {failed} of {len(issue) + len(redeem)} | {told} |", flush=True)
    return failed == 0 and all(
        percentiles(times)[0] <= WORST * percentiles(before)[0] for times, before in ((issue, alone[0]), (redeem, alone[1]))
    )


def measure(d):
    victim, fine = Victim(d), True
    victim.measure(2)
    alone = victim.measure(SECONDS)
    print("| beside | issue p50 / p99, ms | ratio | redeem p50 / p99, ms | ratio | not answered | lists a second |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    row("nobody", alone, alone, {}, SECONDS)
    asked = attacks(d)
    for name in os.environ.get("ATTACKS", ",".join(asked)).split(","):
        told = multiprocessing.Queue()
        storm = multiprocessing.Process(target=attack, args=(d.merchant_at, asked[name], SECONDS + 2, told))
        # Its headers are made by functions, which a forked process has.
        storm.start()
        time.sleep(1)
        measured = victim.measure(SECONDS)
        answers = told.get(timeout=60)
        storm.join()
        fine = row(name, alone, measured, answers, SECONDS + 2) and fine
    return fine


def main():
    with tempfile.TemporaryDirectory(prefix="cardveil-fairness-") as folder:
        cluster = rotation.Cluster(folder) if rotation.STORE == "postgres" else None
        try:
            d = Fairness(folder, cluster)
            d.start()
            try:
                print(f"{CARDS} cards in {rotation.STORE}")
                return 0 if measure(d) else 1
            finally:
                d.server.kill()
        finally:
            if cluster:
                cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
