#!/usr/bin/env python3
"""Conformance: strangers' tools against a running demo.

A client that a public generator makes from an API description is used for real, and Schemathesis
runs with all its checks. The descriptions are our own, and with `--fragment FILE` Equals Money's
published one of the access-token operation: nothing in it is changed but the server's address.

    scripts/conformance/run.py [--secs 20] [--fragment FILE]
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
import venv
from pathlib import Path

import generators

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CONFIGURATION = HERE / "schemathesis.toml"
TOOLS = ROOT / ".tools/conformance"
PACKAGES = ["schemathesis==4.32.5", "openapi-python-client==0.29.1", *generators.PACKAGES]
PINNED = [*PACKAGES, *generators.LINTERS]
# A listener, the key of its address, and the paths that are its own.
LISTENERS = [
    ("merchant, KeySecure", "merchant_url", "^/open-api/", None),
    ("merchant, Equals Money", "merchant_url", "^/v2/", "ApiKey"),
    ("merchant, native", "merchant_url", "^/v1/", "Bearer"),
    ("client", "client_url", "^/(client|embed|sdk)/", None),
    ("admin", "admin_url", "^/(healthz|readyz|metrics|openapi|reference)", None),
]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--secs", type=int, default=20, help="for each description")
    arguments.add_argument("--fragment", type=Path, help="Equals Money's published description")
    arguments.add_argument("--binary", default=os.environ.get("CARDVEIL_BIN", ROOT / "target/release/cardveil"))
    asked = arguments.parse_args()
    tools = install()
    with tempfile.TemporaryDirectory(prefix="cardveil-conformance-") as work:
        with Demo(asked.binary, Path(work)) as demo:
            failed = run_all(tools, demo, Path(work), asked)
    if failed:
        sys.exit(f"not conformant: {', '.join(failed)}")
    print("conformant")


def install():
    """A folder with the tools, made once for these versions."""
    stamp = TOOLS / "installed"
    if not stamp.exists() or stamp.read_text() != "\n".join(PINNED):
        shutil.rmtree(TOOLS, ignore_errors=True)
        venv.create(TOOLS, with_pip=True)
        subprocess.run([TOOLS / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES], check=True)
        npm = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", TOOLS / "node", *generators.LINTERS]
        subprocess.run(npm, check=True)
        stamp.write_text("\n".join(PINNED))
    return TOOLS / "bin"


class Demo:
    """A demo on free ports, which ends with the block."""

    def __init__(self, binary, work):
        self.binary, self.log = binary, work / "demo.log"

    def __enter__(self):
        command = [self.binary, "demo", "--json", "--port-base", str(free_ports())]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log.open("w"), text=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the demo did not start:\n{self.log.read_text()}")
        return json.loads(line)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)


def free_ports():
    for base in range(7900, 9900, 40):
        try:
            for offset in (0, 10, 20, 30):
                with socket.socket() as taken:
                    taken.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
    sys.exit("no free ports")


def run_all(tools, demo, work, asked):
    """What failed. The clients come first: the others leave cards in whatever state."""
    failed = []
    ours = ROOT / "docs/openapi.json"
    if not generated_client(tools, demo, work, ours, demo["merchant_url"]):
        failed.append("generated client")
    failed += generators.check(tools, TOOLS / "node/node_modules/.bin", demo, work, ours)
    if asked.fragment:
        fragment, server = readdressed(asked.fragment, demo, work)
        if not generated_client(tools, demo, work, fragment, server):
            failed.append("client generated from the published description")
        authorization = ["-H", f"Authorization: ApiKey {demo['equals_api_key']}"]
        # It lists no status but 200. So all checks, with every request that can be answered so: for a card that is there.
        known = with_parameters(work, demo["cards"][0])
        options = ["--mode", "positive", *authorization]
        if not schemathesis(tools, demo, work, fragment, server, asked.secs, options, known):
            failed.append("published description, for a card that is there")
        # And with wrong requests: every refusal is one that it does not list, so that check is left out.
        options = ["--exclude-checks", "status_code_conformance", *authorization]
        if not schemathesis(tools, demo, work, fragment, server, asked.secs, options):
            failed.append("published description")
    if not metrics(demo["admin_url"]):
        failed.append("metrics")
    for name, address, paths, scheme in LISTENERS:
        headers = [] if scheme is None else ["-H", f"Authorization: {scheme} {demo['equals_api_key']}"]
        if not schemathesis(tools, demo, work, ours, demo[address], asked.secs, ["--include-path-regex", paths, *headers]):
            failed.append(name)
    return failed


def metrics(admin_url):
    """Whether promtool has nothing to say of the figures."""
    print("== promtool check metrics", flush=True)
    with urllib.request.urlopen(admin_url + "/metrics") as answer:
        checked = subprocess.run(["promtool", "check", "metrics"], input=answer.read())
    return checked.returncode == 0


def readdressed(fragment, demo, work):
    """The published description with the demo's address in place of its servers'."""
    server = demo["merchant_url"] + "/v2"
    text = fragment.read_text()
    if "````yaml" in text:
        text = text.split("````yaml", 1)[1].split("\n", 1)[1].split("````", 1)[0]
    path = work / "fragment.yaml"
    path.write_text(re.sub(r"https://api(-sandbox)?\.equalsmoney\.com/v2", server, text))
    return path, server


def with_parameters(work, card):
    """The configuration, with a card that the demo has in place of made-up ones."""
    known = {"path.cardId": "card_id", "query.accountId": "account_id", "query.personId": "person_id"}
    lines = [f'"{name}" = "{card[key]}"' for name, key in known.items()]
    path = work / "known.toml"
    path.write_text("\n".join(["[parameters]", *lines, "", CONFIGURATION.read_text()]))
    return path


def schemathesis(tools, demo, work, document, url, secs, options, configuration=CONFIGURATION):
    print(f"== schemathesis: {document.name} {' '.join(options[:2])}", flush=True)
    command = [
        tools / "schemathesis", "--config-file", configuration, "run", document, "--url", url,
        "--continue-on-failure", "--max-time", str(secs), "--seed", "1", *options,
    ]
    environment = {
        **os.environ, "CARDVEIL_DEMO": json.dumps(demo), "PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "hooks",
    }
    return subprocess.run(command, cwd=work, env=environment).returncode == 0


USE = """
import sys
from importlib import import_module
from uuid import UUID

package, server, key, card, account, person = sys.argv[1:]
client = import_module(package + ".client")
call = import_module(package + ".api.%s.get_client_token" % sys.argv[0].split("=")[1])
authorized = client.AuthenticatedClient(base_url=server, token=key, prefix="ApiKey")
answer = call.sync_detailed(UUID(card), client=authorized, account_id=account, person_id=UUID(person))
assert answer.status_code == 200, answer
assert answer.parsed.token.startswith("cvt_test_"), answer
bare = client.AuthenticatedClient(base_url=server, token=key, prefix="")
again = call.sync_detailed(UUID(card), client=bare, account_id=account)
assert again.parsed.token != answer.parsed.token, again
unknown = call.sync_detailed(UUID(int=1), client=authorized, account_id=account)
assert unknown.status_code == 404, unknown
"""


def generated_client(tools, demo, work, document, server):
    """Generates a client, and asks for tokens with it as a partner's server would."""
    print(f"== a client generated from {document.name}", flush=True)
    out = work / f"client-{document.stem}"
    made = subprocess.run(
        [tools / "openapi-python-client", "generate", "--path", document, "--output-path", out],
        cwd=work, capture_output=True, text=True,
    )
    calls = list(out.glob("*/api/*/get_client_token.py"))
    if len(calls) != 1:
        print(made.stdout, made.stderr)
        return False
    package, tag = calls[0].parts[-4], calls[0].parts[-2]
    card = demo["cards"][0]
    script = USE.replace('sys.argv[0].split("=")[1]', repr(tag))
    used = subprocess.run(
        [tools / "python", "-c", script, package, server, demo["equals_api_key"],
         card["card_id"], card["account_id"], card["person_id"]],
        cwd=out,
    )
    return used.returncode == 0


if __name__ == "__main__":
    main()
