# The door. A bare `make` lists what there is.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.tools/bin:$(PATH)
# Everything that tests leave behind lands here, where the canary scan looks.
# Root's PostgreSQL runs as nobody, who cannot go into every checkout.
TEST_TMP := $(shell if [ "$$(id -u)" = 0 ] && ! setpriv --reuid=nobody --regid=nogroup --clear-groups test -x "$(CURDIR)/."; \
	then echo /tmp/cardveil-test-tmp; else echo "$(CURDIR)/target/test-tmp"; fi)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14

.PHONY: demo
demo: ## Run everything with test cards and a shop page
	cargo run --release -- demo

.PHONY: setup
setup: ## Install what the tests need (packages of Debian, Node and Python, cargo-deny)
	scripts/setup.sh

.PHONY: test
test: setup check packaging unit verify e2e docs conformance canary instructions ## Install what is needed, then run every check and test

.PHONY: check
check: ## Formatting, lints, dependency rules, circles, generated files, rows of the docs that name tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked
	cargo-deny --locked check bans licenses sources
	cd web && npm run check
	scripts/fresh.sh
	scripts/circles.py
	scripts/compatibility.py
	scripts/planted.py --places

.PHONY: packaging
packaging: ## The systemd unit, the image's recipe, the compose file, the Helm chart
	.tools/packaging/bin/python scripts/packaging/check.py

.PHONY: unit
unit: ## All Rust tests, kill -9 under load among them
	rm -rf "$(TEST_TMP)" && mkdir -p "$(TEST_TMP)"
	TMPDIR="$(TEST_TMP)" KEEP_TEST_FILES=1 cargo test --workspace --locked --quiet

.PHONY: e2e
e2e: release ## The release binary in Chromium, Firefox and WebKit (BROWSER=firefox: in one)
	mkdir -p "$(TEST_TMP)"
	cd web && TMPDIR="$(TEST_TMP)" KEEP_TEST_FILES=1 CARDVEIL_BIN="$(CURDIR)/target/release/cardveil" npm run e2e

.PHONY: weight
weight: release ## What a card weighs on the wire, and its time on a slow line (prints docs/reports/weight.md)
	node scripts/weight.mjs

.PHONY: docs
docs: release ## Run the calls that the docs show, and check their links
	docs/check.sh

SECS ?= 8
.PHONY: conformance
conformance: setup release ## Strangers' tools against a demo (SECS=8 each; FRAGMENT=file: a published description)
	TMPDIR="$(TEST_TMP)" scripts/conformance/run.py --secs $(SECS) $(if $(FRAGMENT),--fragment "$(FRAGMENT)")

.PHONY: canary
canary: ## Seek clear card numbers and tokens in all that the tests left behind
	scripts/canary.py "$(TEST_TMP)"

.PHONY: swap
swap: release ## Press a server out of its memory, and look at what got into swap (as root)
	scripts/swap.py

# Built as it is developed, which is fast enough for a checker, and as `unit` has built it: the program that it checks
# is the release.
.PHONY: verify
verify: release ## Check the promises while everything goes wrong (LONG=1: as for a release)
	cargo build --quiet --locked --workspace --all-targets
	target/debug/cardveil-verify $(if $(LONG),--long)

.PHONY: rotation
rotation: release ## Rotate every key under load (CARDS=100000 STORE=sqlite; four minutes)
	scripts/rotation.py

.PHONY: comparison
comparison: release ## What the comparison of rows costs beside a load (CARDS=100000 STORE=sqlite; four minutes)
	scripts/comparison.py

.PHONY: fairness
fairness: release ## What one merchant's lists do to another's issue and redeem (CARDS=100000 STORE=sqlite; one minute)
	scripts/fairness.py

.PHONY: attacks
attacks: release ## Attack the finished binary as a penetration tester would (ONLY=memory,races: these; four minutes)
	scripts/attacks.py

.PHONY: neighbours
neighbours: setup release ## Real nginx, haproxy, pgbouncer, syslog-ng, Patroni beside it, as the docs set them up (ONLY=patroni; nine minutes)
	scripts/neighbours.py

.PHONY: upgrade
upgrade: release ## Upgrade three nodes under load, losing no request (FROM=ref, or OLD_BINARY=file)
	cargo build --quiet --locked --workspace --all-targets
	scripts/upgrade.sh

.PHONY: planted
planted: ## Plant bugs, and see the tests and the checker catch them (half an hour)
	scripts/planted.py

.PHONY: bench
bench: ## Measure speed, as ratios in one run
	# Apart: built together, the server would get the test features that the load generator needs.
	cargo build --profile dist --locked -p cardveil
	cargo build --profile dist --locked -p cardveil-bench
	bench/peers/setup.sh
	target/dist/cardveil-bench

.PHONY: instructions
instructions: release ## Instructions of an issue and a redemption, beside those on record (RECORD=1: record them; two minutes)
	scripts/instructions.py

.PHONY: advisories
advisories: ## Check dependencies against the advisory database (needs the network)
	cargo-deny --locked check advisories

.PHONY: generate
generate: ## Make the committed generated files again
	cd web && npm run build
	cargo run --quiet --locked -- openapi > docs/openapi.json

.PHONY: release
release:
	cargo build --release --locked -p cardveil
