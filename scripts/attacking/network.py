"""Attacks by bytes on the wire: addresses, smuggled requests, connections, lists."""

import re
import resource
import socket
import threading
import time
from pathlib import Path

from .target import CARDS, Came, line, seen, together
from .wire import Wire


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
    seen(statuses.get(200), "lists that are answered")
    if len(shown) < 8:
        won.append(f"{len(shown)} shown in 8 s")
    spread = ", ".join(f"{number} of {status}" for status, number in sorted(statuses.items()))
    return Came(sum(statuses.values()), f"lists: {spread}; meanwhile {len(shown)} of {len(shown)} cards were shown", won)
