//! Each form to its bytes: published vectors where there are some, otherwise values that were
//! computed apart, by the Python that stands beside them.

use cardveil_core::audit::{Event, Kind, Topic};
use cardveil_core::card::State;
use cardveil_core::clock::Time;
use cardveil_core::hook::message::*;
use cardveil_core::hook::{Answer, Attempted, Form, Settled};
use cardveil_core::id::{SessionId, WalletTokenId};
use cardveil_core::mfa::Purpose;
use cardveil_seal::Secret;
use cardveil_testkit::sample::{self, START};
use serde_json::Value;

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn keys() -> Keys {
    Keys {
        secret: Some(secret("cvk_test_key")),
        api_secret: Some(secret("0123456789abcdef0123456789abcdef")),
        authorization: None,
    }
}

fn text(secret: &Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

fn header(message: &Message, name: &str) -> String {
    let mut found = message.headers.iter().filter(|(key, _)| *key == name);
    let value = text(&found.next().unwrap().1);
    assert!(found.next().is_none(), "{name} once");
    value
}

fn json(message: &Message) -> Value {
    serde_json::from_slice(message.body.expose()).unwrap()
}

/// An event of a topic, about card 1.
fn event(topic: Topic) -> Event {
    let mut event = sample::moved(1, State::Suspended, START);
    event.detail.reason = Some("Lost & found".into());
    match topic {
        Topic::CardState => {}
        Topic::WalletToken => {
            event.target.wallet_token = Some(WalletTokenId::from_bytes([4; 16]));
            event.detail.from = Some("requested".into());
            event.detail.to = Some("active".into());
        }
        Topic::RevealConflict => {
            event.kind = Kind::RevealConflict;
            event.detail.operation = Some(Purpose::ViewCard);
        }
        Topic::MfaCode => {
            event.target.session = Some(SessionId::from_bytes([3; 16]));
            event.detail.operation = Some(Purpose::ViewCard);
        }
    }
    event
}

fn told_as(form: Form, topic: Topic, now: Time, keys: Keys) -> Option<Message> {
    let event = event(topic);
    let delivery = sample::subscription(1).queue(7, &event, topic);
    let (card, code) = (sample::card(1), secret("123456"));
    let facts = Facts {
        delivery: &delivery,
        event: &event,
        card: Some(&card),
        code: (topic == Topic::MfaCode).then_some(&code),
        now,
    };
    message(form, &facts, keys)
}

/// The vector of the specification's reference libraries (standard-webhooks/standard-webhooks,
/// libraries/*/test: "sign function works").
#[test]
fn the_published_vector_of_standard_webhooks() {
    let key = decode_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signature = standard::sign(
        &key,
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        br#"{"test": 2432232314}"#,
    );
    assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

#[test]
fn a_standard_secret_has_24_to_64_bytes_and_is_read_back() {
    for bytes in [24, 32, 64] {
        let key = Secret::new(vec![7; bytes]);
        let written = text(&encode_secret(&key));
        assert!(decode_secret(&written).unwrap().ct_eq(key.expose()));
    }
    for bytes in [0, 23, 65] {
        let written = text(&encode_secret(&Secret::new(vec![7; bytes])));
        assert!(decode_secret(&written).is_err(), "{bytes}");
    }
    for wrong in ["", "whsec_", "whsec_!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
        assert!(decode_secret(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_standard_message_is_signed_over_its_id_its_moment_and_its_bytes() {
    let now = START.plus(std::time::Duration::from_millis(1_999));
    let sent = told_as(Form::Standard, Topic::CardState, now, keys()).unwrap();
    let (id, moment) = (
        header(&sent, "webhook-id"),
        header(&sent, "webhook-timestamp"),
    );
    assert_eq!(moment, "1767225601");
    let signed = standard::sign(&secret("cvk_test_key"), &id, &moment, sent.body.expose());
    assert_eq!(header(&sent, "webhook-signature"), signed);
}

/// KeySecure's V1 signature. In Python:
/// `hmac.new(secret, canonical.encode(), "sha256").hexdigest()`.
#[test]
fn a_keysecure_callback_is_signed_as_its_pages_say() {
    let now = START.plus(std::time::Duration::from_millis(1_234));
    let sent = told_as(Form::KeySecure, Topic::CardState, now, keys()).unwrap();
    assert_eq!(header(&sent, "timestamp"), "1767225601234");
    assert_eq!(header(&sent, "sign-version"), "V1");
    assert_eq!(header(&sent, "timezone"), "UTC+8");
    let call = json(&sent);
    let data = call["data"].as_object().unwrap();
    let canonical = keysecure::canonical("cvk_test_key", "1767225601234", data);
    assert_eq!(
        canonical,
        "after_status=Frozen&appId=cvk_test_key&before_status=Activated&card_no=C1\
         &reason=Lost & found&time=2026-01-01 08:00:00&timestamp=1767225601234"
    );
    assert_eq!(header(&sent, "signature"), KEYSECURE_SIGNATURE);
}

const KEYSECURE_SIGNATURE: &str =
    "ba87159a9ca2a453172f830b7acbb887a8544b2286c701588b2f4cadba0d8e5f";

#[test]
fn what_is_null_is_not_signed_and_what_is_no_text_is_compact_json() {
    let data = serde_json::json!({"b": null, "a": {"y": 1, "x": [true, 2.5]}, "Z": 3, "z": "t"});
    let canonical = keysecure::canonical("app", "1", data.as_object().unwrap());
    assert_eq!(
        canonical,
        r#"Z=3&a={"y":1,"x":[true,2.5]}&appId=app&timestamp=1&z=t"#
    );
}

/// Equals: Base64 of HMAC-SHA256 over the raw body.
#[test]
fn an_equals_message_is_signed_over_its_raw_body() {
    let uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    let shared = Keys {
        secret: Some(secret(uuid)),
        ..Keys::default()
    };
    let sent = told_as(Form::Equals, Topic::CardState, START, shared).unwrap();
    assert_eq!(text(&sent.body), EQUALS_BODY);
    assert_eq!(header(&sent, EQUALS_SIGNATURE), EQUALS_SIGNED);
    let unsigned = Keys {
        authorization: Some(secret("Basic dTpw")),
        ..Keys::default()
    };
    let sent = told_as(Form::Equals, Topic::CardState, START, unsigned).unwrap();
    assert_eq!(sent.headers.len(), 1, "no secret, no signature");
    assert_eq!(header(&sent, "authorization"), "Basic dTpw");
}

const EQUALS_BODY: &str = concat!(
    r#"{"body":{"cardId":"01010101-0101-0101-0101-010101010101","accountId":"F50091","#,
    r#""personId":"01010101-0101-0101-0101-010101010101","previousState":"ACTIVE","#,
    r#""state":"SUSPENDED","reason":"Lost & found","createdAt":"2026-01-01T00:00:00.000Z","#,
    r#""messageId":"fccf72c3-e786-8e37-9c88-2f5809b76b76","webhookEventTypeName":"CardStateUpdated"}}"#,
);
const EQUALS_SIGNED: &str = "fXxTNVLDTv8vk4L1xRIv3ZBK8lagCck1pHnv4LLc1Ho=";

#[test]
fn each_topic_has_its_message_in_each_form_that_tells_it() {
    for form in Form::ALL {
        for topic in Topic::ALL {
            let sent = told_as(form, topic, START, keys());
            assert_eq!(sent.is_some(), form.tells(topic), "{form:?} {topic:?}");
            if let Some(sent) = sent {
                let name = format!("{}_{}", form.as_str(), topic.as_str().replace('.', "_"));
                insta::assert_json_snapshot!(name, json(&sent));
                assert_eq!(text(&sent.body).contains("123456"), topic == Topic::MfaCode);
            }
        }
    }
    assert_eq!(EventType::ALL.map(|kind| kind.topic), Topic::ALL);
    for kind in EventType::ALL {
        assert_eq!(EventType::of(kind.topic), &kind);
        assert_eq!(EventType::named(kind.name), Some(&kind));
        assert_eq!(EventType::with_id(kind.id), Some(&kind));
    }
}

#[test]
fn a_later_attempt_says_the_same_under_the_same_id() {
    for form in Form::ALL {
        let later = START.plus(std::time::Duration::from_secs(3_600));
        let first = told_as(form, Topic::CardState, START, keys()).unwrap();
        let second = told_as(form, Topic::CardState, later, keys()).unwrap();
        assert_eq!(text(&first.body), text(&second.body), "{form:?}");
    }
}

#[test]
fn what_is_gone_is_not_told() {
    let moved = event(Topic::CardState);
    let delivery = sample::subscription(1).queue(7, &moved, Topic::CardState);
    let mut facts = Facts {
        delivery: &delivery,
        event: &moved,
        card: None,
        code: None,
        now: START,
    };
    assert!(
        message(Form::KeySecure, &facts, keys()).is_none(),
        "the card is gone"
    );
    assert!(message(Form::Equals, &facts, keys()).is_none());
    let asked = event(Topic::MfaCode);
    let delivery = sample::subscription(1).queue(7, &asked, Topic::MfaCode);
    (facts.delivery, facts.event) = (&delivery, &asked);
    assert!(
        message(Form::Standard, &facts, keys()).is_none(),
        "its code has ended"
    );
    let leased = delivery.lease(START, START.plus(std::time::Duration::from_secs(1)));
    let gone = Attempted {
        delivery: delivery.id,
        lease: leased.as_ref().unwrap().leased_until.unwrap(),
        at: START,
        form: Form::Standard,
        answer: Answer::Gone,
    };
    assert!(matches!(
        gone.decide(leased.as_ref()),
        Settled::Change(_, Some(_))
    ));
}

#[test]
fn each_state_has_a_name_in_each_form() {
    for (state, keysecure, equals) in [
        (State::Pending, "Pending", "UNACTIVATED"),
        (State::Unactivated, "ToActivate", "UNACTIVATED"),
        (State::Active, "Activated", "ACTIVE"),
        (State::Suspended, "Frozen", "SUSPENDED"),
        (State::Replaced, "Delete", "REPLACED"),
        (State::Terminated, "Delete", "TERMINATED"),
        (State::Failed, "Fail", "TERMINATED"),
    ] {
        let event = sample::moved(1, state, START);
        let delivery = sample::subscription(1).queue(7, &event, Topic::CardState);
        let card = sample::card(1);
        let facts = Facts {
            delivery: &delivery,
            event: &event,
            card: Some(&card),
            code: None,
            now: START,
        };
        let sent = message(Form::KeySecure, &facts, keys()).unwrap();
        assert_eq!(json(&sent)["data"]["after_status"], keysecure);
        let sent = message(Form::Equals, &facts, keys()).unwrap();
        assert_eq!(json(&sent)["body"]["state"], equals);
    }
}
