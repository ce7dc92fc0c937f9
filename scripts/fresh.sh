#!/usr/bin/env bash
# Fails when a committed generated file is not what the sources make.
set -euo pipefail
cd "$(dirname "$0")/.."
made=$(mktemp)
trap 'rm -f "$made"' EXIT
# As `cargo test` builds it: another choice of packages has features of its own, and builds them again.
cargo build --quiet --locked --workspace --all-targets
target/debug/cardveil openapi > "$made"
if ! cmp -s "$made" docs/openapi.json; then
  echo "docs/openapi.json is stale: run \`make generate\` and commit it" >&2
  exit 1
fi
