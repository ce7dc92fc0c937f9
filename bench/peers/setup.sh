#!/usr/bin/env bash
# Installs the peers that `make bench` measures Cardveil beside: Redis from Debian, SnapPass from PyPI.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools="$PWD/.tools"

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
command -v redis-server >/dev/null 2>&1 || missing+=(redis-server)
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ "${#missing[@]}" -gt 0 ]; then
  echo "installing ${missing[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! cmp -s bench/peers/requirements.txt "$tools/peers/requirements.txt"; then
  rm -rf "$tools/peers"
  python3 -m venv "$tools/peers"
  "$tools/peers/bin/pip" install --quiet --disable-pip-version-check -r bench/peers/requirements.txt
  cp bench/peers/requirements.txt "$tools/peers/"
fi
