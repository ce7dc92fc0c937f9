#!/usr/bin/env bash
# Upgrades three nodes over PostgreSQL under load, from an older program to this one (`make upgrade`).
# FROM=ref: the older program is built from there; without it, from before the newest migration.
# OLD_BINARY=file: it is built already.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${OLD_BINARY:-}" ]; then
  migrations=crates/store/src/postgres/migrations
  from=${FROM:-$(git log -1 --format=%H --diff-filter=A -- "$migrations")^}
  tree=$(mktemp -d)
  trap 'git worktree remove --force "$tree"' EXIT
  git worktree add --quiet --detach "$tree" "$from"
  echo "from $(git -C "$tree" log -1 --format='%h (%cs)')"
  # Apart, and kept: the next run builds little.
  (cd "$tree" && CARGO_TARGET_DIR="$OLDPWD/target/upgrade" cargo build --quiet --locked -p cardveil)
  OLD_BINARY=target/upgrade/debug/cardveil
fi
target/debug/cardveil-verify --upgrade-from "$OLD_BINARY"
