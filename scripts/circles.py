#!/usr/bin/env python3
"""Checks that the folders of each crate form no circle, and that no import runs up. A folder is a module of
the crate's root; a single file there counts as one, and so does the root itself. What counts is every path
that begins with `crate::` or `super::` outside of tests; `pub use` in the root only shows what stands in a folder."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# False: what is wrong is told and fails nothing.
ENFORCED = {
    "seal": True,
    "core": True,
    "store": True,
    "testkit": True,
    "server": True,
    "cli": True,
}

# From the bottom up; those in one pair of brackets do not know each other. Where a crate has an order, each of
# its folders stands in it.
LAYERS = {
    "core": [
        "clock", "term", "id", "text", "audit", "budget", "mfa", "card", "wallet", "merchant",
        "token", "hook", "keys", "vault", "port", "verb", "flow",
    ],
    "server": [
        "http", ("api", "workers"), ("admin", "client", "equals", "keysecure", "native"), "mount",
    ],
    "cli": ["print", "deployment", "running", "command"],
}  # fmt: skip

# Imports that may stand: crate, then (from, to): the reason. At most three a crate.
EXCEPTIONS = {}
EXCEPTIONS_MAX = 3

TESTS = re.compile(r"^#\[cfg\(test\)\]\n(?:#\[[^\n]*\n)*(?:pub(?:\([^)]*\))? )?mod (\w+)( \{|;)", re.M)
INLINE = re.compile(r"^(?:pub(?:\([^)]*\))? )?mod \w+ \{$", re.M)
USE = re.compile(r"^[ ]*(pub(?:\([^)]*\))? )?use ([^;]+);", re.M)
PATH = re.compile(r"\b(crate|(?:super::)*super)::(\w+)(?:::(\w+))?")


def without_tests(text):
    """The text without comments, test modules and what a `cfg(test)` names in another file; lines stay where they are."""
    text = re.sub(r"(?m)^[ \t]*//.*$|(?<=[ \t])// .*$", "", text)
    files = set()
    for found in reversed(list(TESTS.finditer(text))):
        if found[2] == ";":
            files.add(found[1])
        else:
            end = text.index("\n}\n", found.start()) + 3
            text = text[: found.start()] + "\n" * text.count("\n", found.start(), end) + text[end:]
    return text, files


def leaves(tree, before=""):
    """The paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`."""
    head, brace, rest = tree.strip().partition("{")
    if not brace:
        return [before + head.split(" as ")[0].strip()] if head.strip() else []
    paths, depth, part = [], 0, ""
    for sign in rest.rsplit("}", 1)[0]:
        depth += (sign == "{") - (sign == "}")
        if sign == "," and depth == 0:
            paths += leaves(part, before + head)
            part = ""
        else:
            part += sign
    return paths + leaves(part, before + head)


def sources(crate):
    """Each file of the crate that is no test: its place in the tree of modules, and its text."""
    src, skipped, found = ROOT / "crates" / crate / "src", set(), []
    for path in sorted(src.rglob("*.rs")):
        module = list(path.relative_to(src).with_suffix("").parts)
        if module[-1] in ("mod", "lib", "main"):
            module.pop()
        text, tests = without_tests(path.read_text())
        skipped.update((*module, name) for name in tests)
        found.append((path, tuple(module), text))
    return [one for one in found if not any(one[1][: len(name)] == name for name in skipped)]


def edges(crate):
    """What each folder imports of another: (from, to), then the lines."""
    files = sources(crate)
    folders = {module[0] for _, module, _ in files if module}
    shown, found = {}, {}
    for _, module, text in files:
        if not module:
            for use in USE.finditer(text):
                if use[1]:
                    for leaf in leaves(use[2]):
                        parts = [part for part in leaf.split("::") if part not in ("crate", "self")]
                        shown[parts[-1]] = parts[0]
    for path, module, text in files:
        here = module[0] if module else "the root"

        def note(target, at):
            to = target if target in folders else shown.get(target, "the root")
            if to != here and (to in folders or to == "the root"):
                line = text.count("\n", 0, at) + 1
                said = path.read_text().splitlines()[line - 1].strip()
                found.setdefault((here, to), []).append(f"{path.relative_to(ROOT)}:{line}: {said}")

        inner = [(found.start(), text.index("\n}\n", found.start())) for found in INLINE.finditer(text)]

        def place(at):
            return (*module, "inline") if any(start < at < end for start, end in inner) else module

        for use in USE.finditer(text):
            if not module and use[1]:
                continue
            start = use.start(2)
            for leaf in leaves(use[2]):
                parts = leaf.split("::")
                if not module and parts[0] in folders | {"self"}:
                    note(parts[parts[0] == "self"], start)
                elif target := up(parts, place(start)):
                    note(target, start)
        for inline in PATH.finditer(USE.sub(lambda use: re.sub(r"[^\n]", " ", use[0]), text)):
            if target := up(inline[0].split("::"), place(inline.start())):
                note(target, inline.start())
    return folders, found


def up(parts, module):
    """The name below the root at which a path begins, if it leaves its folder."""
    if parts[0] == "crate" and len(parts) > 1:
        return parts[1]
    ups = next((n for n, part in enumerate(parts) if part != "super"), len(parts))
    return parts[ups] if ups and ups == len(module) and ups < len(parts) else None


def circle(found):
    """The shortest circle, as its folders in order."""
    nexts, best = {}, None
    for start, to in found:
        nexts.setdefault(start, []).append(to)
    for start in sorted(nexts):
        came, queue = {start: None}, [start]
        for at in queue:
            for to in sorted(nexts.get(at, [])):
                if to == start:
                    way = [at]
                    while came[way[-1]] is not None:
                        way.append(came[way[-1]])
                    way.reverse()
                    if best is None or len(way) < len(best):
                        best = way
                elif to not in came:
                    came[to] = at
                    queue.append(to)
    return best


def problems(crate):
    folders, found = edges(crate)
    excepted = EXCEPTIONS.get(crate, {})
    if len(excepted) > EXCEPTIONS_MAX:
        yield f"{crate}: {len(excepted)} exceptions, at most {EXCEPTIONS_MAX} may be"
    for edge in excepted:
        if edge not in found:
            yield f"{crate}: the exception {edge[0]} -> {edge[1]} is not needed any more"
    found = {edge: lines for edge, lines in found.items() if edge not in excepted}
    if layers := LAYERS.get(crate):
        rank = {}
        for place, layer in enumerate(layers):
            rank.update(dict.fromkeys([layer] if isinstance(layer, str) else layer, place))
        for folder in sorted(folders.symmetric_difference(rank)):
            yield f"{crate}: {folder} is a folder or in the order of LAYERS, and not both"
        for (here, to), lines in found.items():
            if rank.get(to, -1) >= rank.get(here, len(layers)):
                yield f"{crate}: {here} does not lie above {to} and imports it:\n  {lines[0]}"
    if way := circle(found):
        pairs = list(zip(way, way[1:] + way[:1]))
        thinnest = min(pairs, key=lambda edge: len(found[edge]))
        yield (
            f"{crate}: {' -> '.join([*way, way[0]])} is a circle, closed by {len(found[thinnest])} of "
            f"{thinnest[0]} -> {thinnest[1]}, such as\n  {found[thinnest][0]}"
        )


def main():
    bad, count = [], 0
    for crate, enforced in ENFORCED.items():
        for problem in problems(crate):
            if enforced:
                bad.append(problem)
            else:
                print(f"not enforced yet: {problem}")
        count += enforced
    if bad:
        sys.exit("\n".join(bad))
    print(f"the folders of {count} crates form no circle")


if __name__ == "__main__":
    main()
