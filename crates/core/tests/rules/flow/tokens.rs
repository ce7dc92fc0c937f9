//! What is taken for a token, over rotations and beside nodes of the version before.

use std::collections::BTreeSet;

use cardveil_core::audit::Kind;
use cardveil_core::clock::Time;
use cardveil_core::flow::*;
use cardveil_core::keys::LOOK_EVERY;
use cardveil_core::port::{Admin as _, Audit as _};
use cardveil_core::token::{ClientToken, Epoch, LIFE, Said, TTL};
use cardveil_seal::Class;
use cardveil_testkit::sample::START;
use cardveil_testkit::{ManualClock, sample};

use super::keys::Setup;

fn text(service: &Service, form: Form, version: u32, issued_at: Time) -> String {
    let token = service.write(form, version, (Epoch(0), issued_at), &[9; 32]);
    token.unwrap().expose().to_owned()
}

async fn taken(service: &Service, text: &str) -> Result<(), NotTaken> {
    service.token(text, LIFE).await.unwrap().map(drop)
}

fn now(clock: &ManualClock) -> Time {
    cardveil_core::Clock::now(clock)
}

/// 28,000 texts with a right checksum once made 28,000 records.
#[tokio::test]
async fn a_forged_token_is_refused_by_its_check() {
    let setup = Setup::new().await;
    let ours = text(&setup.server, Form::Keyed, 1, START);
    assert_eq!(taken(&setup.server, &ours).await, Ok(()));
    let random = [9; 32];
    let said = Said {
        environment: setup.server.vault().environment(),
        epoch: Epoch(0),
        issued_at: START,
        random: &random,
    };
    let before = setup.store.last_entry().await.unwrap();
    let mut refused = BTreeSet::new();
    for guess in 0..=u8::MAX {
        let forged = ClientToken::new(&said, 1, |_| Ok::<_, Fault>([guess; 32])).unwrap();
        refused.insert(forged.expose().to_owned());
        assert_eq!(
            taken(&setup.server, forged.expose()).await,
            Err(NotTaken::Check)
        );
    }
    assert_eq!(refused.len(), 256);
    assert_eq!(setup.store.last_entry().await.unwrap(), before);
}

/// The check says what it is for: no other MAC under the same key passes for it.
#[tokio::test]
async fn the_mac_of_another_purpose_is_no_check() {
    let setup = Setup::new().await;
    let vault = setup.server.vault();
    let random = [9; 32];
    let said = Said {
        environment: vault.environment(),
        epoch: Epoch(0),
        issued_at: START,
        random: &random,
    };
    let of_another = |parts: &[&[u8]]| {
        let mut parts = parts.to_vec();
        parts[0] = b"access-token";
        vault.mac_under(1, &parts)
    };
    let forged = ClientToken::new(&said, 1, of_another).unwrap();
    let refused = taken(&setup.server, forged.expose()).await;
    assert_eq!(refused, Err(NotTaken::Check));
}

#[tokio::test]
async fn a_token_past_its_life_by_its_own_time_is_refused() {
    let setup = Setup::new().await;
    let token = text(&setup.server, Form::Keyed, 1, START);
    setup
        .clock
        .set(Time::from_millis(START.plus(LIFE).millis() - 1));
    assert_eq!(taken(&setup.server, &token).await, Ok(()));
    setup.clock.set(START.plus(LIFE));
    assert_eq!(taken(&setup.server, &token).await, Err(NotTaken::PastLife));
}

/// Its holder has 300 s, whatever operators do to the class key.
#[tokio::test]
async fn a_token_of_before_a_rotation_is_good() {
    let setup = Setup::new().await;
    let before = text(&setup.server, Form::Keyed, 1, START);
    setup.rotate(Class::Access).await;
    let after = text(&setup.operator, Form::Keyed, 2, START);
    for service in [&setup.operator, &setup.server] {
        assert_eq!(taken(service, &before).await, Ok(()));
        assert_eq!(taken(service, &after).await, Ok(()));
    }
    setup.clock.advance(TTL);
    let early = setup.retire(Class::Access, 1).await;
    assert_ne!(early, cardveil_core::keys::Retired::Done);
    assert_eq!(taken(&setup.operator, &before).await, Ok(()));
}

/// A node looks for a key that it has not seen; strangers can have it look once a second.
#[tokio::test]
async fn a_key_that_is_not_known_is_looked_for_once_a_second() {
    let setup = Setup::new().await;
    let early = text(&setup.operator, Form::Keyed, 1, START);
    let garbage = early.clone();
    let unknown = |version: u32| {
        let random = [7; 32];
        let said = Said {
            environment: setup.server.vault().environment(),
            epoch: Epoch(0),
            issued_at: START,
            random: &random,
        };
        let made = ClientToken::new(&said, version, |_| Ok::<_, Fault>([0; 32]));
        made.unwrap().expose().to_owned()
    };
    assert_eq!(
        taken(&setup.server, &unknown(7)).await,
        Err(NotTaken::Check)
    );
    setup.rotate(Class::Access).await;
    let new = text(&setup.operator, Form::Keyed, 2, START);
    assert_eq!(taken(&setup.server, &new).await, Err(NotTaken::Check));
    setup.clock.advance(KEY_LOOK_EVERY);
    assert_eq!(taken(&setup.server, &new).await, Ok(()));
    // One below those that are known is none that could be new.
    assert_eq!(
        taken(&setup.server, &unknown(0)).await,
        Err(NotTaken::Check)
    );
    assert_eq!(taken(&setup.server, &garbage).await, Ok(()));
}

#[tokio::test]
async fn where_no_earlier_program_ever_ran_the_first_form_is_no_token() {
    let setup = Setup::new().await;
    assert_eq!(setup.server.form().await.unwrap(), Form::Keyed);
    let first = text(&setup.server, Form::First, 1, START);
    assert_eq!(taken(&setup.server, &first).await, Err(NotTaken::Form));
}

/// As long as one may serve, it must be able to read what this one issues; and what it has issued
/// last is good for 300 s.
#[tokio::test]
async fn beside_a_node_of_the_version_before_tokens_are_of_the_first_form() {
    let setup = Setup::new().await;
    let (clock, server) = (&setup.clock, &setup.server);
    setup.store.write_as_the_version_before(START);
    let first = text(server, Form::First, 1, START);
    assert_eq!(server.form().await.unwrap(), Form::First);
    assert_eq!(taken(server, &first).await, Ok(()));
    // It goes on for as long as such a node writes.
    clock.advance(GONE_AFTER / 2);
    setup.store.write_as_the_version_before(now(clock));
    let last = now(clock);
    clock.set(Time::from_millis(last.plus(GONE_AFTER).millis() - 1));
    assert_eq!(server.form().await.unwrap(), Form::First);
    let youngest = text(server, Form::First, 1, now(clock));
    clock.advance(LOOK_EVERY);
    assert_eq!(server.form().await.unwrap(), Form::Keyed);
    assert_eq!(taken(server, &first).await, Ok(()));
    clock.advance(TTL);
    assert_eq!(taken(server, &youngest).await, Ok(()), "of before");
    let forged = text(server, Form::First, 1, now(clock));
    assert_eq!(
        taken(server, &forged).await,
        Err(NotTaken::Form),
        "of after"
    );
    clock.advance(LIFE);
    assert_eq!(taken(server, &youngest).await, Err(NotTaken::Form));
    // A node of before that comes back is noticed.
    setup.store.write_as_the_version_before(now(clock));
    assert_eq!(server.form().await.unwrap(), Form::First);
}

/// A name is answered with the same token, over a change of the form and a rotation.
#[tokio::test]
async fn a_named_request_gets_the_token_that_it_got() {
    let setup = Setup::new().await;
    let credential = sample::credential(1);
    let caller = Caller {
        merchant: sample::merchant(1),
        source: sample::operator(),
        credential,
    };
    let ask = async || {
        let asked = Asked {
            card: cardveil_core::card::CardRef::Id(sample::card(1).id),
            account: None,
            person: None,
            operation: cardveil_core::token::Operation::ViewCard,
            fields: None,
            bound_to: None,
            embed: None,
            named: Some(Named {
                key: "order-1".to_owned(),
                request: b"the same".to_vec(),
            }),
            mfa: Presented::Impossible,
        };
        let epoch = setup.store.epoch().await.unwrap();
        let issued = setup.operator.issue(&caller, epoch, &asked).await;
        issued.unwrap().unwrap().token.expose().to_owned()
    };
    setup.store.write_as_the_version_before(START);
    let first = ask().await;
    assert_eq!(first.len(), 70);
    setup.rotate(Class::Access).await;
    setup.clock.advance(GONE_AFTER);
    assert_eq!(setup.operator.form().await.unwrap(), Form::Keyed);
    assert_eq!(ask().await, first);
    let issued = setup.store.entries(0, 100).await.unwrap();
    let issued = issued
        .iter()
        .filter(|it| it.event.kind == Kind::TokenIssued);
    assert_eq!(issued.count(), 1);
}
