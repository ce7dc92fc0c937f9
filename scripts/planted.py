#!/usr/bin/env python3
"""Plants bugs in a copy of the tree, one after the other, and runs what must find them: for each promise
(P1 to P11 of README.md) the tests, and for what only goes wrong between processes the checker, which kills,
stops and restores the program that has the bug. A test counts that fails twice with the bug and passes without it.
A bug that is not found, or that does not compile, fails the run. `make planted`; `scripts/planted.py NAME...` runs some of them, and `--places` looks whether each can still be
planted. The bugs are in planted_bugs.py."""

import functools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from planted_bugs import IN_PROCESSES, IN_TESTS

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "target/planted/tree"
BUILD = ROOT / "target/planted/build"
# With each of them the checker must find it: every time.
SEEDS = (1, 2, 3)
ENOUGH = ["--redemptions", "1500", "--kills", "8", "--restores", "2"]
# The tests of a bug take seconds.
TESTS_S_MAX = 900


def run(*command, **options):
    return subprocess.run(command, text=True, capture_output=True, **options)


def copy_tree():
    """A worktree of what is committed; its own target folder, kept between bugs."""
    if not TREE.exists():
        TREE.parent.mkdir(parents=True, exist_ok=True)
        run("git", "worktree", "prune", cwd=ROOT)
        run("git", "worktree", "add", "--detach", str(TREE), cwd=ROOT, check=True)
    run("git", "checkout", "--force", "--detach", "HEAD", cwd=TREE, check=True)
    head = run("git", "rev-parse", "HEAD", cwd=ROOT, check=True).stdout.strip()
    run("git", "checkout", "--force", "--detach", head, cwd=TREE, check=True)


def cargo(verb, *args, limit=None):
    """Its code, none when it has not ended in so many seconds, and what it said."""
    process = subprocess.Popen(
        ["cargo", verb, "--locked", "--quiet", *args],
        cwd=TREE,
        env=dict(os.environ, CARGO_TARGET_DIR=str(BUILD)),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=limit)
        return process.returncode, said
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        if process.poll() is None:
            # With the tests that it has started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def planted(name, edits):
    """What there was before, by file; nothing when a place has changed."""
    texts = {TREE / file: (TREE / file).read_text() for file, _, _ in edits}
    for file, stands, bug in edits:
        text = (TREE / file).read_text()
        if text.count(stands) != 1:
            print(f"STALE   {name}: its place in {file} has changed")
            give_back(texts)
            return None
        (TREE / file).write_text(text.replace(stands, bug))
    return texts


def give_back(texts):
    for path, text in texts.items():
        path.write_text(text)


def failing(tests, names=()):
    """The tests that fail, all or of these names, and what the run said. One that does not end has found nothing."""
    code, said = cargo("test", *tests, *(["--", "--exact", *names] if names else []), limit=TESTS_S_MAX)
    if code is None:
        return set(), f"a test did not end in {TESTS_S_MAX} s"
    return set(re.findall(r"^---- (\S+) stdout ----$", said, re.MULTILINE)), said


@functools.cache
def failing_anyway(tests):
    """Those that fail on the tree as it is."""
    return failing(tests)[0]


def found_by_tests(tests, anyway):
    """A test must fail, and not only the run, and fail again: one that fails now and then has found nothing."""
    failed, said = failing(tests)
    if fresh := sorted(failed - anyway):
        failed, said = failing(tests, fresh)
        return bool(failed), ", ".join(sorted(failed)) or f"fail now and then: {', '.join(fresh)}"
    return False, said[-500:].strip()


def found_by_checker(store):
    """It must say so, and not that it could not run; tells by what."""
    violations = set()
    for seed in SEEDS:
        command = [BUILD / "debug/cardveil-verify", "--binary", BUILD / "debug/cardveil", "--store", store, *ENOUGH]
        said = run(*map(str, command), "--seed", str(seed), cwd=TREE)
        if "the promises do not hold" not in said.stderr:
            return False, f"seed {seed}: {said.stderr.strip()[:300]}"
        violations.update(re.findall(r"^  (\w+) of ", said.stdout, re.MULTILINE))
    return True, ", ".join(sorted(violations))


def caught(name, edits, build, where):
    """`where` are the tests that must find it, or the store on which the checker must."""
    anyway = failing_anyway(where) if isinstance(where, tuple) else None
    texts = planted(name, edits)
    if texts is None:
        return False
    try:
        code, said = cargo(*build)
        if code != 0:
            print(f"BROKEN  {name}: it does not compile\n{said[-2000:]}")
            return False
        found, how = found_by_checker(where) if anyway is None else found_by_tests(where, anyway)
        print(f"{'caught' if found else 'MISSED'}  {name}{how and ': '}{how}", flush=True)
        return found
    finally:
        give_back(texts)


def lost(name, edits):
    """The places of a bug that do not stand in the tree, once each."""
    texts = [(file, stands, (ROOT / file).read_text()) for file, stands, _ in edits]
    return [f"{name}: {file}: {stands}" for file, stands, text in texts if text.count(stands) != 1]


def main():
    bugs = {
        name: ([(file, stands, bug)], ["test", *tests[:2], "--no-run"], tuple(tests))
        for name, file, stands, bug, tests in IN_TESTS
    }
    both = ["build", "-p", "cardveil", "-p", "cardveil-verify"]
    for name, store, edits in IN_PROCESSES:
        bugs[name] = (edits, both, store)
    if sys.argv[1:] == ["--places"]:
        found = [line for name, (edits, *_) in bugs.items() for line in lost(name, edits)]
        return "\n".join(found) if found else 0
    copy_tree()
    chosen = sys.argv[1:] or list(bugs)
    unknown = [name for name in chosen if name not in bugs]
    if unknown:
        sys.exit(f"no such bug: {' '.join(unknown)}")
    results = [caught(name, *bugs[name]) for name in chosen]
    print(f"{sum(results)} caught, {len(results) - sum(results)} not")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
