//! The rules over a store, with the crashes that a courier may have.

mod message;

use std::collections::BTreeMap;
use std::time::Duration;

use cardveil_core::audit::{Kind, Source, Target, Topic};
use cardveil_core::card::State as CardState;
use cardveil_core::clock::Time;
use cardveil_core::hook::delivery::{CODE_PATIENCE, PATIENCE};
use cardveil_core::hook::*;
use cardveil_core::id::{CardId, DeliveryId, SessionId, SubscriptionId};
use cardveil_core::port::{Change, Outbox as _, Take};
use cardveil_core::verb::{Changes, Commit, RecordEvent};
use cardveil_testkit::sample::{self, START};
use cardveil_testkit::{Fault, Faulty, Memory};
use proptest::prelude::*;

fn waiting(form: Form, topic: Topic) -> (Delivery, Attempted) {
    let mut event = sample::moved(1, CardState::Suspended, START);
    event.target.session = Some(SessionId::from_bytes([3; 16]));
    let row = sample::subscription(1).queue(7, &event, topic);
    let attempted = Attempted {
        delivery: row.id,
        lease: START,
        at: START,
        form,
        answer: Answer::Status(500),
    };
    (row, attempted)
}

/// The moments of all attempts, in seconds, when each is refused the moment it is made.
fn attempts(form: Form, topic: Topic) -> Vec<i64> {
    let (mut row, mut attempted) = waiting(form, topic);
    let mut moments = Vec::new();
    while row.state == State::Waiting {
        let now = row.due_at;
        moments.push((now.millis() - START.millis()) / 1_000);
        row = row.lease(now, now.plus(Duration::from_secs(30))).unwrap();
        attempted.lease = row.leased_until.unwrap();
        attempted.at = now;
        let Settled::Change(next, _) = attempted.decide(Some(&row)) else {
            panic!("the lease holds")
        };
        row = *next;
    }
    moments
}

#[test]
fn equals_is_tried_every_five_minutes_for_two_weeks() {
    let two_weeks = i64::try_from(PATIENCE.as_secs()).unwrap();
    for form in [Form::Equals, Form::KeySecure] {
        let moments = attempts(form, Topic::CardState);
        assert!(moments.windows(2).all(|pair| pair[1] - pair[0] == 300));
        assert_eq!(moments.first(), Some(&0));
        assert_eq!(moments.last(), Some(&two_weeks), "the last moment is in");
    }
}

#[test]
fn standard_webhooks_are_tried_as_their_specification_recommends() {
    let moments = attempts(Form::Standard, Topic::CardState);
    // "Deliverability and reliability": time since start, in seconds; then once a day.
    let published = [
        0, 5, 305, 2_105, 9_305, 27_305, 63_305, 113_705, 185_705, 272_105,
    ];
    assert_eq!(moments[..10], published);
    assert!(moments[9..].windows(2).all(|p| p[1] - p[0] == 86_400));
    let end = i64::try_from(PATIENCE.as_secs()).unwrap();
    assert!(
        moments
            .last()
            .is_some_and(|last| *last <= end && last + 86_400 > end)
    );
}

#[test]
fn a_code_is_tried_soon_and_only_while_its_session_lasts() {
    for form in [Form::Equals, Form::Standard] {
        let moments = attempts(form, Topic::MfaCode);
        assert_eq!(moments[..5], [0, 2, 7, 17, 47]);
        let end = i64::try_from(CODE_PATIENCE.as_secs()).unwrap();
        assert!(moments.iter().all(|moment| *moment <= end));
    }
    let (code, _) = waiting(Form::Standard, Topic::MfaCode);
    assert!(
        matches!(code.line, Line::Session(_)),
        "it waits for no card"
    );
    let (state, _) = waiting(Form::Standard, Topic::CardState);
    assert_eq!(state.line, Line::Card(sample::card(1).id));
}

#[test]
fn the_message_id_is_a_uuid_of_its_own_kind_and_differs_where_it_must() {
    let one = sample::subscription(1).id;
    let id = delivery::message_id(one, 1, START);
    assert_eq!(id, delivery::message_id(one, 1, START));
    // Python: uuid.UUID(bytes=sha256(b"cardveil/delivery/v1" + b"\1"*16 + seq + at)[:16]) with the
    // version and variant of RFC 9562 5.8 set.
    assert_eq!(id.to_string(), MESSAGE_ID);
    let others = [
        delivery::message_id(sample::subscription(2).id, 1, START),
        delivery::message_id(one, 2, START),
        delivery::message_id(one, 1, START.plus(Duration::from_millis(1))),
    ];
    assert!(others.iter().all(|other| *other != id));
}

const MESSAGE_ID: &str = "19cf6545-6594-8fa8-9ebd-3678356addee";

#[test]
fn a_line_is_read_back() {
    let card = Line::Card(CardId::from_bytes([1; 16]));
    let session = Line::Session(SessionId::from_bytes([2; 16]));
    for line in [card, session, Line::Rest] {
        assert_eq!(line.to_string().parse(), Ok(line));
    }
    for wrong in ["", "card", "card/", "other/1", "rest/", "Rest"] {
        assert!(wrong.parse::<Line>().is_err(), "{wrong:?}");
    }
}

#[test]
fn nothing_is_taken_before_it_is_due_or_after_it_has_ended() {
    let (row, _) = waiting(Form::Standard, Topic::CardState);
    let (before, until) = (Time::from_millis(START.millis() - 1), START.plus(PATIENCE));
    assert_eq!(row.lease(before, until), None);
    assert_eq!(row.lease(START, START), None, "an empty lease");
    assert!(row.lease(START, until).is_some());
    for state in [State::Delivered(START), State::Failed(START)] {
        let ended = Delivery {
            state,
            ..row.clone()
        };
        assert_eq!(ended.lease(until, until.plus(PATIENCE)), None);
    }
}

async fn setup() -> Faulty<Memory> {
    let store = Faulty::new(Memory::default());
    let event = |kind| sample::event(kind, START);
    let mut changes = vec![(
        Change::AddMerchant(sample::merchant(1)),
        event(Kind::MerchantAdded),
    )];
    for n in 1..=3 {
        let card = Box::new(sample::card(n));
        changes.push((Change::AddCard(card), event(Kind::CardAdded)));
    }
    for n in 1..=2 {
        let subscription = Box::new(sample::subscription(n));
        let change = Change::AddSubscription(subscription);
        changes.push((change, event(Kind::WebhookAdded)));
    }
    store.commit(Changes(changes)).await.unwrap();
    store
}

fn take(now: Time) -> Take {
    Take {
        now,
        lease_until: now.plus(Duration::from_secs(30)),
        limit: 10,
        per_subscription: 10,
    }
}

async fn change(store: &Faulty<Memory>, card: u8, at: Time) -> bool {
    let state = CardState::Suspended;
    store
        .commit(RecordEvent(sample::moved(card, state, at)))
        .await
        .is_ok()
}

#[tokio::test]
async fn an_event_is_queued_if_and_only_if_its_change_is_written() {
    for (fault, queued) in [
        (Fault::NotPersisted, 0),
        (Fault::UnknownNotPersisted, 0),
        (Fault::UnknownPersisted, 2),
    ] {
        let store = setup().await;
        store.fail_next(fault);
        assert!(!change(&store, 1, START).await);
        assert_eq!(
            store.outbox_counts().await.unwrap().waiting,
            queued,
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn a_lease_or_an_answer_that_gets_lost_leads_to_a_repeat() {
    for fault in [
        Fault::NotPersisted,
        Fault::UnknownNotPersisted,
        Fault::UnknownPersisted,
    ] {
        let store = setup().await;
        change(&store, 1, START).await;
        store.fail_next(fault);
        store.commit(take(START)).await.unwrap_err();
        let later = START.plus(Duration::from_secs(30));
        let taken = store.commit(take(later)).await.unwrap();
        assert_eq!(taken.len(), 2, "{fault:?}");
        store.fail_next(fault);
        let attempted = Attempted {
            delivery: taken[0].delivery.id,
            lease: taken[0].delivery.leased_until.unwrap(),
            at: later,
            form: Form::Standard,
            answer: Answer::Accepted(200),
        };
        store.commit(attempted).await.unwrap_err();
        let last = later.plus(Duration::from_secs(30));
        let again = store.commit(take(last)).await.unwrap();
        let repeated = if fault == Fault::UnknownPersisted {
            1
        } else {
            2
        };
        assert_eq!(again.len(), repeated, "{fault:?}");
    }
}

/// What may happen between two looks at the outbox.
#[derive(Clone, Debug)]
enum Step {
    /// A card changes its state.
    Change(u8),
    /// A courier takes what is due.
    Take,
    /// The receiver gets one that is under way and takes it; the answer is recorded or lost.
    Accept { which: usize, recorded: bool },
    /// The receiver gets one and fails before it takes it.
    Refuse { which: usize },
    /// Time passes.
    Wait(u16),
    /// The courier crashes: all that it has under way is forgotten.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..=3_u8).prop_map(Step::Change),
        4 => Just(Step::Take),
        3 => (0..8_usize, any::<bool>()).prop_map(|(which, recorded)| Step::Accept { which, recorded }),
        2 => (0..8_usize).prop_map(|which| Step::Refuse { which }),
        3 => (0..400_u16).prop_map(Step::Wait),
        1 => Just(Step::Crash),
    ]
}

/// The order in which a receiver first took the events of each line.
type Arrived = BTreeMap<(SubscriptionId, Line), Vec<(i64, DeliveryId)>>;

fn arrive(arrived: &mut Arrived, delivery: &Delivery) {
    let line = arrived
        .entry((delivery.subscription, delivery.line))
        .or_default();
    if !line.contains(&(delivery.seq, delivery.id)) {
        line.push((delivery.seq, delivery.id));
    }
}

async fn play(steps: Vec<Step>) -> (Arrived, usize) {
    let store = setup().await;
    let mut now = START;
    let mut under_way: Vec<cardveil_core::port::Due> = Vec::new();
    let mut arrived = Arrived::new();
    let mut told = 0;
    // At the end the receiver is well, and every lease has ended.
    let calm = [Step::Crash, Step::Wait(u16::MAX), Step::Take];
    let recover = std::iter::once(Step::Take).chain(std::iter::repeat_n(
        Step::Accept {
            which: 0,
            recorded: true,
        },
        6,
    ));
    let recovery: Vec<_> = recover.collect();
    let rounds = steps.len() + 1;
    let steps = steps
        .into_iter()
        .chain(calm)
        .chain(std::iter::repeat_n(recovery, rounds).flatten());
    for step in steps {
        let answer = |due: &cardveil_core::port::Due, answer| Attempted {
            delivery: due.delivery.id,
            lease: due.delivery.leased_until.unwrap(),
            at: now,
            form: Form::Standard,
            answer,
        };
        match step {
            Step::Change(card) => {
                assert!(change(&store, card, now).await);
                told += 2;
            }
            Step::Take => under_way.extend(store.commit(take(now)).await.unwrap()),
            Step::Accept { which, recorded } if which < under_way.len() => {
                let due = under_way.remove(which);
                // A courier gives up before its lease ends.
                if due.delivery.leased_until.unwrap() > now {
                    arrive(&mut arrived, &due.delivery);
                    if recorded {
                        let accepted = answer(&due, Answer::Accepted(200));
                        store.commit(accepted).await.unwrap().unwrap();
                    }
                }
            }
            Step::Refuse { which } if which < under_way.len() => {
                let due = under_way.remove(which);
                let refused = answer(&due, Answer::Unreachable);
                store.commit(refused).await.unwrap();
            }
            Step::Accept { .. } | Step::Refuse { .. } => {}
            Step::Wait(secs) => now = now.plus(Duration::from_secs(secs.into())),
            Step::Crash => under_way.clear(),
        }
    }
    let left = store.outbox_counts().await.unwrap();
    assert_eq!((left.waiting, left.failed), (0, 0));
    (arrived, told)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn every_event_arrives_once_or_more_and_in_the_order_of_its_card(
        steps in prop::collection::vec(step(), 0..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (arrived, told) = runtime.block_on(play(steps));
        prop_assert_eq!(arrived.values().map(Vec::len).sum::<usize>(), told);
        for (line, events) in arrived {
            prop_assert!(events.is_sorted(), "{:?}: {:?}", line, events);
        }
    }
}

#[test]
fn what_is_given_up_says_so_without_where_it_went() {
    let (row, mut attempted) = waiting(Form::Standard, Topic::CardState);
    attempted.lease = START.plus(PATIENCE);
    attempted.answer = Answer::Gone;
    let leased = row.lease(START, attempted.lease).unwrap();
    let Settled::Change(_, Some(event)) = attempted.decide(Some(&leased)) else {
        panic!("given up")
    };
    assert_eq!(event.kind, Kind::WebhookFailed);
    assert_eq!(event.topic(), None, "nobody is told of it by the same way");
    let note = event.detail.note.unwrap();
    assert!(
        note.contains(&row.id.to_string()) && !note.contains("hooks.example"),
        "{note}"
    );
    let nobody = Source::server().event(START, Kind::CardChanged, None, Target::default());
    assert_eq!(nobody.topic(), None, "a change that is none of state");
}
