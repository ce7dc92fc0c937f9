//! What was asked and what came, and whether it may have been so. This part knows nothing of the
//! program: it compares what clients saw with what the audit log says.
//!
//! What counts as a failure, by [`Violation`]. What does not: a request without an answer; a
//! refusal by "unavailable", after which a token is still good.
//!
//! To add a rule: a variant with its words, its place in [`check`], and a history in the tests that
//! breaks it and no other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::faults::CLOCK_OFF_MAX;

/// What became of one request to redeem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Granted,
    /// Granted, with something that is not this card's number, sealed to the key that asked.
    Misgiven,
    Refused,
    /// Told that nothing was released: the token is still good.
    Unavailable,
    /// No answer: anything may have happened.
    Unknown,
}

impl Outcome {
    /// Nothing is asked again for.
    pub(crate) const fn is_answer(self) -> bool {
        matches!(self, Self::Granted | Self::Misgiven | Self::Refused)
    }
}

/// One request to redeem.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) key: u8,
    /// Milliseconds since the run began.
    pub(crate) sent: u64,
    pub(crate) came: u64,
    pub(crate) outcome: Outcome,
}

/// What one token has been through, in the order in which answers came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    /// Its SHA-256, as the log names it.
    pub(crate) hash: String,
    pub(crate) card: usize,
    /// When it was asked to be issued, and when it was there.
    pub(crate) issued: u64,
    pub(crate) there: u64,
    pub(crate) asked: Vec<Asked>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// P1.
    TwoKeys,
    /// P1, by the log.
    TwoKeysOnRecord,
    /// P2.
    ReleaseWithoutRecord,
    /// One request has two records of its release.
    RecordedTwice,
    /// P3: what came was not the card's number, for the key that asked.
    OtherCard,
    /// A card that its merchant had suspended was shown.
    SuspendedCard,
    /// A claim that was answered, and is not there any more.
    ClaimLost,
    /// A token that was answered, that nobody has claimed, and that nobody gets.
    TokenLost,
    /// An issue without its record.
    IssueWithoutRecord,
    /// The epoch was raised by something that is no restore.
    EpochRaised,
    /// A restore or a promotion has not raised it.
    EpochNotRaised,
    /// A token from before a restore was good after it.
    OldToken,
}

impl Violation {
    /// It is known from what clients saw, whatever the log says.
    pub(crate) const fn was_seen(&self) -> bool {
        matches!(
            self,
            Self::TwoKeys | Self::OtherCard | Self::SuspendedCard | Self::OldToken
        )
    }
}

/// While the database was not what the program had written to it: a restore or a promotion took the
/// place of the one before, or a hand was in it. Milliseconds since the run began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

impl Span {
    /// It fell into the life of a token that was asked about so late, which may have been refused
    /// for it. What the database of before a restore has said of it may be gone; who got an answer
    /// may not.
    fn touches(self, story: &Story, came: u64) -> bool {
        self.began <= came && self.ended >= story.issued
    }
}

/// A card that was suspended for a while, by what its merchant saw. Milliseconds since the run
/// began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspension {
    pub(crate) card: usize,
    /// When it was asked for, and answered.
    pub(crate) asked: u64,
    pub(crate) began: u64,
    /// When its end was asked for, and answered.
    pub(crate) ended: u64,
    pub(crate) over: u64,
}

impl Suspension {
    /// A token of the card may have been refused for it.
    fn touches(self, story: &Story, came: u64) -> bool {
        self.card == story.card && self.asked <= came && self.over >= story.issued
    }

    /// The card was suspended all the while.
    fn covers(self, story: &Story, asked: &Asked) -> bool {
        self.card == story.card && self.began < asked.sent && asked.came < self.ended
    }
}

/// A key may ask again for so long, and so often.
const REPEAT_MS: u64 = 30_000;
const ANSWERS_MAX: usize = 4;
/// How long a token can be claimed.
const LIFE_MS: u64 = 300_000;
/// Clocks are read at both ends of a request; two nodes' are apart by twice what one's is off.
const SLACK_MS: u64 = 1_000 + 2 * 1_000 * CLOCK_OFF_MAX;

/// The log, by token. After a restore there are two that begin alike: both are read.
#[derive(Default)]
pub(crate) struct Log {
    issued: BTreeSet<String>,
    /// By token and holder, the hashes of the entries that say that it was released.
    holders: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// The hashes of the entries that say so.
    epochs_raised: BTreeSet<String>,
}

impl Log {
    /// Takes an entry in.
    pub(crate) fn read(&mut self, entry: &Value) {
        let text = |at: &str| {
            entry
                .pointer(at)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let token = text("/target/token").to_owned();
        match text("/kind") {
            "token.issued" => {
                self.issued.insert(token);
            }
            "reveal.released" | "reveal.repeated" => {
                let holder = text("/actor/holder").to_owned();
                let of_token = self.holders.entry(token).or_default();
                let entries = of_token.entry(holder).or_default();
                entries.insert(text("/hash").to_owned());
            }
            "epoch.raised" => {
                self.epochs_raised.insert(text("/hash").to_owned());
            }
            _ => {}
        }
    }
}

/// What is known besides what clients saw.
pub(crate) struct Facts<'a> {
    pub(crate) log: &'a Log,
    /// The keys' thumbprints, as the log names them.
    pub(crate) holders: &'a [String],
    pub(crate) restores: &'a [Span],
    pub(crate) suspensions: &'a [Suspension],
    pub(crate) hands: &'a [Span],
    /// How often a restore raises the epoch at most.
    pub(crate) raises_max: usize,
}

impl Facts<'_> {
    /// Something else than its redemptions may have had a token refused.
    fn excuse(&self, story: &Story, came: u64) -> bool {
        self.restores.iter().any(|it| it.touches(story, came))
            || self.suspensions.iter().any(|it| it.touches(story, came))
            || self.hands.iter().any(|it| it.touches(story, came))
    }
}

/// All that may not have been.
pub(crate) fn check(stories: &[Story], facts: &Facts<'_>) -> Vec<(String, Violation)> {
    let mut found: Vec<_> = stories
        .iter()
        .flat_map(|story| {
            let of = |violation| (story.hash.clone(), violation);
            violations(story, facts).into_iter().map(of)
        })
        .collect();
    let (raises, restores) = (facts.log.epochs_raised.len(), facts.restores.len());
    if raises < restores {
        found.push((String::new(), Violation::EpochNotRaised));
    }
    if raises > restores * facts.raises_max {
        found.push((String::new(), Violation::EpochRaised));
    }
    found
}

fn violations(story: &Story, facts: &Facts<'_>) -> Vec<Violation> {
    let (log, holders) = (facts.log, facts.holders);
    let mut found = Vec::new();
    let granted = |asked: &&Asked| asked.outcome == Outcome::Granted;
    let keys: BTreeSet<u8> = story
        .asked
        .iter()
        .filter(granted)
        .map(|asked| asked.key)
        .collect();
    let recorded = log.holders.get(&story.hash);
    if keys.len() > 1 {
        found.push(Violation::TwoKeys);
    }
    if recorded.is_some_and(|holders| holders.len() > 1) {
        found.push(Violation::TwoKeysOnRecord);
    }
    if !log.issued.contains(&story.hash) {
        found.push(Violation::IssueWithoutRecord);
    }
    let on_record = |key: &u8| {
        let holder = holders.get(usize::from(*key));
        recorded
            .zip(holder)
            .is_some_and(|(recorded, holder)| recorded.contains_key(holder))
    };
    if !keys.iter().all(on_record) {
        found.push(Violation::ReleaseWithoutRecord);
    }
    if recorded_twice(story, facts) {
        found.push(Violation::RecordedTwice);
    }
    let misgiven = |asked: &Asked| asked.outcome == Outcome::Misgiven;
    if story.asked.iter().any(misgiven) {
        found.push(Violation::OtherCard);
    }
    let covered = |asked: &Asked| facts.suspensions.iter().any(|it| it.covers(story, asked));
    if story.asked.iter().filter(granted).any(covered) {
        found.push(Violation::SuspendedCard);
    }
    if claim_lost(story, facts) {
        found.push(Violation::ClaimLost);
    }
    if token_lost(story, facts) {
        found.push(Violation::TokenLost);
    }
    if facts
        .restores
        .iter()
        .any(|restore| is_revived(story, *restore))
    {
        found.push(Violation::OldToken);
    }
    found
}

/// It was there before a restore, and was granted after it.
fn is_revived(story: &Story, restore: Span) -> bool {
    let was_there = story.there < restore.began;
    let granted = |asked: &Asked| asked.outcome == Outcome::Granted && asked.sent > restore.ended;
    was_there && story.asked.iter().any(granted)
}

/// It was under way when another database took the place: what the one before had committed, and
/// had not answered, is in its log, and the request was decided anew.
fn was_decided_anew(asked: &Asked, facts: &Facts<'_>) -> bool {
    let spans = |restore: &Span| asked.sent < restore.ended && asked.came > restore.began;
    facts.restores.iter().any(spans)
}

/// A key's releases are on record more often than it has asked.
fn recorded_twice(story: &Story, facts: &Facts<'_>) -> bool {
    let Some(recorded) = facts.log.holders.get(&story.hash) else {
        return false;
    };
    facts.holders.iter().zip(0..).any(|(holder, key)| {
        let mine = |asked: &&Asked| {
            let was_refused = asked.outcome == Outcome::Refused;
            asked.key == key && (!was_refused || was_decided_anew(asked, facts))
        };
        let asked = story.asked.iter().filter(mine).count();
        recorded
            .get(holder)
            .is_some_and(|entries| entries.len() > asked)
    })
}

/// A key was granted, asked again in time, and was refused.
fn claim_lost(story: &Story, facts: &Facts<'_>) -> bool {
    story.asked.iter().any(|refused| {
        let mine = || story.asked.iter().filter(|asked| asked.key == refused.key);
        let Some(first) = mine().find(|asked| asked.outcome == Outcome::Granted) else {
            return false;
        };
        // What had no answer may have been granted as well, and counts.
        let spent = mine()
            .filter(|asked| asked.sent < refused.came && asked.outcome != Outcome::Refused)
            .count();
        // It may have been claimed as early as the first request that had no answer was sent.
        let claimed = mine().map(|asked| asked.sent).min().unwrap_or_default();
        refused.outcome == Outcome::Refused
            && refused.sent > first.came
            && refused.came + SLACK_MS < claimed + REPEAT_MS
            && spent < ANSWERS_MAX
            && !facts.excuse(story, refused.came)
    })
}

/// Every request was answered by a refusal, in time, and nobody holds it.
fn token_lost(story: &Story, facts: &Facts<'_>) -> bool {
    let came = story.asked.last().map_or(0, |last| last.came);
    !story.asked.is_empty()
        && !facts.excuse(story, came)
        && story.asked.iter().all(|asked| {
            asked.outcome == Outcome::Refused && asked.came + SLACK_MS < story.issued + LIFE_MS
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOLDERS: [&str; 2] = ["ada", "eve"];

    fn asked(key: u8, at: u64, outcome: Outcome) -> Asked {
        Asked {
            key,
            sent: at,
            came: at + 10,
            outcome,
        }
    }

    fn story(asked: &[Asked]) -> Story {
        Story {
            hash: "t".into(),
            card: 1,
            issued: 0,
            there: 1,
            asked: asked.to_vec(),
        }
    }

    /// The log of one token, issued, and released to these.
    fn log(holders: &[&str]) -> Log {
        let mut log = Log::default();
        log.read(&json!({"kind": "token.issued", "target": {"token": "t"}}));
        for holder in holders {
            release(&mut log, holder, "a");
        }
        log
    }

    fn release(log: &mut Log, holder: &str, hash: &str) {
        log.read(&json!({
            "kind": "reveal.released", "target": {"token": "t"}, "actor": {"holder": holder}, "hash": hash,
        }));
    }

    fn found(asked: &[Asked], log: &Log) -> Vec<Violation> {
        found_after(asked, log, &[])
    }

    fn found_after(asked: &[Asked], log: &Log, restores: &[Span]) -> Vec<Violation> {
        let holders = HOLDERS.map(str::to_owned);
        let facts = Facts {
            log,
            holders: &holders,
            restores,
            suspensions: &[],
            hands: &[],
            raises_max: 1,
        };
        let found = check(&[story(asked)], &facts);
        found.into_iter().map(|(_, violation)| violation).collect()
    }

    fn raise(log: &mut Log, hash: &str) {
        log.read(&json!({"kind": "epoch.raised", "hash": hash}));
    }

    #[test]
    fn what_may_be_is_let_pass() {
        use Outcome::{Granted, Refused, Unavailable, Unknown};
        let ada = |at, outcome| asked(0, at, outcome);
        let eve = |at, outcome| asked(1, at, outcome);
        for (asked, holders) in [
            (vec![ada(0, Granted), eve(5, Refused)], vec!["ada"]),
            (
                vec![ada(0, Unknown), eve(5, Refused), ada(50, Granted)],
                vec!["ada"],
            ),
            // Claimed by a request that had no answer, and never asked for again.
            (vec![ada(0, Unknown), eve(5, Refused)], vec!["ada"]),
            (vec![ada(0, Unknown), eve(5, Granted)], vec!["eve"]),
            (vec![ada(0, Unavailable), eve(5, Unavailable)], vec![]),
            // Too late, and too often.
            (vec![ada(0, Granted), ada(31_000, Refused)], vec!["ada"]),
            (
                vec![
                    ada(0, Granted),
                    ada(20, Granted),
                    ada(40, Unknown),
                    ada(60, Granted),
                    ada(80, Refused),
                ],
                vec!["ada"],
            ),
            (vec![ada(301_000, Refused)], vec![]),
        ] {
            assert_eq!(found(&asked, &log(&holders)), [], "{asked:?}");
        }
    }

    #[test]
    fn what_may_not_be_is_found() {
        use Outcome::{Granted, Misgiven, Refused, Unavailable};
        let two = [asked(0, 0, Granted), asked(1, 5, Granted)];
        assert_eq!(
            found(&two, &log(&["ada", "eve"])),
            [Violation::TwoKeys, Violation::TwoKeysOnRecord]
        );
        let one = [asked(0, 0, Granted)];
        // Nor has eve asked, whose release is on record.
        assert_eq!(
            found(&one, &log(&["ada", "eve"])),
            [Violation::TwoKeysOnRecord, Violation::RecordedTwice]
        );
        let mut twice = log(&["ada"]);
        release(&mut twice, "ada", "a");
        assert_eq!(found(&one, &twice), []);
        release(&mut twice, "ada", "b");
        assert_eq!(found(&one, &twice), [Violation::RecordedTwice]);
        let again = [asked(0, 0, Granted), asked(0, 50, Unavailable)];
        assert_eq!(found(&again, &twice), []);
        let misgiven = [asked(0, 0, Misgiven)];
        assert_eq!(found(&misgiven, &log(&["ada"])), [Violation::OtherCard]);
        assert_eq!(found(&one, &log(&[])), [Violation::ReleaseWithoutRecord]);
        assert_eq!(
            found(&one, &log(&["eve"])),
            [Violation::ReleaseWithoutRecord, Violation::RecordedTwice]
        );
        let lost = [asked(0, 0, Granted), asked(0, 100, Refused)];
        assert_eq!(found(&lost, &log(&["ada"])), [Violation::ClaimLost]);
        let nobody = [asked(0, 0, Refused), asked(1, 5, Refused)];
        assert_eq!(found(&nobody, &log(&[])), [Violation::TokenLost]);
        assert_eq!(found(&[], &Log::default()), [Violation::IssueWithoutRecord]);
        let mut raised = log(&["ada"]);
        raise(&mut raised, "a");
        assert_eq!(found(&one, &raised), [Violation::EpochRaised]);
    }

    #[test]
    fn a_card_that_is_suspended_is_not_shown() {
        use Outcome::{Granted, Refused};
        let suspended_for = |holders: &[&str], card, story: &[Asked]| {
            let suspensions = [Suspension {
                card,
                asked: 100,
                began: 200,
                ended: 300,
                over: 400,
            }];
            let (log, holders) = (log(holders), HOLDERS.map(str::to_owned));
            let facts = Facts {
                log: &log,
                holders: &holders,
                restores: &[],
                suspensions: &suspensions,
                hands: &[],
                raises_max: 1,
            };
            let found = check(&[self::story(story)], &facts);
            found.into_iter().map(|found| found.1).collect::<Vec<_>>()
        };
        let suspended = |card, story: &[Asked]| suspended_for(&["ada"], card, story);
        let shown = [asked(0, 250, Granted)];
        assert_eq!(suspended(1, &shown), [Violation::SuspendedCard]);
        assert_eq!(suspended(2, &shown), []);
        for at in [195, 295] {
            assert_eq!(suspended(1, &[asked(0, at, Granted)]), []);
        }
        let refused = [asked(0, 0, Granted), asked(0, 250, Refused)];
        assert_eq!(suspended(1, &refused), []);
        assert_eq!(suspended(2, &refused), [Violation::ClaimLost]);
        let nobody = [asked(0, 250, Refused), asked(1, 450, Refused)];
        assert_eq!(suspended_for(&[], 1, &nobody), []);
        assert_eq!(suspended_for(&[], 2, &nobody), [Violation::TokenLost]);
    }

    #[test]
    fn a_hand_in_the_database_has_tokens_refused_and_gives_none_away() {
        use Outcome::{Granted, Refused};
        let hands = [Span {
            began: 200,
            ended: 300,
        }];
        let after = |asked: &[Asked], holders: &[&str]| {
            let (log, holders) = (log(holders), HOLDERS.map(str::to_owned));
            let facts = Facts {
                log: &log,
                holders: &holders,
                restores: &[],
                suspensions: &[],
                hands: &hands,
                raises_max: 1,
            };
            let found = check(&[story(asked)], &facts);
            found.into_iter().map(|found| found.1).collect::<Vec<_>>()
        };
        let put_back = [asked(0, 0, Granted), asked(0, 400, Refused)];
        assert_eq!(after(&put_back, &["ada"]), []);
        let unspent = [asked(0, 0, Granted), asked(1, 400, Granted)];
        assert_eq!(
            after(&unspent, &["ada", "eve"]),
            [Violation::TwoKeys, Violation::TwoKeysOnRecord]
        );
        let before = [asked(0, 0, Granted), asked(0, 50, Refused)];
        assert_eq!(after(&before, &["ada"]), [Violation::ClaimLost]);
    }

    #[test]
    fn a_restore_takes_claims_away_and_gives_none() {
        use Outcome::{Granted, Refused};
        let restore = [Span {
            began: 200,
            ended: 300,
        }];
        let after = |asked: &[Asked], holders: &[&str]| {
            let mut log = log(holders);
            // Once in each of the two logs.
            raise(&mut log, "a");
            raise(&mut log, "a");
            found_after(asked, &log, &restore)
        };
        let claimed = [asked(0, 0, Granted), asked(0, 400, Refused)];
        assert_eq!(after(&claimed, &["ada"]), []);
        let nobody = [asked(0, 0, Refused), asked(1, 400, Refused)];
        assert_eq!(after(&nobody, &[]), []);
        // Committed before, not answered, and decided anew.
        assert_eq!(after(&[asked(0, 195, Refused)], &["ada"]), []);
        for at in [185, 301] {
            let found = after(&[asked(0, at, Refused)], &["ada"]);
            assert!(found.contains(&Violation::RecordedTwice), "{at}: {found:?}");
        }
        let stolen = [asked(0, 0, Granted), asked(1, 400, Granted)];
        assert_eq!(
            after(&stolen, &["ada", "eve"]),
            [
                Violation::TwoKeys,
                Violation::TwoKeysOnRecord,
                Violation::OldToken
            ]
        );
        let revived = [asked(0, 0, Refused), asked(1, 400, Granted)];
        assert_eq!(after(&revived, &["eve"]), [Violation::OldToken]);
        let lost = [asked(0, 310, Granted), asked(0, 400, Refused)];
        let mut later = story(&lost);
        (later.issued, later.there) = (305, 306);
        let (mut log, holders) = (log(&["ada"]), HOLDERS.map(str::to_owned));
        let mut found = |raises: &[&str]| {
            for hash in raises {
                raise(&mut log, hash);
            }
            let facts = Facts {
                log: &log,
                holders: &holders,
                restores: &restore,
                suspensions: &[],
                hands: &[],
                raises_max: 1,
            };
            let found = check(std::slice::from_ref(&later), &facts);
            found.into_iter().map(|found| found.1).collect::<Vec<_>>()
        };
        // It excuses nothing that came after it.
        assert_eq!(
            found(&[]),
            [Violation::ClaimLost, Violation::EpochNotRaised]
        );
        assert_eq!(found(&["a"]), [Violation::ClaimLost]);
        assert_eq!(
            found(&["b"]),
            [Violation::ClaimLost, Violation::EpochRaised]
        );
    }
}
