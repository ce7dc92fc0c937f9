#!/usr/bin/env python3
"""Checks docs/reference/compatibility/ and docs/reference/lessons.md: every row of their tables names at
least one test, and every test that is named is there. A test is a Rust function (`name`), or `path::name of a
web test`; a row that says what is left out of scope has a dash in place of a test. Each source that a lesson
names (`rust-csv#289`) stands in the name of a test of its row, so that a search for it finds the test. A test
counts if a target compiles its file; a Rust file that none compiles fails the check.

And docs/evidence: each row of a standard has six cells and a number of its own, and is shown by a test, a
command of docs/reference/command-line.md with flags that it has (`cardveil audit verify --rows`), or a target
of the Makefile (`make attacks`). A row that nothing shows says what stays with the operator, or what lacks
(`none: not used` where there is no such thing, which is no gap).
Before all else the check must find what is wrong in each row of PLANTED."""

import re
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUST = re.compile(r"#\[(?:tokio::)?test[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)|^\s+fn (\w+)\([^)]* in ", re.M)
MOD = r"(?:pub(?:\([^)]*\))? )?mod (\w+)"
PACKAGES = [ROOT / "verify/Cargo.toml", ROOT / "bench/Cargo.toml"]
CASES = re.compile(r"^pub\(super\) async fn (\w+)\(", re.M)
EVIDENCE = "number | in our words | what Cardveil does | shown by | stays with the operator | gap"
NOTHING = ("-", "–", "—")
COMMANDS = ROOT / "docs/reference/command-line.md"

# Rows that nobody may write, and what is told of each. The last cells of a row of evidence, and of another.
PLANTED = [
    (["1", "a", "b", "`make no-such-target`", "-", "-"], "there is no make no-such-target"),
    (["1", "a", "b", "`cardveil card conjure`", "-", "-"], "there is no command card conjure"),
    (["1", "a", "b", "`cardveil audit verify --conjured`", "-", "-"], "audit verify has no --conjured"),
    (["1", "a", "b", "`no_test_has_this_name`", "-", "-"], "there is no test no_test_has_this_name"),
    (["1", "a", "b", "`crates/core/src/budget.rs::budget`", "-", "-"], "a Rust test is named by its function alone"),
    (["1", "a", "b", "`web/e2e/tests/card.e2e.ts::no such title`", "-", "-"],
     "there is no test web/e2e/tests/card.e2e.ts::no such title"),
    (["1", "a", "b", "`web/e2e/tests/card.e2e.ts::the document`", "-", "-"], "there is no test"),
    (["1", "a", "b", "a policy", "the policy", "-"], "names no test, command or target"),
    (["1", "a", "b", "-", "-", "-"], "nothing shows it, and it says neither whose it is nor what lacks"),
    (["1", "a", "b", "`make check`", "-"], "a row has six cells"),
    (["a source", "what we do", "`no_test_has_this_name`"], "there is no test no_test_has_this_name"),
    (["a source", "what we do", "words"], "names no test"),
]  # fmt: skip


def modules(path, folder):
    """The file, and those that its `mod` lines name, and theirs. `folder` is where its modules stand; a module that
    is written out has a folder of its own below, and ends at its indentation."""
    yield path
    open_blocks = []
    for line in path.read_text().splitlines():
        if open_blocks and line == f"{open_blocks[-1][0]}}}":
            open_blocks.pop()
        elif block := re.fullmatch(rf"( *){MOD} {{", line):
            open_blocks.append((block[1], block[2]))
        elif found := re.fullmatch(rf"( *){MOD};", line):
            here = folder.joinpath(*(name for _, name in open_blocks))
            for file in (here / f"{found[2]}.rs", here / found[2] / "mod.rs"):
                if file.is_file():
                    yield from modules(file, here / found[2])


def compiled():
    """Every Rust file that a target of a package compiles."""
    files = set()
    for manifest in [*ROOT.glob("crates/*/Cargo.toml"), *ROOT.glob("examples/*/Cargo.toml"), *PACKAGES]:
        package = manifest.parent
        roots = [package / "build.rs", package / "src/lib.rs", package / "src/main.rs"]
        for kind in ("src/bin", "tests", "benches", "examples"):
            roots += [*package.glob(f"{kind}/*.rs"), *package.glob(f"{kind}/*/main.rs")]
        for root in roots:
            if root.is_file():
                files.update(modules(root, root.parent))
    return files


def orphans(files):
    """Rust files that no `mod` line names: nothing compiles them, so the tests in them prove nothing."""
    for folder in ("crates", "examples", "verify", "bench"):
        for path in sorted(ROOT.glob(f"{folder}/**/*.rs")):
            if path not in files and "target" not in path.parts:
                yield f"{path.relative_to(ROOT)}: no target compiles it: a `mod` line is missing"


def rust_tests(files):
    names = set()
    for path in files:
        text = path.read_text()
        names.update(name for match in RUST.findall(text) for name in match if name)
        if "testkit/src/contract" in str(path):
            names.update(CASES.findall(text))
    return names


def tables(path):
    """The head of each table, and the cells of each row below it."""
    head, before = None, None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.startswith("|"):
            head = None
        elif re.fullmatch(r"[|:\- ]+", line):
            head = before
        elif head:
            yield number, head, cells_of(line)
        before = " | ".join(cells_of(line))


def cells_of(line):
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def problem_of(cells, known):
    if len(cells) != 3 or not all(cells):
        return "a row has three cells: what the source says, what we do, the test"
    named = re.findall(r"`([^`]+)`", cells[2])
    if not named and cells[2] not in NOTHING:
        return "names no test"
    return first(no_test(name, known) for name in named)


def problem_of_evidence(cells, known):
    if len(cells) != 6 or not all(cells):
        return f"a row has six cells: {EVIDENCE}"
    shown, *rest = cells[3:]
    named = re.findall(r"`([^`]+)`", shown)
    if not named and shown not in NOTHING:
        return "names no test, command or target"
    if not named and all(cell in NOTHING for cell in rest):
        return "nothing shows it, and it says neither whose it is nor what lacks"
    return first(not_there(name, known) for name in named)


def problem_beside(head, cells, known):
    """Of a table that is no standard's: what its rows are shown by is there, too."""
    columns = head.split(" | ")
    if columns[0] == "number":
        return f"the head of a table is: {EVIDENCE}"
    if "shown by" not in columns:
        return None
    named = re.findall(r"`([^`]+)`", cells[columns.index("shown by")]) if len(cells) == len(columns) else []
    return first(not_there(name, known) for name in named) if named else "names no test, command or target"


def first(problems):
    return next(filter(None, problems), None)


def not_there(name, known):
    """Why what a row of evidence is shown by is not there."""
    kind, _, rest = name.partition(" ")
    if kind == "make":
        return None if rest in targets() else f"there is no {name}"
    return no_command(rest) if kind == "cardveil" else no_test(name, known)


def no_test(name, known):
    if "::" in name and "/" in name:
        path, _, title = name.partition("::")
        if path.endswith(".rs"):
            return f"a Rust test is named by its function alone: {name}"
        text = (ROOT / path).read_text() if (ROOT / path).is_file() else ""
        # From the beginning of the title: words that stand somewhere in the file are no test.
        if not any(quote + title.strip('"') in text for quote in "\"'`"):
            return f"there is no test {name}"
    elif name.rsplit("::", 1)[-1] not in known:
        return f"there is no test {name}"
    return None


def no_command(words):
    """A command is the words before the first flag or the first value in capitals."""
    words = words.split()
    end = next((at for at, word in enumerate(words) if not re.fullmatch(r"[a-z-]+", word) or word[0] == "-"), len(words))
    command = " ".join(words[:end])
    if command not in commands():
        return f"there is no command {command}"
    lacking = [word for word in words[end:] if word.startswith("--") and not takes(words[0], word[2:])]
    return f"{command} has no {lacking[0]}" if lacking else None


@cache
def commands():
    """Those of the reference, which a test of the binary holds to what there is."""
    table = COMMANDS.read_text().partition("\n## Commands\n")[2]
    return set(re.findall(r"^\| `([a-z -]+)`", table, re.M))


@cache
def takes(word, flag):
    """Whether an argument of this name is declared where the command is."""
    folder = ROOT / "crates/cli/src/command"
    here = word.replace("-", "_")
    files = [ROOT / "crates/cli/src/main.rs", folder / f"{here}.rs", *folder.glob(f"{here}/**/*.rs")]
    declared = re.compile(rf"^\s+(?:pub\(crate\) |pub\(super\) )?{flag.replace('-', '_')}: |long = \"{flag}\"", re.M)
    return any(declared.search(file.read_text()) for file in files if file.is_file())


@cache
def targets():
    return set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.M))


def unnamed(cells):
    """The sources that no test of the row is named after. A name says `rust_csv_289`, a title `rust-csv#289`."""
    tests = re.findall(r"\d+", cells[2])
    missing = [number for number in re.findall(r"#(\d+)", cells[0]) if number not in tests]
    return f"no test is named after #{missing[0]}" if missing else None


def evidence(known):
    """The rows of each standard, a folder or a page, and what is wrong with them."""
    folder, counts, bad = ROOT / "docs/evidence", {}, []
    for path in sorted(folder.rglob("*.md")):
        standard = path.relative_to(folder).parts[0].removesuffix(".md")
        for number, head, cells in tables(path):
            if head != EVIDENCE:
                if problem := problem_beside(head, cells, known):
                    bad.append(f"{path.relative_to(ROOT)}:{number}: {problem}")
                continue
            seen = counts.setdefault(standard, {})
            problem = problem_of_evidence(cells, known)
            if not problem and cells[0] in seen:
                problem = f"{cells[0]} has a row already"
            seen[cells[0]] = cells[-1] not in NOTHING and not cells[-1].startswith("none: ")
            if problem:
                bad.append(f"{path.relative_to(ROOT)}:{number}: {problem}")
    return counts, bad


def missed(known):
    """What is planted and not found."""
    for cells, wanted in PLANTED:
        told = (problem_of if len(cells) == 3 else problem_of_evidence)(cells, known)
        if not (told or "").startswith(wanted):
            yield f"planted, and not found: {' | '.join(cells)}: {told}"


def main():
    files = compiled()
    known, count = rust_tests(files), 0
    bad = [*missed(known), *orphans(files)]
    for path in [*sorted((ROOT / "docs/reference/compatibility").glob("*.md")), ROOT / "docs/reference/lessons.md"]:
        for number, _, cells in tables(path):
            count += 1
            if problem := problem_of(cells, known) or unnamed(cells):
                bad.append(f"{path.relative_to(ROOT)}:{number}: {problem}")
    standards, wrong = evidence(known)
    bad += wrong
    if bad or not count or not standards:
        sys.exit("\n".join(bad) or "docs/reference/compatibility or docs/evidence holds no row")
    print(f"{count} rows of docs/reference/compatibility and docs/reference/lessons.md name tests that are there")
    for standard, seen in standards.items():
        print(f"{len(seen)} rows of docs/evidence/{standard}, {sum(seen.values())} with a gap, name what is there")


if __name__ == "__main__":
    main()
