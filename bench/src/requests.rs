//! The requests that are measured, as prepared bytes, and what a right answer looks like.

use std::io::Write as _;

use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cardveil_seal::Sealed;
use cardveil_seal::holder::Holder;
use serde_json::Value;

use crate::clock;
use crate::http1::Answer;
use crate::load::Requests;
use crate::served::{CardNames, Checks, Served};

/// Where tokens are redeemed.
pub(crate) const REDEEM_ROUTE: &str = "/client/v1/redeem";
/// Holder keys are few and used for many tokens each: what a key costs the server is the same for
/// every use.
const HOLDERS: usize = 16;

/// Which API issues.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    KeySecure,
    Equals,
    Native,
}

impl Dialect {
    pub(crate) const ALL: [Self; 3] = [Self::KeySecure, Self::Equals, Self::Native];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KeySecure => "issue, KeySecure",
            Self::Equals => "issue, Equals",
            Self::Native => "issue, native",
        }
    }

    /// Method and route, for the bare endpoint.
    pub(crate) const fn route(self) -> (&'static str, &'static str) {
        match self {
            Self::KeySecure => ("GET", "/open-api/v1/merchant/client/{card_no}/token"),
            Self::Equals => ("GET", "/v2/cards/{card_id}/access-token"),
            Self::Native => ("POST", "/v1/client-tokens"),
        }
    }

    const fn answer_starts(self) -> &'static [u8] {
        match self {
            Self::KeySecure => b"{\"code\":0,",
            Self::Equals | Self::Native => b"{\"token\":\"cvt_test_",
        }
    }

    /// The request for a card. KeySecure's lacks its last header's value and its end.
    fn request(self, served: &Served, card: &CardNames) -> Vec<u8> {
        let CardNames {
            card_no,
            card_id,
            account_id,
        } = card;
        let Served {
            api_key,
            equals_api_key,
            access_token,
            ..
        } = served;
        match self {
            Self::KeySecure => format!(
                "GET /open-api/v1/merchant/client/{card_no}/token HTTP/1.1\r\nHost: bench\r\n\
                 Api-Key: {api_key}\r\nAccess-Token: {access_token}\r\nTimestamp: "
            ),
            Self::Equals => {
                let attested = match served.checks {
                    Checks::Off => "",
                    Checks::On => "&sessionId=bench-1",
                };
                format!(
                    "GET /v2/cards/{card_id}/access-token?accountId={account_id}{attested} HTTP/1.1\r\n\
                     Host: bench\r\nAuthorization: ApiKey {equals_api_key}\r\n\r\n"
                )
            }
            Self::Native => {
                let body = format!("{{\"card_no\":\"{card_no}\"}}");
                format!(
                    "POST /v1/client-tokens HTTP/1.1\r\nHost: bench\r\n\
                     Authorization: Bearer {api_key}\r\nContent-Type: application/json\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
        }
        .into_bytes()
    }
}

/// Issues for cards drawn at random.
pub(crate) struct Issue {
    dialect: Dialect,
    requests: Vec<Vec<u8>>,
    random: Random,
    /// The tokens, where they are wanted.
    collected: Option<Vec<String>>,
    left: usize,
}

impl Issue {
    pub(crate) fn new(dialect: Dialect, served: &Served, seed: u64) -> Self {
        let cards = served.cards.iter();
        Self {
            dialect,
            requests: cards.map(|card| dialect.request(served, card)).collect(),
            random: Random::new(seed),
            collected: None,
            left: usize::MAX,
        }
    }

    /// Ends after so many, and keeps the tokens.
    pub(crate) fn collecting(mut self, count: usize) -> Self {
        self.left = count;
        self.collected = Some(Vec::with_capacity(count));
        self
    }

    fn is_token(&self, answer: &Answer<'_>) -> bool {
        matches!(answer.status, 200 | 201) && answer.body.starts_with(self.dialect.answer_starts())
    }

    pub(crate) fn into_tokens(self) -> Vec<String> {
        self.collected.unwrap_or_default()
    }
}

impl Requests for Issue {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(left) = self.left.checked_sub(1) else {
            return false;
        };
        self.left = left;
        let drawn = self.random.below(self.requests.len());
        let Some(request) = self.requests.get(drawn) else {
            return false;
        };
        out.extend_from_slice(request);
        if self.dialect == Dialect::KeySecure {
            return write!(out, "{}\r\n\r\n", clock::unix_ms()).is_ok();
        }
        true
    }

    fn check(&mut self, answer: &Answer<'_>) -> anyhow::Result<()> {
        anyhow::ensure!(self.is_token(answer), "no token: {}", told(answer));
        if let Some(tokens) = &mut self.collected {
            tokens.push(token_in(answer.body)?);
        }
        Ok(())
    }
}

/// The client token in an answer of any dialect.
fn token_in(body: &[u8]) -> anyhow::Result<String> {
    let text = std::str::from_utf8(body)?;
    let start = text.find("cvt_").context("an answer without a token")?;
    let token = text.get(start..).and_then(|rest| rest.split('"').next());
    Ok(token.context("a token without an end")?.to_owned())
}

/// Redeems each token once, to one of a few keys.
pub(crate) struct Redeem<'a> {
    tokens: Box<dyn Iterator<Item = String> + 'a>,
    redemptions: Redemptions<'a>,
}

impl<'a> Redeem<'a> {
    pub(crate) fn new(
        route: &'static str,
        tokens: impl Iterator<Item = String> + 'a,
        holders: &'a Holders,
        served: &'a Served,
    ) -> Self {
        Self {
            tokens: Box::new(tokens),
            redemptions: Redemptions::new(route, holders, served),
        }
    }
}

impl Requests for Redeem<'_> {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let token = self.tokens.next();
        token.is_some_and(|token| self.redemptions.write(&token, out))
    }

    fn check(&mut self, answer: &Answer<'_>) -> anyhow::Result<()> {
        is_released(answer)
    }
}

fn is_released(answer: &Answer<'_>) -> anyhow::Result<()> {
    let right = answer.status == 200 && answer.body.starts_with(b"{\"redemption\":\"rdm_");
    anyhow::ensure!(right, "no release: {}", told(answer));
    Ok(())
}

/// Issues a token, and redeems it: what one cardholder's look at a card takes.
pub(crate) struct Pairs<'a> {
    issue: Issue,
    redemptions: Redemptions<'a>,
}

impl<'a> Pairs<'a> {
    pub(crate) fn new(holders: &'a Holders, served: &'a Served, seed: u64) -> Self {
        Self {
            issue: Issue::new(Dialect::KeySecure, served, seed),
            redemptions: Redemptions::new(REDEEM_ROUTE, holders, served),
        }
    }
}

impl Requests for Pairs<'_> {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        self.issue.next(out)
    }

    fn check(&mut self, answer: &Answer<'_>) -> anyhow::Result<()> {
        if self.issue.is_token(answer) {
            return Ok(());
        }
        is_released(answer)
    }

    fn follow(&mut self, answer: &Answer<'_>, out: &mut Vec<u8>) -> anyhow::Result<()> {
        if self.issue.is_token(answer) {
            let written = self.redemptions.write(&token_in(answer.body)?, out);
            anyhow::ensure!(written, "a redemption cannot be written");
        }
        Ok(())
    }
}

/// Writes requests that redeem.
struct Redemptions<'a> {
    route: &'static str,
    holders: &'a Holders,
    served: &'a Served,
    attempt: u64,
    body: String,
}

impl<'a> Redemptions<'a> {
    fn new(route: &'static str, holders: &'a Holders, served: &'a Served) -> Self {
        Self {
            route,
            holders,
            served,
            attempt: 0,
            body: String::with_capacity(1_024),
        }
    }

    fn write(&mut self, token: &str, out: &mut Vec<u8>) -> bool {
        use std::fmt::Write as _;
        self.attempt += 1;
        let key = self.holders.key(self.attempt);
        self.body.clear();
        let body = write!(
            self.body,
            "{{\"token\":\"{token}\",\"embed\":\"{}\",\"key\":{key},\
             \"fields\":[\"pan\",\"expiry\",\"name\"],\
             \"attempt\":\"00000000-0000-4000-8000-{:012x}\"}}",
            self.served.embed, self.attempt,
        );
        body.is_ok()
            && write!(
                out,
                "POST {} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
                 Origin: {}\r\nContent-Length: {}\r\n\r\n{}",
                self.route,
                self.served.origin,
                self.body.len(),
                self.body
            )
            .is_ok()
    }
}

/// The keys of cardholders' frames.
pub(crate) struct Holders(Vec<(Holder, String)>);

impl Holders {
    pub(crate) fn generate() -> anyhow::Result<Self> {
        (0..HOLDERS)
            .map(|_| {
                let holder = Holder::generate()?;
                let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
                let (x, y) = (encode(holder.key().x()), encode(holder.key().y()));
                let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
                Ok((holder, jwk))
            })
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }

    fn of(&self, attempt: u64) -> Option<&(Holder, String)> {
        let number = usize::try_from(attempt).unwrap_or_default();
        self.0.get(number % self.0.len().max(1))
    }

    fn key(&self, attempt: u64) -> &str {
        self.of(attempt).map_or("", |(_, jwk)| jwk)
    }

    /// Opens the answer to a first attempt: what is measured must be the real thing.
    pub(crate) fn open_first(&self, body: &[u8]) -> anyhow::Result<Value> {
        let (holder, _) = self.of(1).context("no key")?;
        let answer: Value = serde_json::from_slice(body)?;
        let decode = |value: &Value| {
            let text = value.as_str().context("a member is missing")?;
            anyhow::Ok(BASE64_URL_SAFE_NO_PAD.decode(text)?)
        };
        let header = decode(answer.get("header").context("no header")?)?;
        let sealed = answer.get("sealed").context("nothing sealed")?;
        let member = |name| decode(sealed.get(name).unwrap_or(&Value::Null));
        let sealed = Sealed {
            enc: member("enc")?,
            ciphertext: member("ciphertext")?,
        };
        let opened = holder.open(&sealed, b"cardveil/redeem/v1", &header)?;
        Ok(serde_json::from_slice(opened.expose())?)
    }
}

/// An answer, for a message.
pub(crate) fn told(answer: &Answer<'_>) -> String {
    let body = String::from_utf8_lossy(answer.body);
    let start: String = body.chars().take(200).collect();
    format!("{} {start}", answer.status)
}

/// Marsaglia's xorshift64: the order of the cards must be the same in each run, and drawing it
/// cheap.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let end = u64::try_from(end).unwrap_or(1).max(1);
        usize::try_from((self.0 >> 16) % end).unwrap_or_default()
    }
}
