#!/usr/bin/env python3
"""Real neighbours, from packages, with the settings that the docs show (`make neighbours`; docs/reports/neighbours.md).

Nothing in the docs' lines is changed but ports, paths, addresses and certificates, so a page that is wrong fails here.
One line for each: its version, what was done, what came. It ends with 1 when one fails. ONLY=nginx,patroni says which."""

import os
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from neighbouring.beside import Skipped
from neighbouring.failover import patroni
from neighbouring.generators import openapi
from neighbouring.poolers import pgbouncer
from neighbouring.proxies import haproxy, nginx
from neighbouring.receivers import promtool, syslog_ng

NEIGHBOURS = {
    "nginx": nginx, "haproxy": haproxy, "pgbouncer": pgbouncer, "syslog-ng": syslog_ng, "patroni": patroni, "promtool": promtool,
    "openapi": openapi,
}


def main():
    subprocess.run([Path(__file__).parent / "neighbouring/install.sh"], check=True)
    failed, skipped, asked = [], [], os.environ.get("ONLY", ",".join(NEIGHBOURS)).split(",")
    for name in asked:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="cardveil-neighbour-") as folder:
            # Some of them do not run as root.
            os.chmod(folder, 0o711)
            try:
                version, told = NEIGHBOURS[name](Path(folder))
            except Skipped as why:
                skipped.append(name)
                version, told = "skipped", str(why)
            except Exception:
                failed.append(name)
                version, told = "FAILED", traceback.format_exc()
        print(f"{name} {version}: {told} ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"{len(asked)} neighbours, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
