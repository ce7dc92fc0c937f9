"""What a tester has in hand for `scripts/attacks.py`: bytes on a socket, keys, codes, a look at a process's memory."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import struct
import time
import zlib
from pathlib import Path


class Wire:
    """A connection that says what it is told to, byte for byte, and reads answers."""

    def __init__(self, port, source=None, tls=False, timeout=30):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout, (source, 0) if source else None)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket)
        self.read = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            # It was refused before it was whole; its answer may be there.
            pass
        return self

    def more(self):
        try:
            piece = self.socket.recv(65536)
        except OSError:
            piece = b""
        self.read += piece
        return piece

    def answer(self):
        """Of one response: status, head and body; None when the connection ended before."""
        while b"\r\n\r\n" not in self.read:
            if not self.more():
                return None
        head, _, rest = self.read.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = [line.split(": ", 1) for line in lines[1:]]
        length = next((int(value) for name, value in fields if name.lower() == "content-length"), 0)
        while len(rest) < length:
            self.read = b""
            if not self.more():
                return None
            rest += self.read
        self.read = rest[length:]
        return Answer(int(lines[0].split()[1]), fields, rest[:length])

    def call(self, method, path, headers=None, body=None):
        return self.send(request(method, path, headers, body)).answer()

    def rest(self):
        """All that comes until the other side ends it."""
        while self.more():
            pass
        return self.read


class Answer:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body

    def json(self):
        return json.loads(self.body)

    def code(self):
        try:
            return self.json().get("code")
        except (ValueError, AttributeError):
            return None

    def told(self):
        """What a caller can tell two answers apart by, but for chance and time."""
        fields = sorted(name for name, _ in self.fields)
        text = self.body
        for name, value in self.fields:
            if name.lower() == "x-request-id":
                text = text.replace(value.encode(), b"ID")
        return self.status, fields, text


def request(method, path, headers=None, body=None):
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    fields = {"host": "localhost", **({} if body is None else {"content-type": "application/json", "content-length": len(body)})}
    fields.update(headers or {})
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + (body or b"")


def once(port, method, path, headers=None, body=None, source=None):
    with Wire(port, source) as wire:
        return wire.call(method, path, headers, body)


# NIST P-256 (SP 800-186 3.2.1.3): public keys are all that a redemption needs.
P = 2**256 - 2**224 + 2**192 + 2**96 - 1
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)


def keys(count):
    """Public keys, no two the same: G, 2 G, 3 G and so on."""
    point, made = G, []
    for _ in range(count):
        x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in point)
        made.append({"kty": "EC", "crv": "P-256", "x": x, "y": y})
        point = add(point, G)
    return made


def add(a, b):
    if a == b:
        slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def totp(secret, at=None):
    """RFC 6238, as apps make it."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    mac = hmac.digest(key, struct.pack(">Q", int((at or time.time()) / 30)), "sha1")
    return f"{(struct.unpack('>I', mac[mac[19] & 15:][:4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def forged(rng, prefix="cvt_test_", body=None):
    """A token of the right public form (docs/reference/protocol.md): key version 1, epoch 1, now, chance, and a right checksum."""
    if body is None:
        now = int(time.time() * 1000)
        raw = struct.pack(">II", 1, 1) + now.to_bytes(6, "big") + rng.randbytes(42)
        body = "".join(base62(int.from_bytes(raw[at:at + 8], "big"), 11) for at in range(0, 56, 8))
    text = prefix + body
    return text + base62(zlib.crc32(text.encode()), 6)


def base62(number, length):
    text = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        text = DIGITS[digit] + text
    return text


def memory(pid):
    """The pages of a process that it could have written to, as (mapping, bytes); see proc(5)."""
    with open(f"/proc/{pid}/mem", "rb", 0) as mem, open(f"/proc/{pid}/pagemap", "rb", 0) as pages:
        for mapping in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = mapping.split()[:2]
            if not rights.startswith("rw"):
                continue
            start, end = (int(text, 16) for text in span.split("-"))
            try:
                pages.seek(start // 4096 * 8)
                there = pages.read((end - start) // 4096 * 8)
                at = start
                for _, run in runs(there):
                    if run[0]:
                        mem.seek(at)
                        yield f"{at:x} {mapping.split()[-1]}", mem.read(run[1] * 4096)
                    at += run[1] * 4096
            except OSError:
                continue


def runs(entries):
    """Neighbouring pages that are there (bit 63), and those that are not."""
    at, present = 0, [entry & 0x80 for entry in entries[7::8]]
    while at < len(present):
        end = at
        while end < len(present) and present[end] == present[at]:
            end += 1
        yield at, (bool(present[at]), end - at)
        at = end


def shapes(text):
    """How a text may lie in memory."""
    found = {text.encode(), text.encode("utf-16-le"), text.encode("utf-16-be")}
    found |= {base64.b64encode(text.encode()).rstrip(b"="), text.encode().hex().encode()}
    if text.isdigit() and len(text) >= 12:
        even = text if len(text) % 2 == 0 else text + "f"
        found |= {bytes.fromhex(even), bytes(int(digit) for digit in text)}
        found |= {struct.pack("<Q", int(text)), struct.pack(">Q", int(text))}
        found |= {" ".join(text[at:at + 4] for at in range(0, len(text), 4)).encode()}
    return found


def sha256(text):
    return hashlib.sha256(text.encode()).digest()
