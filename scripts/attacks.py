#!/usr/bin/env python3
"""Attacks the finished binary as a penetration tester would: one who has the binary, a debugger, a proxy, and a stolen
key of low privilege (`make attacks`; what came by hand is in docs/reports/attacks.md).

One line an attack: its name, how much was tried, what came. It ends with 1 when one succeeds. So that it can fail, each
first sees what it looks for where that is. ONLY=memory,least says which."""

import os
import sys
import tempfile
import time
from pathlib import Path

import rotation
from attacking.altered import database, mutations
from attacking.callers import bound_key, least_key, second_factors
from attacking.inside import files_and_terminals, memory_and_debugger
from attacking.network import connections, forged_addresses, lists, smuggling
from attacking.target import Target
from attacking.tokens import forged_tokens, postgres_restores, races, restores

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
