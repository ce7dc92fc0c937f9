#!/usr/bin/env python3
"""What the comparison of all rows that decide costs beside a load (`make comparison`).

CARDS cards, STORE=postgres says where. READERS cardholders look at cards, one after the other, until the comparison has
gone through all rows ROUNDS times. It rests after each time: what the load reaches while it rests is what it reaches
without. Prints how long it took, and the load's rate with and without."""

import os
import statistics
import sys
import tempfile
import time
import urllib.request

import rotation

CARDS = int(os.environ.get("CARDS", "100000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
READERS = int(os.environ.get("READERS", "4"))


def compared(d):
    with urllib.request.urlopen(f"http://127.0.0.1:{d.admin_at}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    (count,) = [line.split()[1] for line in lines if line.startswith("cardveil_rows_compared_total ")]
    return int(count)


def watch(d):
    """By seconds: how many rows were compared in each, and how many cards were shown."""
    load = rotation.Load(d, READERS)
    seconds, rounds, count, seen = [], 0, compared(d), load.shown
    while rounds < ROUNDS:
        time.sleep(1)
        before, count, seen_before, seen = count, compared(d), seen, load.shown
        seconds.append((count - before, seen - seen_before))
        # It rests for twenty seconds.
        rounds += [rows > 0 for rows, _ in seconds[-16:]] == [True] + 15 * [False]
    load.end()
    return seconds


def rates(seconds):
    """Cards shown a second while it compares and while it rests, and how long each round took. What a second is
    that follows or precedes one of the other kind is not known."""
    shown, rounds, lasts = {True: [], False: []}, [], 0
    for (before, _), (rows, cards), (after, _) in zip(seconds, seconds[1:], seconds[2:]):
        if (before > 0) == (rows > 0) == (after > 0):
            shown[rows > 0].append(cards)
        lasts += rows > 0
        if lasts and not rows and not after:
            rounds.append(lasts)
            lasts = 0
    return statistics.mean(shown[True]), statistics.mean(shown[False]), rounds


def main():
    rotation.CARDS = CARDS
    with tempfile.TemporaryDirectory(prefix="cardveil-comparison-") as folder:
        cluster = rotation.Cluster(folder) if rotation.STORE == "postgres" else None
        try:
            d = rotation.Deployment(folder, cluster)
            d.start()
            try:
                beside, alone, rounds = rates(watch(d))
            finally:
                d.server.kill()
        finally:
            if cluster:
                cluster.stop()
    print(f"{CARDS} cards in {rotation.STORE}: gone through in {rounds} s")
    print(f"{beside:.0f} cards shown a second beside it, {alone:.0f} while it rests: {100 * (1 - beside / alone):.1f} % less")


if __name__ == "__main__":
    sys.exit(main())
