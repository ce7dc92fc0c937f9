"""The bugs that planted.py plants."""

STATE = "crates/core/src/token/state.rs"
CODEC = "crates/core/src/token/codec.rs"
PERSONAL_RS = "crates/core/src/audit/personal.rs"
CORE = ["-p", "cardveil-core", "-p", "cardveil-testkit"]
RULES = ["-p", "cardveil-core", "--test", "rules"]
STORE = ["-p", "cardveil-store"]
POSTGRES = ["-p", "cardveil-store", "--test", "postgres"]
SERVER = ["-p", "cardveil-server"]
FACTOR = ["-p", "cardveil-testkit", "--test", "contract"]
BINARY = ["-p", "cardveil", "--test", "deployment", "canary"]
MEMORY = ["-p", "cardveil", "--test", "deployment", "memory"]
CERTIFICATE_RS = "crates/core/src/merchant/certificate.rs"
RIGHTS_RS = "crates/core/src/merchant/rights.rs"
ROW_MACS = "crates/core/src/vault/row_macs.rs"
DECIDING = "crates/store/src/sql/deciding.rs"
ALTERED = ["-p", "cardveil-store", "--test", "sqlite", "altered"]
RIGHTS = [*RULES, "merchant::rights"]

# Name, file, what stands there once, what is planted, the tests that must fail.
IN_TESTS = [
    ("P1-any-key-may-ask-again", STATE,
     "if held.by != self.by {", "if held.by != self.by && held.claims.is_empty() {", CORE),
    ("P1-bound-key-is-ignored", STATE,
     "record.bound_to.is_some_and(|key| key != self.by)", "record.bound_to.is_some_and(|_| false)", CORE),
    ("P1-an-attempt-outlives-its-token", STATE,
     "|| (is_known && !self.is_past_life_of(record));", "|| is_known;", CORE),
    ("P1-any-attempt-of-a-key-may-be-made-again", STATE,
     "let is_known = release.attempts.contains(&self.attempt);",
     "let is_known = !release.attempts.is_empty();", CORE),
    ("P1-the-claim-does-not-look", "crates/core/src/verb/tokens.rs",
     "    let record = rows.token(&claim.token)?;\n    let (card, lives)",
     "    let record = rows.token(&claim.token)?\n"
     "        .map(|record| crate::token::Record { state: crate::token::State::Issued, ..record });\n"
     "    let (card, lives)", STORE),
    ("P1-a-token-that-waits-opens", "crates/core/src/token/state.rs",
     "record.waits_for_factor() && self.answered.is_none()",
     "record.waits_for_factor() && self.answered.is_none() && self.fields.is_empty()", FACTOR),
    ("P1-a-code-of-any-key", "crates/core/src/token/challenge.rs", "        &by.0,\n", "        &[by.0[0] / 255; 32],\n", FACTOR),
    ("P1-a-challenge-sent-again-gives-tries-back", "crates/core/src/verb/tokens.rs",
     "        if let Some(session) = rows.session(&self.opening.id)? {\n"
     "            return Ok(self.asked_again(session, person.as_ref()));\n        }\n", "", FACTOR),
    ("P1-a-copy-put-back-into-the-open-database", "crates/store/src/sqlite/writer/mod.rs",
     "        self.raise_if_put_back(&batch)?;", "        if batch.place.get().epoch.0 == 0 {\n"
     "            self.raise_if_put_back(&batch)?;\n        }", [*STORE, "--test", "sqlite", "fence"]),
    ("P1-an-asynchronous-commit-of-sqlite", "crates/store/src/sqlite/open.rs",
     '"synchronous", "FULL"', '"synchronous", "NORMAL"', STORE),
    ("P1-an-asynchronous-commit", "crates/store/src/postgres/link.rs",
     "THEN 'remote_apply' ELSE 'on' END", "THEN 'remote_apply' ELSE 'off' END", POSTGRES),
    *[(f"P1-an-issue-of-an-older-epoch-{store}", "crates/core/src/token/issue.rs",
       "if self.record.epoch != epoch {", "if self.record.epoch > epoch {",
       ["-p", package, "--test", store, "an_issue_in_an_old_epoch"])
      for package, store in (("cardveil-testkit", "contract"), ("cardveil-store", "sqlite"), ("cardveil-store", "postgres"))],
    ("P1-a-claim-that-locks-nothing", "crates/store/src/postgres/tokens.rs",
     "hash = wanted.hash FOR UPDATE)", "hash = wanted.hash)", POSTGRES),
    ("P1-a-batch-that-forgets-its-own-claims", "crates/store/src/postgres/sql.rs",
     "*held = Some(record.clone());", "let _ = held;", POSTGRES),
    ("P2-a-checkpoint-of-a-log-that-is-gone", "crates/store/src/sql/log.rs",
     "found.is_some_and(|entry| entry.link == *link)", "found.is_some() || link.place > 0", POSTGRES),
    ("P2-a-lookup-that-joins-a-query-under-way", "crates/store/src/postgres/readers.rs",
     "let mut asked: Vec<_> = self.leave().into_iter().collect();",
     "let asked = self.readers.waiting().together.get(sql).map(|waiting| waiting.asked.clone());\n"
     "        let mut asked: Vec<_> = asked.into_iter().flatten().collect();", POSTGRES),
    ("P2-a-lookup-that-gets-the-row-of-another", "crates/store/src/postgres/readers.rs",
     "asked.sort_unstable_by_key(|(_, place)| *place);", "asked.sort_unstable_by_key(|(_, place)| place % 3);", POSTGRES),
    ("P8-lists-take-the-readers-of-lookups", "crates/store/src/sqlite/cards.rs",
     "self.lists\n            .ask(move |connection| ask(connection, &list, (&left_out, &macs)))\n            .await",
     "self.readers.read(move |connection| ask(connection, &list, (&left_out, &macs)))", STORE),
    ("P8-lists-take-the-connections-of-lookups", "crates/store/src/postgres/lookups.rs",
     "self.lists.all(&question.sql", "self.readers.all(&question.sql", POSTGRES),
    ("P8-a-credential-lists-as-often-as-it-likes", "crates/server/src/http/lists.rs",
     "let turn = self.turn(credential);", "let turn = Arc::new(Turn::default());", SERVER),
    ("P2-a-commit-behind-a-statement-that-failed", "crates/store/src/postgres/writer.rs",
     "done.map_err(|fault| (fault.ends_its_transaction(), fault))?;", "drop(done);", POSTGRES),
    ("P1-a-batch-that-marks-itself-outside-its-commit", "crates/store/src/postgres/batch.rs",
     "let (begun, rows, held) = join3(link.run(\"BEGIN\"), rows, own).await;",
     "let (held, rows, begun) = join3(own, rows, link.run(\"BEGIN\")).await;", POSTGRES),
    ("P1-a-commit-that-is-not-looked-up", "crates/store/src/postgres/writer.rs",
     "Ok(last) if last == self.number => return Ended::Committed,",
     "Ok(last) if last < 0 && last == self.number => return Ended::Committed,", POSTGRES),
    ("P1-a-timeline-that-is-not-looked-at", "crates/store/src/postgres/home.rs",
     "} else if server.timeline != self.kept.timeline {",
     "} else if server.timeline < self.kept.timeline {", POSTGRES),
    ("P1-a-dump-that-is-not-noticed", "crates/store/src/postgres/home.rs",
     "} else if !self.is_written_here {",
     "} else if !self.is_written_here && self.epoch.0 == 0 {", POSTGRES),
    ("P1-a-token-put-back-that-is-not-noticed", "crates/store/src/sql/rows/tokens.rs",
     "epoch: Epoch(if was_put_back { 0 } else { row.get(11)? }),",
     "epoch: Epoch(if was_put_back { row.get(11)? } else { row.get(11)? }),", POSTGRES),
    ("P1-a-session-is-not-spent", "crates/core/src/mfa/session.rs",
     "state: State::Spent { at: event.at },", "state: session.state,", CORE),
    ("P2-the-card-is-not-looked-at-in-the-commit", STATE,
     "held.redemption != self.redemption || self.seen != around.card =>",
     "held.redemption != self.redemption || (self.seen != around.card && around.card.is_none()) =>", CORE),
    ("P2-the-credential-is-not-looked-at-in-the-commit", STATE,
     "        around.lives.last(self)?;\n", "", CORE),
    ("P2-a-change-that-is-committed-while-a-claim-waits", "crates/store/src/postgres/batch.rs",
     "let outlived = self.lives_used.get() && self.lives.changes != lives;",
     "let outlived = self.lives.changes > lives;", POSTGRES),
    ("P2-a-change-in-a-claims-own-batch", "crates/store/src/sqlite/writer/mod.rs",
     "let is_as_it_was = count(self.connection)? == self.registry;",
     "let is_as_it_was = count(self.connection)?.epoch == self.registry.epoch;",
     [*STORE, "--lib", "what_is_kept_follows"]),
    ("P8-a-token-that-is-taken-without-its-check", CODEC,
     "constant_time_eq(check, &keyed.check)", "constant_time_eq(check, check)", CORE),
    ("P8-a-check-of-fewer-bytes", CODEC,
     "constant_time_eq(check, &keyed.check)", "check.starts_with(&keyed.check[..4])", CORE),
    ("P8-refusals-without-end", "crates/core/src/token/challenge.rs",
     "self.refusals < REFUSALS_RECORDED_MAX", "self.refusals < u32::MAX.min(REFUSALS_RECORDED_MAX + 99)", CORE),
    ("P1-epoch-is-ignored", STATE,
     "        if record.epoch != around.epoch {\n            return Err(Cause::OldEpoch",
     "        if record.epoch > around.epoch {\n            return Err(Cause::OldEpoch", CORE),
    ("P2-change-without-its-event", "crates/store/src/sqlite/writer/mod.rs",
     'let end = audit::append(self.connection, &place.end, (event, said.version), salts)?;',
     'let end = if event.kind == cardveil_core::audit::Kind::RevealReleased {\n'
     '            place.end\n        } else {\n'
     '            audit::append(self.connection, &place.end, (event, said.version), salts)?\n        };', STORE),
    ("P2-a-personal-value-that-is-not-compared", PERSONAL_RS,
     "commitments.get(member) == Some(&commitment(salt, member, value))",
     "commitments.contains_key(member) && commitment(salt, member, value).0 != [0; 32]", RULES),
    ("P2-a-personal-value-in-the-chain", PERSONAL_RS,
     '("person", "/target/person")', '("person", "/target/persons")', RULES),
    ("P2-one-salt-for-many-values", PERSONAL_RS,
     "self.used = self.used.saturating_add(SALT_BYTES);", "self.used = self.used.max(SALT_BYTES);", RULES),
    ("P2-an-event-that-is-told-without-its-personal-values", "crates/store/src/sql/outbox.rs",
     "personal::event(&stored, personal.as_deref())", "personal::event(&stored, personal.as_deref().filter(|_| false))",
     [*STORE, "--test", "sqlite", "an_event_is_queued"]),
    ("P2-an-entry-of-form-1-after-form-2", "crates/core/src/audit/chain.rs",
     "if form < seen.form {", "if form < Form::One {", RULES),
    ("P2-form-2-while-old-nodes-serve", "crates/store/src/postgres/schema.rs",
     "if works_with < FORM_TWO {", "if works_with < WORKS_WITH {", [*POSTGRES, "a_log_goes_on_in_form_2"]),
    ("P11-any-mac-is-right", ROW_MACS,
     "Ok(expected) => Some(constant_time_eq(&expected, tag)),",
     "Ok(expected) => Some(constant_time_eq(&expected, tag) || tag.len() == 16),", ALTERED),
    ("P11-a-row-that-lost-its-mac-is-taken", ROW_MACS,
     "return Some(!self.are_complete());", "return Some(true);", ALTERED),
    ("P11-a-token-that-was-put-back-is-taken", DECIDING,
     "known.is_some_and(|known| *known > version)", "known.is_some_and(|known| *known > version + 1_000)", ALTERED),
    ("P11-a-version-that-a-row-has-had-already", DECIDING,
     "Self::Later => version > UNVERSIONED + 1,", "Self::Later => version > UNVERSIONED + 1_000,", ALTERED),
    ("P11-a-row-of-an-older-version-is-not-seen", "crates/store/src/sql/guard.rs",
     "last.version == row.version &&", "last.version >= row.version &&", ALTERED),
    ("P11-a-row-that-was-put-back-goes-on", "crates/store/src/sql/guard.rs",
     "if shape.name != CLASS_KEY.name {", "if shape.name == CLASS_KEY.name {", ALTERED),
    ("P11-rows-may-have-no-macs-again", "crates/core/src/vault/row_macs.rs",
     "known.is_complete |= vault.says_rows_have_macs();", "",
     ["-p", "cardveil", "--test", "deployment", "no_hand_goes_back"]),
    ("P11-the-keys-are-not-bound", "crates/seal/src/keyring.rs",
     "let bound = Bound::To(Birth::generate(entropy));", "let bound = Bound::Not;",
     ["-p", "cardveil", "--test", "deployment", "no_hand_goes_back"]),
    ("P11-keys-are-made-again", "crates/cli/src/deployment/mod.rs",
     "if wrapped.is_empty() && has_begun(store).await? {", "if wrapped.len() > 99 {",
     ["-p", "cardveil", "--test", "deployment", "no_hand_goes_back"]),
    ("P11-the-key-of-rows-may-be-gone", "crates/seal/src/keyring.rs",
     "missing.first().filter(|_| bound != Bound::Not)", "missing.first().filter(|_| bound == Bound::Not)",
     ["-p", "cardveil-seal"]),
    ("P11-keys-of-another-birth-go-with-ours", "crates/seal/src/keyring.rs",
     "self == other || (is_to_none(self)", "self == self || (is_to_none(other)",
     ["-p", "cardveil", "--test", "deployment", "no_key_of_another_deployment"]),
    ("P11-keys-are-made-beside-others", "crates/core/src/verb/keys.rs",
     "let is_first = !self.from.is_empty() || !rows.has_class_keys()?;", "let is_first = true;",
     ["-p", "cardveil-store", "--test", "sqlite", "keys_that_another_program_has_made"]),
    ("P11-a-version-that-the-log-does-not-tell", "crates/store/src/sql/guard.rs",
     "last.version == row.version && last.is_told", "last.version == row.version", ALTERED),
    ("P11-a-name-leads-to-another-s-token", "crates/core/src/flow/issue.rs",
     "            && record.card == card.id\n", "", ["-p", "cardveil", "--test", "deployment", "a_name_that_a_hand"]),
    ("P11-an-event-for-another-merchant", "crates/core/src/hook/mod.rs",
     "            && event.merchant.as_ref() == Some(&self.merchant)\n", "", ALTERED),
    ("P11-an-epoch-that-is-set-back", "crates/store/src/sqlite/fence.rs",
     "(there.epoch > mark.epoch\n", "(there.epoch.0 > u32::MAX - 1\n", ALTERED),
    ("P11-a-row-that-is-gone-is-not-seen", "crates/store/src/sql/guard.rs",
     "if last.get(key).is_some_and(went) {", "if last.contains_key(key) {", ALTERED),
    ("P11-a-copy-has-the-same-versions", "crates/store/src/sql/deciding.rs",
     "i64::from(u32::from_be_bytes([a, b, c, d])) + FIRST_STEP", "i64::from(u32::from_be_bytes([a, b, c, d])).min(0) + FIRST_STEP",
     ALTERED),
    ("P11-a-row-that-was-put-back-is-changed", "crates/store/src/sql/deciding.rs",
     "CASE WHEN {after} IS NULL OR", "CASE WHEN {after} IS NULL OR 1 = 1 OR", ALTERED),
    ("P11-a-row-goes-unsaid", "crates/store/src/sql/guard.rs",
     "last.is_gone && last.is_told;", "last.is_gone;", ALTERED),
    ("P11-what-is-kept-past-a-change", "crates/store/src/sql/kept.rs",
     "under.count != Some(count) || !is_fresh", "under.count.is_none() || !is_fresh", ALTERED),
    ("P11-what-is-kept-for-ever", "crates/store/src/sql/kept.rs",
     "under.count != Some(count) || !is_fresh", "under.count != Some(count) || under.since > now", ALTERED),
    ("P10-a-change-without-its-from-and-to", "crates/core/src/verb/registry.rs",
     "rows.log(&change.record(event))?;", "rows.log(event)?;", STORE),
    ("P10-an-allow-list-without-its-from-and-to", "crates/core/src/merchant/allowlist.rs",
     "changes: changes(Some(before), Some(after)),", "changes: changes(Some(after), Some(after)),", CORE),
    ("P8-a-refused-call-that-leaves-no-record", "crates/server/src/api/gate.rs",
     "if let Some(why) = refused.why {\n        call.app.note_refused(call, P::API, why);",
     "if let Some(why) = refused.why {\n        call.app.metrics.access_refused.of(why.0).increment();", SERVER),
    ("P8-refused-calls-that-flood-the-log", "crates/core/src/audit/refused.rs",
     "} else if rows.len() < RECORDS_MAX {", "} else if rows.len() < 1000 * RECORDS_MAX {", CORE),
    ("P10-any-partners-certificate-will-do", CERTIFICATE_RS,
     "shown.is_some_and(|shown| pins.iter().any(|pin| pin.fits(shown)))", "shown.is_some()",
     [*RULES, "merchant::certificate"]),
    ("P10-a-binding-is-not-looked-at-without-a-certificate", "crates/server/src/api/admission.rs",
     "!admission.credential.allows_certificate(shown)",
     "shown.is_some() && !admission.credential.allows_certificate(shown)",
     [*SERVER, "--test", "http", "certificates"]),
    ("P10-exporting-does-not-ask-for-its-scope", RIGHTS_RS,
     "Need::ExportCards => sees && self.has(Scope::CardsExport),", "Need::ExportCards => sees,", RIGHTS),
    ("P10-the-merchants-permission-is-not-looked-at", RIGHTS_RS,
     "if !merchant.permits(need) {", "if !merchant.permits(need) && !merchant.pci_enabled {", RIGHTS),
    ("P10-a-person-s-credential-sees-another-s-cards", RIGHTS_RS,
     "Some(person) if has(any) || has(own) => Sight::Own(person),",
     "Some(_) if has(any) => Sight::Any,\n        Some(person) if has(own) => Sight::Own(person),",
     RIGHTS),
    ("P10-one-time-codes-for-whoever-manages-webhooks", RIGHTS_RS,
     "Topic::MfaCode => self.has(Scope::MfaCodes),", "Topic::MfaCode => true,", RIGHTS),
    ("P10-the-version-before-is-shown-too-much", RIGHTS_RS,
     "Scope::CardsWriteOwn => self.has(Scope::PinsSet),", "Scope::CardsWriteOwn => true,", RIGHTS),
    ("P10-a-ceiling-that-is-not-looked-at", "crates/core/src/merchant/allowlist.rs",
     "&& !ceiling.iter().any(|within| within.contains(&net))", "&& ceiling.iter().any(|_| false)",
     [*RULES, "merchant::allowlist"]),
    ("P10-a-right-kept-in-another-s-place", "crates/store/src/sql/rows/registry.rs",
     "read_pins: row.get(first + 8)?,", "read_pins: row.get(first + 9)?,",
     [*STORE, "--test", "sqlite", "what_a_pair_may_do"]),
    ("P7-an-altered-row-hides-the-others", "crates/store/src/sql/value.rs",
     "Err(fault) if Self::is_unreadable(&fault) => {", "Err(fault) if table.is_empty() && Self::is_unreadable(&fault) => {", STORE),
    ("P2-released-though-the-commit-failed", "crates/core/src/flow/redeem.rs",
     "            Err(error) => Err(error.into()),\n        }\n    }\n\n    /// Records what a browser",
     "            Err(_) => Ok(Verdict::Granted(crate::token::Grant {\n"
     "                redemption,\n"
     "                window_ends_at: self.now(),\n"
     "                fields_left: Fields::NONE,\n"
     "            })),\n        }\n    }\n\n    /// Records what a browser", SERVER),
    ("P3-a-body-in-the-log", "crates/server/src/api/extract.rs",
     "fn place(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {",
     "fn place(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {\n"
     "    tracing::warn!(%error, \"a body is wrong\");", BINARY),
    ("P5-a-proxy-that-tells-nothing-is-the-caller", "crates/server/src/http/address.rs",
     "        let ip = address(hop)?;\n",
     "        let Some(ip) = address(hop) else {\n            return Some(peer.to_canonical());\n        };\n", SERVER),
    ("P3-what-is-freed-is-not-wiped", "crates/cli/src/main.rs",
     "static ALLOCATOR: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);",
     "static ALLOCATOR: MiMalloc = MiMalloc;\nconst _: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);", MEMORY),
    ("P3-an-idle-connection-keeps-a-request", "crates/server/src/http/listener/mod.rs",
     "Paced::new(Cleared::new(io), ", "Paced::new(io, ", MEMORY),
    ("P3-an-idle-connection-keeps-what-tls-decrypted", "crates/server/src/http/listener/cleared.rs",
     "if polled.is_pending() {", "if polled.is_pending() && room.initialized().len() < room.capacity() {", MEMORY),
    ("P3-a-head-in-pieces-is-kept", "crates/server/src/http/listener/mod.rs",
     "const HEAD_BYTES_MAX: usize = 8 * 1_024;", "const HEAD_BYTES_MAX: usize = 64 * 1_024;", MEMORY),
    ("P3-the-stack-is-left-as-it-is", "crates/server/src/http/stack.rs",
     "const DEPTH_KIB: usize = if cfg!(debug_assertions) { 256 } else { 96 };", "const DEPTH_KIB: usize = 1;", MEMORY),
    ("P4-the-address-in-the-log", "crates/server/src/http/listener/mod.rs",
     "        let method = method_name(request.method());",
     "        let method = method_name(request.method());\n"
     "        tracing::info!(uri = %request.uri(), \"a request\");", BINARY),
    ("P5-a-route-for-anyone", "crates/server/src/native/mod.rs",
     ".route(Native(Need::ReadCards), routes!(create_client_token))",
     ".route(crate::api::permission::Public::because(\"\"), routes!(create_client_token))", SERVER),
    ("P6-the-cause-in-the-answer", "crates/server/src/client/redeem.rs",
     "Err(Problem::new(Code::TokenRefused))",
     "Err(Problem::detail(Code::TokenRefused, format!(\"{cause:?}\")))", SERVER),
    ("P6-fields-are-told-of-before-the-token", "crates/core/src/flow/redeem.rs",
     "(Verdict::Refused(Cause::FieldNotAllowed), _) =>",
     "(Verdict::Refused(cause), _) if !asked.fields.within(record.allowed) || cause == Cause::FieldNotAllowed =>", SERVER),
    ("P7-unconfirmed-is-forgotten", STATE,
     "let event = (!unconfirmed.is_empty()).then(|| {",
     "let event = (unconfirmed.is_empty() && !held.swept && held.events > 9).then(|| {", CORE),
    ("P7-an-event-is-not-queued", "crates/store/src/sqlite/outbox.rs",
     "for subscription in told.iter().filter(|s| s.hears(topic, account.as_ref())) {",
     "for subscription in told.iter().filter(|s| s.hears(topic, account.as_ref())).skip(1) {", STORE),
    ("P8-a-budget-is-not-counted", "crates/core/src/mfa/required.rs",
     "(charge.levels(decided.write).collect(), decided.verdict)", "(Vec::new(), decided.verdict)", STORE),
    ("P8-a-body-without-bound", "crates/server/src/api/extract.rs",
     "Limited::new(request.into_body(), BODY_BYTES_MAX)",
     "Limited::new(request.into_body(), usize::MAX)", SERVER),
    ("P9-a-clock-ahead-locks-a-budget", "crates/core/src/budget.rs",
     "charged_at.is_ahead_of(now) => left(charged_at),",
     "charged_at.is_ahead_of(now) => left(now),", CORE),
    ("P9-the-machines-clock", "crates/core/src/flow/mod.rs",
     "        self.clock.now()\n",
     "        let _ = &self.clock;\n        crate::clock::SystemClock.now()\n", SERVER),
    ("AAD-field-is-left-out", "crates/seal/src/keyring.rs",
     "aead::bind(&mut aad, &[field.as_bytes()])?;", "let _ = field;", ["-p", "cardveil-seal"]),
]

RELEASES_LATE = (
    "        static LATE: std::sync::Mutex<Option<Event>> = std::sync::Mutex::new(None);\n"
    "        let late;\n"
    "        let event = if event.kind == cardveil_core::audit::Kind::RevealReleased {\n"
    "            let Some(before) = LATE.lock().unwrap().replace(event.clone()) else {\n"
    "                return Ok(());\n"
    "            };\n"
    "            late = before;\n"
    "            &late\n"
    "        } else {\n"
    "            event\n"
    "        };\n")
IN_MEMORY = (
    "static MEMORY: std::sync::Mutex<std::collections::BTreeMap<TokenKey, Record>> =\n"
    "    std::sync::Mutex::new(std::collections::BTreeMap::new());\n\n")
FIND = "impl<B: Sql> TokenRows for Loads<'_, B> {\n    fn token(&self, key: &TokenKey) -> Loaded<Option<Record>> {\n"
FIND_IN_MEMORY = (
    IN_MEMORY
    + "fn remembered(key: &TokenKey) -> Option<Record> {\n    MEMORY.lock().unwrap().get(key).cloned()\n}\n\n"
    + FIND + "        if let Some(record) = remembered(key) {\n            return Ok(Some(record));\n        }\n")
UPDATE = "    fn save_token(&self, record: &Record) -> Loaded<()> {\n"
LOOKED_UP = (
    "    async fn token(&self, key: &TokenKey) -> Result<Option<Record>> {\n",
    "    async fn token(&self, key: &TokenKey) -> Result<Option<Record>> {\n"
    "        if let Some(record) = remembered(key) {\n            return Ok(Some(record));\n        }\n")
UPDATE_IN_MEMORY = (
    UPDATE + "    MEMORY.lock().unwrap().insert(record.key, record.clone());\n"
    "    if record.expires_at.millis() > 0 {\n        return Ok(());\n    }\n")
TOKENS = "crates/store/src/sql/tokens.rs"
IN_MEMORY_ALONE = [(TOKENS, FIND, FIND_IN_MEMORY), (TOKENS, UPDATE, UPDATE_IN_MEMORY), (TOKENS, *LOOKED_UP)]
POSTGRES_TOKENS = "crates/store/src/postgres/tokens.rs"
EPOCH_IS_IGNORED = (STATE, "        if record.epoch != around.epoch {\n            return Err(Cause::OldEpoch",
                    "        if record.epoch > around.epoch {\n            return Err(Cause::OldEpoch")
AAD_WITHOUT_ROW = ("crates/seal/src/keyring.rs",
                   "                table.as_bytes(),\n                row,\n",
                   "                table.as_bytes(),\n                row.get(..0).unwrap_or_default(),\n")
STALE_CARD = [
    ("crates/core/src/flow/redeem.rs",
     "        let card = self.store.card(&record.merchant, &card).await?;\n        Ok(card.filter(Card::viewable))",
     "        static CACHE: std::sync::Mutex<std::collections::BTreeMap<[u8; 16], State>> =\n"
     "            std::sync::Mutex::new(std::collections::BTreeMap::new());\n"
     "        let mut card = self.store.card(&record.merchant, &card).await?;\n"
     "        if let Some(card) = &mut card {\n"
     "            let mut cache = CACHE.lock().unwrap();\n"
     "            card.state = *cache.entry(*record.card.as_bytes()).or_insert(card.state);\n"
     "        }\n"
     "        Ok(card.filter(Card::viewable))"),
    (STATE, "held.redemption != self.redemption || self.seen != around.card =>",
     "held.redemption != self.redemption || (self.seen != around.card && around.card.is_none()) =>"),
]

# Name, store, edits. What is killed with a signal loses nothing that SQLite has written, synced or not: an
# asynchronous commit is looked for on PostgreSQL alone, whose first process holds what is not yet written.
# An order number on another card's row is taken for what was written.
ANY_MAC = [
    (ROW_MACS, "Ok(expected) => Some(constant_time_eq(&expected, tag)),",
     "Ok(expected) => Some(constant_time_eq(&expected, tag) || tag.len() == 16),")]
IN_PROCESSES = [
    ("check-then-set-sqlite", "sqlite", [
        ("crates/store/src/sqlite/sql.rs", "        Ok(found.flatten())\n    }\n\n    fn tokens(",
         "        let found = found.flatten();\n        Ok(found.map(|found| Record { state: cardveil_core::token::State::Issued, ..found }))\n"
         "    }\n\n    fn tokens(")]),
    ("check-then-set-postgres", "postgres", [
        (POSTGRES_TOKENS, "hash = wanted.hash FOR UPDATE)", "hash = wanted.hash)")]),
    ("asynchronous-commit", "postgres", [
        ("crates/store/src/postgres/link.rs", "THEN 'remote_apply' ELSE 'on' END", "THEN 'remote_apply' ELSE 'off' END")]),
    ("audit-after-send-sqlite", "sqlite", [
        ("crates/store/src/sqlite/writer/mod.rs",
         "    pub(super) fn log(&self, event: &Event, said: Said) -> rusqlite::Result<()> {\n",
         "    pub(super) fn log(&self, event: &Event, said: Said) -> rusqlite::Result<()> {\n" + RELEASES_LATE)]),
    ("audit-after-send-postgres", "postgres", [
        ("crates/store/src/postgres/batch.rs",
         "    pub(super) fn log(&self, event: &Event, said: Said) -> Result<(), Fault> {\n",
         "    pub(super) fn log(&self, event: &Event, said: Said) -> Result<(), Fault> {\n" + RELEASES_LATE)]),
    ("memory-only-claims-sqlite", "sqlite", IN_MEMORY_ALONE),
    ("memory-only-claims-postgres", "postgres", IN_MEMORY_ALONE),
    ("blind-retry", "postgres", [
        ("crates/store/src/postgres/writer.rs",
         "Ok(last) if last == self.number => return Ended::Committed,",
         "Ok(last) if last < -1 => return Ended::Committed,")]),
    ("epoch-ignored-sqlite", "sqlite", [EPOCH_IS_IGNORED]),
    ("epoch-ignored-postgres", "postgres", [EPOCH_IS_IGNORED]),
    ("aad-missing-sqlite", "sqlite", [AAD_WITHOUT_ROW]),
    ("aad-missing-postgres", "postgres", [AAD_WITHOUT_ROW]),
    ("any-mac-sqlite", "sqlite", ANY_MAC),
    ("any-mac-postgres", "postgres", ANY_MAC),
    ("stale-cache-sqlite", "sqlite", STALE_CARD),
    ("stale-cache-postgres", "postgres", STALE_CARD),
]
