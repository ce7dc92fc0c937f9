//! Every way of changing a log that is worth doing, and that each is found.

#![expect(
    clippy::cast_possible_wrap,
    clippy::unwrap_in_result,
    reason = "the numbers are small, and what cannot be unwrapped fails the test"
)]

use std::sync::Arc;

use cardveil_core::audit::chain::*;
use cardveil_core::audit::{Event, Kind};
use cardveil_core::card::Environment;
use cardveil_core::clock::Time;
use cardveil_core::id::ChainId;
use cardveil_core::vault::Vault;
use cardveil_seal::{FileRoot, Keyring, SeededEntropy, sha256};
use cardveil_testkit::sample::{START, event};
use proptest::prelude::*;
use serde_json::Value;

fn chain_id() -> ChainId {
    ChainId::from_bytes([7; 16])
}

fn vault(seed: u64) -> Vault {
    let folder = tempfile::tempdir().unwrap();
    let entropy = SeededEntropy::new(seed);
    let root = FileRoot::create(&folder.path().join("root"), &entropy).unwrap();
    let keys = Keyring::generate(&root, "sandbox", &entropy).unwrap();
    let keyring = Keyring::open(&root, "sandbox", &keys).unwrap();
    Vault::new(keyring, Environment::Sandbox, Arc::new(entropy))
}

fn append(log: &mut Vec<Chained>, event: &Event) {
    let stored = serde_json::to_string(event).unwrap();
    let last = log
        .last()
        .map_or_else(|| Link::start(chain_id()), |entry| entry.link);
    log.push(Chained {
        seq: last.place as i64 + 1,
        link: last.next(stored.as_bytes()),
        stored,
        personal: None,
    });
}

fn sign(vault: &Vault, log: &mut Vec<Chained>) {
    let mut signed = event(Kind::AuditCheckpoint, START);
    let end = log.last().unwrap().link;
    signed.detail.checkpoint = Some(Box::new(vault.checkpoint(end, START).unwrap()));
    append(log, &signed);
}

/// Twelve entries, of which the 5th and the 10th are checkpoints of the one before.
fn log(vault: &Vault) -> Vec<Chained> {
    let mut log = Vec::new();
    for n in 1..=12 {
        if n % 5 == 0 {
            sign(vault, &mut log);
        } else {
            let at = Time::from_millis(START.millis() + n);
            append(&mut log, &event(Kind::AuditRead, at));
        }
    }
    log
}

/// Makes all links anew from an entry on, as somebody does who knows how.
fn link_anew(log: &mut [Chained], from: usize) {
    let mut last = match from.checked_sub(1) {
        Some(before) => log[before].link,
        None => Link::start(chain_id()),
    };
    for entry in &mut log[from..] {
        entry.link = last.next(entry.stored.as_bytes());
        entry.seq = entry.link.place as i64;
        last = entry.link;
    }
}

fn verdict(vault: &Vault, log: &[Chained]) -> Result<Verifier, Finding> {
    let mut verifier = Verifier::whole(vault.audit_keys().unwrap());
    log.iter().try_for_each(|entry| verifier.look(entry))?;
    Ok(verifier)
}

fn found(vault: &Vault, log: &[Chained]) -> (i64, Flaw) {
    let Err(Finding { seq, flaw }) = verdict(vault, log) else {
        panic!("nothing was found");
    };
    (seq, flaw)
}

#[test]
fn a_log_as_it_was_written_is_found_good() {
    let vault = vault(1);
    let verifier = verdict(&vault, &log(&vault)).unwrap();
    assert_eq!((verifier.count(), verifier.last_seq()), (12, Some(12)));
    let [seen] = &verifier.chains().collect::<Vec<_>>()[..] else {
        panic!("one chain");
    };
    assert_eq!((seen.first, seen.last.place), (1, 12));
    let at = START;
    assert_eq!(seen.signed, Some(Signed { place: 9, at }));
    assert_eq!(seen.unsigned(), 3);
    assert!(verdict(&vault, &[]).is_ok(), "an empty one too");
}

/// The bytes of a link are pinned: what was written today is verified in years.
#[test]
fn the_hash_is_of_these_bytes() {
    let first = Link::start(chain_id()).next(b"{}");
    let bytes = [
        b"cardveil/audit-chain/v1".as_slice(),
        &[7; 16],
        &[0, 0, 0, 0, 0, 0, 0, 1],
        &[0; 32],
        &[0, 0, 0, 0, 0, 0, 0, 2],
        b"{}",
    ];
    assert_eq!(first.place, 1);
    assert_eq!(first.hash.0, sha256(&bytes));
    let text = first.hash.to_string();
    assert_eq!(text, "JFHD8t7NuIitqMB9fsMk7rlKD3jGYPGIJvDuN-Ou42E");
    assert_ne!(first.next(b"{}").hash, first.hash);
}

#[test]
fn an_edited_entry_is_found() {
    let vault = vault(1);
    for at in 0..12 {
        let mut log = log(&vault);
        log[at].stored = log[at].stored.replace("success", "failure");
        assert_eq!(found(&vault, &log), (at as i64 + 1, Flaw::Edited));
    }
}

#[test]
fn a_removed_entry_is_found() {
    let vault = vault(1);
    for at in 0..11 {
        let mut log = log(&vault);
        log.remove(at);
        let expected = at as u64 + 1;
        assert_eq!(
            found(&vault, &log),
            (at as i64 + 2, Flaw::Missing { expected })
        );
    }
}

#[test]
fn entries_that_changed_places_are_found() {
    let vault = vault(1);
    let mut rows = log(&vault);
    rows.swap(2, 6);
    assert_eq!(found(&vault, &rows).0, 7, "with their places");
    let mut rows = log(&vault);
    let (third, seventh) = (rows[2].clone(), rows[6].clone());
    rows[2] = Chained { seq: 3, ..seventh };
    rows[6] = Chained { seq: 7, ..third };
    assert_eq!(found(&vault, &rows), (3, Flaw::Missing { expected: 3 }));
}

#[test]
fn an_inserted_entry_is_found() {
    let vault = vault(1);
    let mut rows = log(&vault);
    rows.insert(6, rows[5].clone());
    assert_eq!(found(&vault, &rows), (6, Flaw::OutOfPlace), "once more");
    let mut rows = log(&vault);
    let mut new = rows[5].clone();
    new.stored = new.stored.replace("success", "failure");
    new.link = rows[5].link.next(new.stored.as_bytes());
    new.seq = 7;
    rows.insert(6, new);
    for entry in &mut rows[7..] {
        entry.seq += 1;
    }
    assert_eq!(found(&vault, &rows), (8, Flaw::OutOfPlace), "well linked");
    let mut rows = log(&vault);
    rows.push(Chained {
        seq: 13,
        link: rows[11].link,
        stored: "{}".to_owned(),
        personal: None,
    });
    assert_eq!(found(&vault, &rows), (13, Flaw::OutOfPlace), "at the end");
}

/// Whoever makes all hashes anew is stopped by the next signature.
#[test]
fn a_chain_that_was_made_anew_is_found_by_its_checkpoint() {
    let vault = vault(1);
    for at in 0..9 {
        let mut log = log(&vault);
        if log[at].is_checkpoint() {
            continue;
        }
        log[at].stored = log[at].stored.replace("success", "failure");
        link_anew(&mut log, at);
        let (checkpoint, place) = if at < 4 { (5, 4) } else { (10, 9) };
        assert_eq!(
            found(&vault, &log),
            (checkpoint, Flaw::Rewritten { place }),
            "{at}"
        );
        log.remove(9);
        log.remove(4);
        link_anew(&mut log, 0);
        let unsigned = verdict(&vault, &log).unwrap();
        assert!(
            unsigned.chains().all(|seen| seen.signed.is_none()),
            "without them it is told that nothing is signed"
        );
    }
}

#[test]
fn a_checkpoint_of_another_key_is_found() {
    let (vault, other) = (vault(1), vault(2));
    let mut log = log(&vault);
    assert_eq!(found(&other, &log), (5, Flaw::Unsigned));
    log.truncate(4);
    sign(&other, &mut log);
    assert_eq!(found(&vault, &log), (5, Flaw::Unsigned));
    // The right name and the wrong signature.
    let mut event = log[4].event().unwrap();
    let key = *vault.audit_keys().unwrap()[0].as_bytes();
    event.detail.checkpoint.as_mut().unwrap().key = ByteText(key);
    log[4].stored = serde_json::to_string(&event).unwrap();
    link_anew(&mut log, 4);
    assert_eq!(found(&vault, &log), (5, Flaw::Unsigned));
}

/// A checkpoint that was good where it stood is none of another chain, nor at another time.
#[test]
fn a_checkpoint_of_elsewhere_is_found() {
    let vault = vault(1);
    let mut log = log(&vault);
    let mut event = log[4].event().unwrap();
    event.at = Time::from_millis(START.millis() + 1);
    log[4].stored = serde_json::to_string(&event).unwrap();
    link_anew(&mut log, 4);
    assert_eq!(found(&vault, &log), (5, Flaw::Unsigned), "another time");
    let mut event = log[0].event().unwrap();
    event.kind = Kind::AuditCheckpoint;
    event.at = START;
    let elsewhere = Link::start(ChainId::from_bytes([8; 16])).next(b"{}");
    event.detail.checkpoint = Some(Box::new(vault.checkpoint(elsewhere, START).unwrap()));
    log[4].stored = serde_json::to_string(&event).unwrap();
    link_anew(&mut log, 4);
    assert_eq!(
        found(&vault, &log),
        (5, Flaw::Rewritten { place: 1 }),
        "another chain"
    );
}

/// Other writes may come between the look at the end and the checkpoint's own commit.
#[test]
fn a_checkpoint_may_lie_behind() {
    let vault = vault(1);
    let mut log = log(&vault);
    let end = log[8].link;
    let mut late = event(Kind::AuditCheckpoint, START);
    late.detail.checkpoint = Some(Box::new(vault.checkpoint(end, START).unwrap()));
    append(&mut log, &late);
    let verifier = verdict(&vault, &log).unwrap();
    assert_eq!(verifier.chains().next().unwrap().unsigned(), 4);
}

/// Nodes of two versions write one log while they are upgraded one after the other.
#[test]
fn an_entry_of_a_later_version_is_read_as_one() {
    let vault = vault(1);
    let mut log = log(&vault);
    let mut later = serde_json::to_value(event(Kind::AuditRead, START)).unwrap();
    later["kind"] = "something.new".into();
    later["actor"] = "somebody_new".into();
    let stored = later.to_string();
    let end = log.last().unwrap().link;
    log.push(Chained {
        seq: end.place as i64 + 1,
        link: end.next(stored.as_bytes()),
        stored,
        personal: None,
    });
    let last = log.last().unwrap();
    assert_eq!((last.event(), last.at()), (None, Some(START)));
    sign(&vault, &mut log);
    let mut verifier = Verifier::whole(vault.audit_keys().unwrap());
    for entry in &log {
        verifier.look(entry).unwrap();
    }
}

#[test]
fn what_is_no_event_is_found() {
    let vault = vault(1);
    let mut log = log(&vault);
    log[5].stored = "{}".to_owned();
    link_anew(&mut log, 5);
    assert_eq!(found(&vault, &log), (6, Flaw::Unreadable));
    let mut bare = event(Kind::AuditCheckpoint, START);
    bare.detail.note = Some("no checkpoint in it".into());
    log[5].stored = serde_json::to_string(&bare).unwrap();
    link_anew(&mut log, 5);
    assert_eq!(found(&vault, &log), (6, Flaw::Unreadable));
}

/// A copy may begin anywhere; from there on it is held to the same.
#[test]
fn a_part_of_a_log_is_verified_from_where_it_begins() {
    let vault = vault(1);
    let whole = log(&vault);
    let part = |rows: &[Chained]| {
        let mut verifier = Verifier::part(vault.audit_keys().unwrap());
        let looked = rows.iter().try_for_each(|entry| verifier.look(entry));
        looked.map(|()| verifier)
    };
    for from in 0..12 {
        let verifier = part(&whole[from..]).unwrap();
        assert_eq!(verifier.count(), 12 - from as u64);
        let mut rows = whole[from..].to_vec();
        let last = rows.len() - 1;
        rows[last].stored.push(' ');
        let edited = part(&rows).map(drop);
        assert_eq!(edited.is_err(), from == 0 || last > 0, "{from}");
    }
    assert!(part(&[whole[0].clone(), whole[2].clone()]).is_err());
    let mut first = whole.clone();
    first[0].stored.push(' ');
    assert!(part(&first).is_err(), "the first of all hangs on nothing");
}

/// Two processes that write to one log have a chain each.
#[test]
fn chains_are_verified_beside_each_other() {
    let vault = vault(1);
    let mut rows = Vec::new();
    let mut ends = [8, 9].map(|id| Link::start(ChainId::from_bytes([id; 16])));
    for n in 0..10 {
        let stored = serde_json::to_string(&event(Kind::AuditRead, START)).unwrap();
        let end = &mut ends[n * n % 2];
        *end = end.next(stored.as_bytes());
        rows.push(Chained {
            seq: n as i64 * 3,
            link: *end,
            stored,
            personal: None,
        });
    }
    let verifier = verdict(&vault, &rows).unwrap();
    assert_eq!(
        verifier.chains().map(|seen| seen.last.place).sum::<u64>(),
        10
    );
    rows.remove(4);
    assert_eq!(found(&vault, &rows), (18, Flaw::Missing { expected: 3 }));
}

#[test]
fn a_checkpoint_is_shown_as_text() {
    let vault = vault(1);
    let log = log(&vault);
    let value: Value = serde_json::from_str(&log[4].stored).unwrap();
    let checkpoint = &value["detail"]["checkpoint"];
    assert_eq!(checkpoint["place"], 4);
    assert_eq!(checkpoint["hash"], log[3].link.hash.to_string());
    assert_eq!(checkpoint["signature"].as_str().unwrap().len(), 86);
    assert_eq!(log[4].event().unwrap().at, START);
}

#[derive(Clone, Debug)]
enum Tampering {
    Edit(usize, usize, u8),
    EditHash(usize, usize, u8),
    Remove(usize),
    Swap(usize, usize),
    Copy(usize, usize),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let at = 0_usize..12;
    prop_oneof![
        (at.clone(), any::<usize>(), 1_u8..128).prop_map(|(a, b, c)| Tampering::Edit(a, b, c)),
        (at.clone(), 0_usize..32, 1_u8..).prop_map(|(a, b, c)| Tampering::EditHash(a, b, c)),
        (0_usize..11).prop_map(Tampering::Remove),
        (at.clone(), at.clone()).prop_map(|(a, b)| Tampering::Swap(a, b)),
        (at.clone(), at).prop_map(|(a, b)| Tampering::Copy(a, b)),
    ]
}

proptest! {
    /// Whatever is done to a log, by any number of steps, is found, or nothing was done.
    #[test]
    fn no_tampering_goes_unseen(steps in prop::collection::vec(tampering(), 1..4)) {
        let vault = vault(1);
        let before = log(&vault);
        let mut rows = before.clone();
        for step in steps {
            let len = rows.len();
            match step {
                Tampering::Edit(at, byte, mask) => {
                    let stored = &mut rows[at % len].stored;
                    let mut bytes = stored.clone().into_bytes();
                    let byte = byte % bytes.len();
                    bytes[byte] = (bytes[byte] ^ mask) & 0x7f;
                    *stored = String::from_utf8(bytes).unwrap();
                }
                Tampering::EditHash(at, byte, mask) => {
                    rows[at % len].link.hash.0[byte] ^= mask;
                }
                Tampering::Remove(at) => drop(rows.remove(at % (len - 1))),
                Tampering::Swap(a, b) => rows.swap(a % len, b % len),
                Tampering::Copy(from, to) => {
                    let row = rows[from % len].clone();
                    rows.insert(to % len, row);
                }
            }
            // The rows stand where the store numbers them.
            for (seq, row) in (1..).zip(&mut rows) {
                row.seq = seq;
            }
        }
        let is_start = before.starts_with(&rows);
        prop_assert_eq!(verdict(&vault, &rows).is_ok(), is_start);
    }
}
