//! An event as stores keep it: JSON, byte for byte as serde writes it.
//!
//! The events of each issue and each redemption are put together here, because serde needs three
//! times as many instructions for the same bytes. serde writes all others, and all of form 1.
//!
//! **Invariant:** the bytes are serde's: a build with assertions compares each event that is put
//! together.
//!
//! To add an event that is written often: its kind in [`often`]. A new member of [`Event`],
//! [`Target`] or [`Detail`] does not compile until the functions here write it or leave it to
//! serde.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use uuid::Uuid;

use super::personal::{self, COMMITMENTS, FORM_TWO, Form, Salt, Salts, Written, commitment};
use super::{Actor, Detail, Event, Kind, Origin, Outcome, Target};

/// An event of an issue has about 510 bytes, one of a redemption 610.
const USUAL_BYTES: usize = 704;
/// The values of one have about 50.
const USUAL_PERSONAL_BYTES: usize = 96;

impl Event {
    /// As it is stored.
    pub fn write(&self, form: Form, salts: &mut Salts) -> Result<Written, serde_json::Error> {
        self.write_at(self.target.version, form, salts)
    }

    /// As it is stored, of a row that has this version after it. Entries of form 1 say none.
    pub fn write_at(
        &self,
        version: Option<u64>,
        form: Form,
        salts: &mut Salts,
    ) -> Result<Written, serde_json::Error> {
        if form == Form::One {
            return Ok(Written {
                stored: serde_json::to_string(self)?,
                personal: None,
            });
        }
        let salt = salts.draw();
        let Some(written) = self.put_together(version, &salt) else {
            return personal::write(&self.at_version(version), || salts.draw());
        };
        debug_assert_eq!(
            Some(&written),
            personal::write(&self.at_version(version), || salt)
                .ok()
                .as_ref()
        );
        Ok(written)
    }

    fn at_version(&self, version: Option<u64>) -> Cow<'_, Self> {
        let mut event = Cow::Borrowed(self);
        if version != self.target.version {
            event.to_mut().target.version = version;
        }
        event
    }

    /// `None` for what serde is to write.
    fn put_together(&self, version: Option<u64>, salt: &Salt) -> Option<Written> {
        let Self {
            at,
            kind,
            actor,
            origin:
                Origin::Network {
                    ip: Some(ip),
                    request,
                },
            outcome: Outcome::Success,
            merchant,
            target,
            detail,
        } = self
        else {
            return None;
        };
        let mut out = String::with_capacity(USUAL_BYTES);
        out.push_str(FORM_TWO);
        out.push_str("\"at\":");
        push_number(&mut out, u64::try_from(at.millis()).ok()?);
        out.push_str(",\"kind\":\"");
        out.push_str(often(*kind)?);
        out.push_str("\",\"actor\":{\"");
        push_actor(&mut out, actor)?;
        out.push_str("\"},\"origin\":{\"network\":{\"request\":\"");
        out.push_str(as_it_is(request)?);
        out.push_str("\"}},\"outcome\":\"success\"");
        if let Some(merchant) = merchant {
            out.push_str(",\"merchant\":\"");
            out.push_str(merchant.as_str());
            out.push('"');
        }
        out.push_str(",\"target\":{");
        push_target(&mut out, target, version)?;
        out.push_str("},\"detail\":{");
        push_detail(&mut out, detail)?;
        out.push_str("},\"");
        out.push_str(COMMITMENTS);
        out.push_str("\":{\"ip\":\"");
        let mut personal = String::with_capacity(USUAL_PERSONAL_BYTES);
        personal.push_str("{\"ip\":[\"");
        BASE64_URL_SAFE_NO_PAD.encode_string(salt.0, &mut personal);
        personal.push_str("\",\"");
        let value_at = personal.len();
        push_address(&mut personal, ip)?;
        let value = personal.get(value_at..)?;
        BASE64_URL_SAFE_NO_PAD.encode_string(commitment(salt, "ip", value).0, &mut out);
        out.push_str("\"}}");
        personal.push_str("\"]}");
        Some(Written {
            stored: out,
            personal: Some(personal),
        })
    }
}

/// The kinds that are written often, by their names.
fn often(kind: Kind) -> Option<&'static str> {
    if kind == Kind::TokenIssued {
        Some("token.issued")
    } else if kind == Kind::RevealReleased {
        Some("reveal.released")
    } else {
        None
    }
}

fn push_actor(out: &mut String, actor: &Actor) -> Option<()> {
    match actor {
        Actor::Credential(id) => {
            out.push_str("credential\":\"");
            out.push_str(id.as_str());
        }
        Actor::Holder(by) => {
            out.push_str("holder\":\"");
            BASE64_URL_SAFE_NO_PAD.encode_string(by.0, out);
        }
        Actor::Stranger | Actor::Operator(_) | Actor::System => return None,
    }
    Some(())
}

fn push_target(out: &mut String, target: &Target, version: Option<u64>) -> Option<()> {
    let Target {
        card: Some(card),
        token: Some(token),
        redemption,
        credential: None,
        embed: None,
        person: None,
        session: None,
        wallet_token: None,
        subscription: None,
        resource: None,
        version: _,
    } = target
    else {
        return None;
    };
    out.push_str("\"card\":\"");
    push_uuid(out, card.as_bytes());
    out.push_str("\",\"token\":\"");
    BASE64_URL_SAFE_NO_PAD.encode_string(token.0, out);
    if let Some(redemption) = redemption {
        out.push_str("\",\"redemption\":\"");
        out.push_str(redemption.as_str());
    }
    out.push('"');
    if let Some(version) = version {
        out.push_str(",\"version\":");
        push_number(out, version);
    }
    Some(())
}

fn push_detail(out: &mut String, detail: &Detail) -> Option<()> {
    let Detail {
        operation: Some(operation),
        fields,
        cause: None,
        attested: None,
        claimed_verification: None,
        attempt,
        claim: false,
        visibility: None,
        from: None,
        to: None,
        reason: None,
        note: None,
        changes,
        refused: None,
        checkpoint: None,
    } = detail
    else {
        return None;
    };
    if !changes.is_empty() {
        return None;
    }
    out.push_str("\"operation\":\"");
    out.push_str(operation.as_str());
    out.push('"');
    if let Some(fields) = fields {
        out.push_str(",\"fields\":[");
        for (number, field) in fields.iter().enumerate() {
            out.push_str(if number > 0 { ",\"" } else { "\"" });
            out.push_str(field.as_str());
            out.push('"');
        }
        out.push(']');
    }
    if let Some(attempt) = attempt {
        out.push_str(",\"attempt\":\"");
        push_uuid(out, attempt.as_bytes());
        out.push('"');
    }
    Some(())
}

/// A text in which JSON escapes nothing.
fn as_it_is(text: &str) -> Option<&str> {
    let stays = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    text.bytes().all(stays).then_some(text)
}

fn push_address(out: &mut String, ip: &IpAddr) -> Option<()> {
    let IpAddr::V4(ip) = ip else {
        return write!(out, "{ip}").ok();
    };
    for (number, part) in ip.octets().into_iter().enumerate() {
        if number > 0 {
            out.push('.');
        }
        push_number(out, part.into());
    }
    Some(())
}

fn push_uuid(out: &mut String, bytes: &[u8; 16]) {
    let text = Uuid::from_bytes(*bytes).hyphenated();
    out.push_str(text.encode_lower(&mut Uuid::encode_buffer()));
}

fn push_number(out: &mut String, number: u64) {
    if number >= 10 {
        push_number(out, number / 10);
    }
    out.push(char::from(b'0' + u8::try_from(number % 10).unwrap_or(0)));
}

#[cfg(test)]
mod tests {
    use super::super::chain::ByteText;
    use super::*;
    use crate::card::{Field, Fields};
    use crate::clock::Time;
    use crate::id::{AttemptId, CardId, CredentialId, MerchantId, RedemptionId};
    use crate::mfa::Purpose;
    use crate::token::{Thumbprint, TokenHash};

    const SALT: Salt = ByteText([0x5a; 16]);

    fn issued() -> Event {
        Event {
            at: Time::from_millis(1_790_000_000_007),
            kind: Kind::TokenIssued,
            actor: Actor::Credential(CredentialId::parse("crd_1").unwrap()),
            origin: Origin::Network {
                ip: "192.0.2.10".parse().ok(),
                request: "r-0123".into(),
            },
            outcome: Outcome::Success,
            merchant: Some(MerchantId::parse("mer_1").unwrap()),
            target: Target {
                card: Some(CardId::from_bytes([0xa7; 16])),
                token: Some(TokenHash([0xfe; 32])),
                ..Target::default()
            },
            detail: Detail {
                operation: Some(Purpose::ALL[0]),
                ..Detail::default()
            },
        }
    }

    fn released() -> Event {
        let mut event = issued();
        event.kind = Kind::RevealReleased;
        event.actor = Actor::Holder(Thumbprint([0x3e; 32]));
        event.target.redemption = Some(RedemptionId::parse("rdm_1").unwrap());
        event.detail.attempt = Some(AttemptId::from_bytes([1; 16]));
        event
    }

    #[test]
    fn what_is_written_often_is_put_together_as_serde_writes_it() {
        let mut events = vec![issued(), released()];
        for purpose in Purpose::ALL {
            let mut event = issued();
            event.detail.operation = Some(purpose);
            events.push(event);
        }
        for fields in [Fields::NONE, Fields::ALL, Fields::from_iter([Field::Cvv])] {
            let mut event = released();
            event.detail.fields = Some(fields);
            events.push(event);
        }
        for (at, ip) in [
            (0, "0.0.0.0"),
            (9, "255.254.9.10"),
            (10, "2001:db8::7f"),
            (i64::MAX, "::1"),
        ] {
            let mut event = issued();
            event.at = Time::from_millis(at);
            event.merchant = None;
            if let Origin::Network { ip: from, .. } = &mut event.origin {
                *from = ip.parse().ok();
            }
            events.push(event);
        }
        let mut versioned = issued();
        versioned.target.version = Some(2);
        events.push(versioned);
        for event in events {
            let together = event.put_together(event.target.version, &SALT);
            assert!(together.is_some(), "{event:?}");
            assert_eq!(together, personal::write(&event, || SALT).ok());
        }
    }

    /// Each differs in one member from an event that is put together.
    #[test]
    fn the_rest_is_left_to_serde() {
        let but = |change: fn(&mut Event)| {
            let mut event = issued();
            change(&mut event);
            event
        };
        let events = [
            but(|event| event.at = Time::from_millis(-1)),
            but(|event| event.kind = Kind::CardChanged),
            but(|event| event.actor = Actor::Operator(Some("Ann \"A\"".to_owned()))),
            but(|event| event.origin = Origin::Console),
            but(|event| {
                event.origin = Origin::Network {
                    ip: "192.0.2.10".parse().ok(),
                    request: "a\"b\\c\n".into(),
                };
            }),
            but(|event| event.outcome = Outcome::Failure),
            but(|event| event.target.card = None),
            but(|event| event.target.resource = Some("epoch".into())),
            but(|event| event.detail.operation = None),
            but(|event| event.detail.attested = Some("a reference".to_owned())),
            but(|event| event.detail.claim = true),
        ];
        for event in events {
            assert_eq!(event.put_together(None, &SALT), None, "{event:?}");
        }
    }
}
