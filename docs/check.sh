#!/usr/bin/env bash
# Checks the docs: every relative link, and every file and make target that is named in `code`, is
# there; every page is in a table of docs/README.md and has 2,500 words at most (records of runs may
# have more); and every shell block that follows a line `<!-- tested: TEXT -->` runs and prints TEXT
# (`<!-- tested -->`: it runs). The blocks of one file run in one shell, in a folder of their own,
# against a demo on free ports; the ports that the docs show (7400 to 7430) stand for those.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$(realpath "${CARDVEIL_BIN:-target/release/cardveil}")
# The program takes its settings from variables of this prefix, and refuses one that it does not know.
unset CARDVEIL_BIN
work=$(mktemp -d "${TMPDIR:-/tmp}/cardveil-docs-XXXXXX")
demo=
trap '[ -z "$demo" ] || { kill "$demo"; wait "$demo"; } 2>/dev/null || true; rm -rf "$work"' EXIT

base=$(python3 - <<'PY'
import socket
for base in range(7800, 9800, 40):
    try:
        for offset in (0, 10, 20, 30):
            with socket.socket() as s:
                s.bind(("127.0.0.1", base + offset))
        break
    except OSError:
        continue
else:
    raise SystemExit("no free ports")
print(base)
PY
)
"$bin" demo --port-base "$base" --json > "$work/ready" 2> "$work/demo.log" & demo=$!
for _ in $(seq 300); do
  [ -s "$work/ready" ] && break
  kill -0 "$demo" 2>/dev/null || { cat "$work/demo.log" >&2; exit 1; }
  sleep 0.1
done
[ -s "$work/ready" ] || { echo "the demo was not ready in 30 s" >&2; exit 1; }

BIN_DIR=$(dirname "$bin") BASE=$base WORK=$work python3 - <<'PY'
import os, pathlib, re, subprocess, sys

skipped = {"node_modules", "target", ".tools", ".git"}
files = [f for f in sorted(pathlib.Path(".").rglob("*.md")) if not skipped & set(f.parts)]
bad, links, ran = [], 0, 0

def anchors(path):
    prose = re.sub(r"(?ms)^```.*?^```", "", path.read_text())
    slug = lambda title: re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
    return {slug(title) for title in re.findall(r"(?m)^#+ (.+)$", prose)}

for file in files:
    text = file.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", text)):
        if re.match(r"[a-z]+:", link):
            continue
        links += 1
        path, _, anchor = link.partition("#")
        to = file.parent / path if path else file
        if not to.exists() or anchor and to.suffix == ".md" and anchor not in anchors(to):
            bad.append(f"{file}: the link {link} leads nowhere")
    for path in re.findall(r"`((?:crates/)?(?:core|seal|store|server|cli|web|scripts|docs)/[\w./-]+)`", text):
        crate, _, rest = path.partition("/")
        if not any(pathlib.Path(p).exists() for p in (path, f"crates/{path}", f"crates/{crate}/src/{rest}")):
            bad.append(f"{file}: there is no {path}")
    for target in re.findall(r"`make ([\w-]+)`", text):
        if not re.search(rf"(?m)^{target}:", pathlib.Path("Makefile").read_text()):
            bad.append(f"{file}: there is no make {target}")
    blocks = re.findall(r"(?ms)^<!-- tested(?:: (.+?))? -->\n+```(?:sh|bash)\n(.*?)^```", text)
    if len(blocks) != len(re.findall(r"(?m)^<!-- tested", text)):
        bad.append(f"{file}: a block marked as tested is no sh block")
    home = pathlib.Path(os.environ["WORK"], re.sub(r"\W", "_", str(file)), "home")
    home.mkdir(parents=True)
    script = "set -euo pipefail\n"
    for n, (_, code) in enumerate(blocks):
        port = lambda found: str(int(os.environ["BASE"]) + int(found[0]) - 7400)
        script += f"exec > '{home.parent}/{n}.out'\n" + re.sub(r"\b74[0-3]0\b", port, code)
    env = {**os.environ, "PATH": os.environ["BIN_DIR"] + ":" + os.environ["PATH"]}
    run = subprocess.run(["bash", "-c", script], cwd=home, env=env, stderr=subprocess.PIPE, text=True, timeout=120)
    for n, (wanted, code) in enumerate(blocks):
        out = home.parent / f"{n}.out"
        printed = out.read_text() if out.exists() else None
        if printed is None or wanted and wanted not in printed or n == len(blocks) - 1 and run.returncode:
            bad.append(f"{file}: block {n + 1} failed\n{code}--- printed {printed!r}\n{run.stderr[-600:]}")
            break
        ran += 1

docs = pathlib.Path("docs")
listed = (docs / "README.md").read_text()
for page in [*docs.glob("*/*.md"), *docs.glob("*/*/README.md"), *docs.glob("*/decisions/*.md")]:
    if f"({page.relative_to(docs)})" not in listed:
        bad.append(f"{page}: docs/README.md does not list it")
for page in docs.rglob("*.md"):
    words = len(page.read_text().split())
    if words > 2_500 and page.parent.name != "reports":
        bad.append(f"{page}: {words} words are two pages")

print(f"docs: {len(files)} files, {links} links, {ran} blocks run")
if bad or ran == 0:
    sys.exit("\n".join(bad) or "no block was found")
PY
