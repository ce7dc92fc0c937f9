"""syslog-ng with the lines of docs/operate/sinks.md, and promtool."""

import json
import subprocess
import time
import urllib.request

import rotation
from .beside import Certificates, Issuer, Process, Skipped, block, version, with_ours

PROGRAM = "/usr/sbin/syslog-ng"


class Receiver(Process):
    """One source for octet counting over TLS, one for lines over TCP."""

    def __init__(self, folder, certificates):
        counted, lines = rotation.free_ports(2)
        settings = folder / "syslog-ng.conf"
        settings.write_text(with_ours(
            block("operate/sinks.md", "source s_counted"), ('ip("10.0.0.9") port(6514)', f'ip("127.0.0.1") port({counted})'),
            ('ip("10.0.0.9") port(601)', f'ip("127.0.0.1") port({lines})'), ("/etc/syslog-ng/siem.pem", certificates.certificate),
            ("/etc/syslog-ng/siem.key", certificates.key), ("/var/log/", f"{folder}/"),
        ))
        command = [PROGRAM, "-F", "--no-caps", "-f", settings]
        command += ["-R", folder / "persist", "-p", folder / "pid", "-c", folder / "ctl"]
        super().__init__(command, folder / "syslog-ng.log", ("127.0.0.1", lines))
        self.sinks = {
            "counted": (folder / "cardveil-audit.jsonl", f'syslog = "tls://localhost:{counted}"\nca = "{certificates.ca}"\n'),
            "lines": (folder / "cardveil-audit-lines.jsonl", f'syslog = "tcp://127.0.0.1:{lines}"\nframing = "newline"\n'),
        }


def syslog_ng(folder):
    receiver = Receiver(folder, Certificates(folder, ("DNS:localhost", "IP:127.0.0.1")))
    d = Issuer(folder)
    before = d.config.read_text()
    knows = "framing" not in with_sinks(d, receiver.sinks, before).stderr
    tried = dict(receiver.sinks) if knows else {"counted": receiver.sinks["counted"]}
    assert with_sinks(d, tried, before).returncode == 0
    try:
        with receiver:
            d.start()
            issue(d, 100)
            caught_up(d, tried)
            same(d, tried)
            receiver.end()
            taken = places(d)
            issue(d, 100)
            # Longer than a try, its pause and the next.
            time.sleep(12)
            assert places(d) == taken, f"taken by nobody: {taken}, {places(d)}"
            assert all(sink["lag_entries"] >= 200 for sink in sinks(d)), sinks(d)
        with receiver:
            caught_up(d, tried)
            issue(d, 20)
            caught_up(d, tried)
            entries = same(d, tried)
    finally:
        d.kill()
    if not knows:
        raise Skipped(f'this binary knows no `framing`; with octet counting alone all {entries} entries came once, byte by byte')
    return version(PROGRAM, "--version"), (
        f'octet counting over TLS and framing = "newline" over TCP: each of {entries} entries once, byte by byte; stopped for '
        "12 s with 200 entries waiting: none counted as taken, none lost"
    )


def with_sinks(d, tried, before):
    tables = (f'\n[[audit.sink]]\nname = "{name}"\n{lines}required = true\n' for name, (_, lines) in tried.items())
    d.config.write_text(before + "".join(tables))
    return d.run("audit", "sink", "list", "--json", fails=None)


def sinks(d):
    return json.loads(d.run("audit", "sink", "list", "--json").stdout)


def places(d):
    return {sink["name"]: sink["place"] for sink in sinks(d)}


def issue(d, count):
    for _ in range(count):
        status, token = d.issue(d.merchant_api())
        assert status == 201, status
        assert d.redeem(d.client_api(), token)[0] == 200


def caught_up(d, tried):
    until = time.monotonic() + 60
    while any(sink["lag_entries"] for sink in sinks(d)):
        assert time.monotonic() < until, sinks(d)
        time.sleep(0.2)


def same(d, tried):
    """What was received is the log, line by line. It is read first: the log may have grown since, by an entry or two."""
    received = {name: path.read_text().splitlines() for name, (path, _) in tried.items()}
    export = d.run("audit", "export").stdout.splitlines()
    for name, lines in received.items():
        assert 0 <= len(export) - len(lines) <= 2, f"{name}: {len(lines)} of {len(export)}"
        wrong = next((pair for pair in zip(lines, export) if pair[0] != pair[1]), None)
        assert not wrong, f"{name}: {wrong}"
    return len(export)


def promtool(folder):
    d = Issuer(folder)
    try:
        d.start()
        issue(d, 5)
        with urllib.request.urlopen(f"http://127.0.0.1:{d.admin_at}/metrics") as answer:
            figures = answer.read()
    finally:
        d.kill()
    checked = subprocess.run(["promtool", "check", "metrics"], input=figures, capture_output=True)
    assert checked.returncode == 0 and not checked.stdout + checked.stderr, (checked.stdout + checked.stderr).decode()
    return version("promtool", "--version"), f"{figures.count(b'# HELP')} families, nothing to complain about"
