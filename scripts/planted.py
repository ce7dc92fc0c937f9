#!/usr/bin/env python3
"""Plants one bug a promise (DESIGN section 10) in a copy of the tree and runs the tests that must
catch it. A bug that no test catches, or that does not compile, fails the run. `make planted`;
`scripts/planted.py NAME...` runs some of them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "target/planted/tree"
STATE = "crates/core/src/token/state.rs"
CORE = ["-p", "cardveil-core"]
STORE = ["-p", "cardveil-store"]
POSTGRES = ["-p", "cardveil-store", "--test", "postgres"]
SERVER = ["-p", "cardveil-server"]
BINARY = ["-p", "cardveil", "--test", "deployment", "canary"]

# name, file, what stands there once, what is planted, the tests that must fail
BUGS = [
    ("P1-any-key-may-ask-again", STATE,
     "if held.by != self.by {", "if held.by != self.by && held.claims.is_empty() {", CORE),
    ("P1-bound-key-is-ignored", STATE,
     "record.bound_to.is_some_and(|key| key != self.by)", "record.bound_to.is_some_and(|_| false)", CORE),
    ("P1-the-claim-does-not-look", "crates/store/src/sqlite/tokens.rs",
     "let record = find(batch, &claim.token)?;",
     "let record = find(batch, &claim.token)?\n"
     "        .map(|record| Record { state: cardveil_core::token::State::Issued, ..record });", STORE),
    ("P1-an-asynchronous-commit", "crates/store/src/postgres/link.rs",
     "THEN 'remote_apply' ELSE 'on' END", "THEN 'remote_apply' ELSE 'off' END", POSTGRES),
    ("P1-a-claim-that-locks-nothing", "crates/store/src/postgres/tokens.rs",
     "hash = $2 FOR UPDATE\"", "hash = $2\"", POSTGRES),
    ("P1-a-commit-that-is-not-looked-up", "crates/store/src/postgres/writer.rs",
     "Ok(last) if last == self.number => return Ended::Committed,",
     "Ok(last) if last < 0 && last == self.number => return Ended::Committed,", POSTGRES),
    ("P1-a-timeline-that-is-not-looked-at", "crates/store/src/postgres/home.rs",
     "} else if server.timeline != self.kept.timeline {",
     "} else if server.timeline < self.kept.timeline {", POSTGRES),
    ("P1-a-session-is-not-spent", "crates/core/src/mfa/session.rs",
     "state: State::Spent { at: event.at },", "state: session.state,", CORE),
    ("P2-the-card-is-not-looked-at-in-the-commit", STATE,
     "held.redemption != self.redemption || self.seen != card =>",
     "held.redemption != self.redemption || (self.seen.is_none() && card.is_none()) =>", CORE),
    ("P1-epoch-is-ignored", STATE,
     "        if record.epoch != epoch {\n            return Err(Cause::OldEpoch);",
     "        if record.epoch > epoch {\n            return Err(Cause::OldEpoch);", CORE),
    ("P2-change-without-its-event", "crates/store/src/sqlite/writer.rs",
     'let end = audit::append(self.connection, &place.end, event)?;',
     'let end = if event.kind == cardveil_core::audit::Kind::RevealReleased {\n'
     '            place.end\n        } else {\n'
     '            audit::append(self.connection, &place.end, event)?\n        };', STORE),
    ("P2-released-though-the-commit-failed", "crates/core/src/flow/redeem.rs",
     "            Err(error) => Err(error.into()),\n        }\n    }\n\n    /// Records what a browser",
     "            Err(_) => Ok(Verdict::Granted(crate::token::Grant {\n"
     "                redemption,\n"
     "                window_ends_at: self.now(),\n"
     "                fields_left: Fields::NONE,\n"
     "            })),\n        }\n    }\n\n    /// Records what a browser", SERVER),
    ("P3-a-body-in-the-log", "crates/server/src/extract.rs",
     "fn place(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {",
     "fn place(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {\n"
     "    tracing::warn!(%error, \"a body is wrong\");", BINARY),
    ("P4-the-address-in-the-log", "crates/server/src/listener.rs",
     "        let method = method_name(request.method());",
     "        let method = method_name(request.method());\n"
     "        tracing::info!(uri = %request.uri(), \"a request\");", BINARY),
    ("P5-a-route-for-anyone", "crates/server/src/native/mod.rs",
     "            Permission::Native(Need::ReadCards),\n            routes!(create_client_token),",
     "            Permission::Public(\"\"),\n            routes!(create_client_token),", SERVER),
    ("P6-the-cause-in-the-answer", "crates/server/src/client/redeem.rs",
     "Err(Problem::new(Code::TokenRefused))",
     "Err(Problem::detail(Code::TokenRefused, format!(\"{cause:?}\")))", SERVER),
    ("P7-unconfirmed-is-forgotten", STATE,
     "let event = (!unconfirmed.is_empty()).then(|| {",
     "let event = (unconfirmed.is_empty() && !held.swept && held.events > 9).then(|| {", CORE),
    ("P7-an-event-is-not-queued", "crates/store/src/sqlite/outbox.rs",
     "for subscription in told.iter().filter(|s| s.hears(topic, account)) {",
     "for subscription in told.iter().filter(|s| s.hears(topic, account)).skip(1) {", STORE),
    ("P8-a-budget-is-not-counted", "crates/store/src/sqlite/mfa.rs",
     "        charged.write(batch)?;\n", "        drop(charged);\n", STORE),
    ("P8-a-body-without-bound", "crates/server/src/extract.rs",
     "Limited::new(request.into_body(), BODY_BYTES_MAX)",
     "Limited::new(request.into_body(), usize::MAX)", SERVER),
    ("P9-the-machines-clock", "crates/core/src/flow/mod.rs",
     "        self.clock.now()\n",
     "        let _ = &self.clock;\n        crate::clock::SystemClock.now()\n", SERVER),
    ("AAD-field-is-left-out", "crates/seal/src/keyring.rs",
     "aead::bind(&mut aad, &[field.as_bytes()])?;", "let _ = field;", ["-p", "cardveil-seal"]),
]


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


def cargo_test(args):
    env = dict(os.environ, CARGO_TARGET_DIR=str(ROOT / "target/planted/build"))
    return run("cargo", "test", "--locked", "--quiet", *args, cwd=TREE, env=env)


def caught(name, file, stands, planted, tests):
    path = TREE / file
    text = path.read_text()
    if text.count(stands) != 1:
        print(f"STALE   {name}: its place in {file} has changed")
        return False
    path.write_text(text.replace(stands, planted))
    try:
        built = cargo_test([*tests[:2], "--no-run"])
        if built.returncode != 0:
            print(f"BROKEN  {name}: it does not compile\n{built.stderr[-2000:]}")
            return False
        if cargo_test(tests).returncode == 0:
            print(f"MISSED  {name}: all tests pass")
            return False
        print(f"caught  {name}")
        return True
    finally:
        path.write_text(text)


def main():
    copy_tree()
    chosen = [bug for bug in BUGS if not sys.argv[1:] or bug[0] in sys.argv[1:]]
    results = [caught(*bug) for bug in chosen]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
