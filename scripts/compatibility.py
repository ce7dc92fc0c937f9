#!/usr/bin/env python3
"""Checks docs/reference/compatibility/ and docs/reference/lessons.md: every row of their tables names at
least one test, and every test that is named is there. A test is a Rust function (`name`), or `path::name of a
web test`; a row that says what is left out of scope has a dash in place of a test. Each source that a lesson
names (`rust-csv#289`) stands in the name of a test of its row, so that a search for it finds the test. A test
counts if a target compiles its file; a Rust file that none compiles fails the check."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUST = re.compile(r"#\[(?:tokio::)?test[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)|^\s+fn (\w+)\([^)]* in ", re.M)
MOD = r"(?:pub(?:\([^)]*\))? )?mod (\w+)"
PACKAGES = [ROOT / "verify/Cargo.toml", ROOT / "bench/Cargo.toml"]
CASES = re.compile(r"^pub\(super\) async fn (\w+)\(", re.M)


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


def rows(path):
    """The cells of each row of each table, without its head."""
    head = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.startswith("|"):
            head = False
        elif re.fullmatch(r"[|:\- ]+", line):
            head = True
        elif head:
            yield number, [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def problem_of(cells, known):
    if len(cells) != 3 or not all(cells):
        return "a row has three cells: what the source says, what we do, the test"
    named = re.findall(r"`([^`]+)`", cells[2])
    if not named:
        return None if cells[2] in ("-", "–", "—") else "names no test"
    for name in named:
        if "::" in name and "/" in name:
            path, _, title = name.partition("::")
            if not (ROOT / path).is_file() or title not in (ROOT / path).read_text():
                return f"there is no test {name}"
        elif name.rsplit("::", 1)[-1] not in known:
            return f"there is no test {name}"
    return None


def unnamed(cells):
    """The sources that no test of the row is named after. A name says `rust_csv_289`, a title `rust-csv#289`."""
    tests = re.findall(r"\d+", cells[2])
    missing = [number for number in re.findall(r"#(\d+)", cells[0]) if number not in tests]
    return f"no test is named after #{missing[0]}" if missing else None


def main():
    files = compiled()
    known, count, bad = rust_tests(files), 0, [*orphans(files)]
    for path in [*sorted((ROOT / "docs/reference/compatibility").glob("*.md")), ROOT / "docs/reference/lessons.md"]:
        for number, cells in rows(path):
            count += 1
            if problem := problem_of(cells, known) or unnamed(cells):
                bad.append(f"{path.relative_to(ROOT)}:{number}: {problem}")
    if bad or not count:
        sys.exit("\n".join(bad) or "docs/reference/compatibility holds no row")
    print(f"{count} rows of docs/reference/compatibility and docs/reference/lessons.md name tests that are there")


if __name__ == "__main__":
    main()
