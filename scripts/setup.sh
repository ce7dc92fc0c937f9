#!/usr/bin/env bash
# Installs what the tests need on a Debian machine that has Rust only: browsers, curl, Python, PostgreSQL, pgbouncer,
# SoftHSM, faketime, promtool, valgrind, Java, Go and Node from Debian's packages, Node's packages by their lock file, linters from PyPI,
# cargo-deny by cargo.
set -euo pipefail
cd "$(dirname "$0")/.."
tools="$PWD/.tools"

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
need cc gcc
need make make
need curl curl
need python3 python3
need git git
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
[ -x /usr/sbin/pgbouncer ] || need pgbouncer pgbouncer
ls /usr/lib/softhsm/libsofthsm2.so >/dev/null 2>&1 || missing+=(softhsm2)
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing+=(faketime)
need promtool prometheus
need valgrind valgrind
need javac default-jdk-headless
[ -e /usr/share/java/jakarta-annotation-api.jar ] || missing+=(libjakarta-annotation-api-java)
need node nodejs
need npm npm
# What checks packaging/: systemd's own tool, and the template engine of Helm.
need systemd-analyze systemd
need go golang-go
[ -d /usr/share/gocode/src/github.com/Masterminds/sprig ] || missing+=(golang-github-masterminds-sprig-dev)
[ -d /usr/share/gocode/src/sigs.k8s.io/yaml ] || missing+=(golang-k8s-sigs-yaml-dev)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v "${CHROMIUM:-/usr/bin/chromium}" >/dev/null 2>&1 || missing+=(chromium fonts-dejavu-core)
command -v "${FIREFOX:-/usr/bin/firefox-esr}" >/dev/null 2>&1 || missing+=(firefox-esr)
# WebKit runs on a display of its own, in a window that Debian's own Python opens.
need WebKitWebDriver webkit2gtk-driver
need Xvfb xvfb
/usr/bin/python3 -c 'import gi; gi.require_version("WebKit2", "4.1")' 2>/dev/null || missing+=(python3-gi gir1.2-webkit2-4.1)
if [ "${#missing[@]}" -gt 0 ]; then
  echo "installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# The bundler and the test runner need Node 20; Debian 12 has 18. The npm package `node` brings one.
if [ "$(node -p 'Number(process.versions.node.split(".")[0])')" -lt 20 ]; then
  if [ ! -x "$tools/bin/node" ]; then
    npm install --silent --no-fund --no-audit --prefix "$tools/node" node@22
    mkdir -p "$tools/bin"
    ln -sf "$tools/node/node_modules/node/bin/node" "$tools/bin/node"
  fi
  export PATH="$tools/bin:$PATH"
fi

(cd web && npm ci --silent --no-fund --no-audit)

# Linters of packaging/, from PyPI.
if ! cmp -s scripts/packaging/requirements.txt "$tools/packaging/requirements.txt"; then
  rm -rf "$tools/packaging"
  python3 -m venv "$tools/packaging"
  "$tools/packaging/bin/pip" install --quiet --disable-pip-version-check -r scripts/packaging/requirements.txt
  cp scripts/packaging/requirements.txt "$tools/packaging/"
fi

deny=0.20.2
if ! cargo-deny --version 2>/dev/null | grep -qF "$deny" && ! "$tools/bin/cargo-deny" --version 2>/dev/null | grep -qF "$deny"; then
  echo "installing cargo-deny $deny (about two minutes)"
  # Not optimised: it runs for a second, and compiles in a third of the time.
  CARGO_TARGET_DIR="$tools/build" cargo install --quiet --debug --locked --root "$tools" cargo-deny@"$deny"
  rm -rf "$tools/build"
fi
