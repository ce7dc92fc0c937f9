//! Parameters and what can be wrong with them, told as the source does: `field_name message`.
//!
//! Members that are null or empty count as left out, and unknown ones are not looked at: clients of
//! the published API may send more than its pages say.
//!
//! **Invariant:** an answer names a field of the API and never repeats what was sent.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use cardveil_core::id::CardNo;
use http::StatusCode;
use serde_json::{Map, Value};

use super::{Language, Refusal};
use crate::api::{extract, problem};

/// What is wrong with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is required.
    Missing,
    /// It is not a text.
    NotText,
    /// Not the form of an order number or another short name.
    Word,
    /// Not one to 64 characters, or a NUL among them.
    Text64,
    /// Not a number within a page's bounds.
    Page,
    /// Not a size within a page's bounds.
    Size,
    /// Not a date, or a date and time.
    Moment,
    /// Not a zone.
    Zone,
    /// Not one of the statuses that may be asked for.
    Status,
    /// Not four digits.
    FourDigits,
    /// Not a ciphertext in Base64.
    Ciphertext,
    /// The body as a whole.
    Body,
    /// The body did not come in time.
    Slow,
    /// The body is compressed.
    Encoded,
    /// There is no call at this address.
    NoSuchPath,
    /// Not the call's method.
    Method,
    /// What was given to prove that the card is there does not fit it.
    NoMatch,
}

impl Wrong {
    pub(super) const fn words(self, language: Language) -> &'static str {
        let (english, chinese) = match self {
            Self::Missing => ("is required", "不能为空"),
            Self::NotText => ("must be a string", "须为字符串"),
            Self::Word => (
                "must be 1 to 64 letters, digits, _ or -",
                "须为 1 至 64 位字母、数字、_ 或 -",
            ),
            Self::Text64 => (
                "must be at most 64 characters, none of them NUL",
                "不得超过 64 个字符，且不得含空字符",
            ),
            Self::Page => (
                "must be a whole number from 0 to 1000000",
                "须为 0 至 1000000 的整数",
            ),
            Self::Size => (
                "must be a whole number from 1 to 100",
                "须为 1 至 100 的整数",
            ),
            Self::Moment => (
                "must be yyyy-MM-dd or yyyy-MM-dd HH:mm:ss",
                "格式须为 yyyy-MM-dd 或 yyyy-MM-dd HH:mm:ss",
            ),
            Self::Zone => (
                "must be a distance from UTC such as UTC+8 or UTC-05:30",
                "须为与 UTC 的时差，例如 UTC+8 或 UTC-05:30",
            ),
            Self::Status => (
                "must be Frozen, Activated or Delete",
                "须为 Frozen、Activated 或 Delete",
            ),
            Self::FourDigits => ("must be four digits", "须为 4 位数字"),
            Self::Ciphertext => (
                "must be the Base64 of an AES ciphertext",
                "须为 AES 密文的 Base64 编码",
            ),
            Self::Body => (
                "must be a JSON object of at most 16 KiB, sent as application/json",
                "须为不超过 16 KiB 的 JSON 对象，Content-Type 须为 application/json",
            ),
            Self::Slow => ("must come within 10 seconds", "须在 10 秒内发送完毕"),
            Self::Encoded => (
                "must not be compressed: send it without Content-Encoding",
                "不得压缩，请勿发送 Content-Encoding",
            ),
            Self::NoSuchPath => ("does not exist", "不存在"),
            Self::Method => (
                "is not allowed, see the Allow header",
                "不允许，请见 Allow 响应头",
            ),
            Self::NoMatch => (
                "or card_last_no does not match the card",
                "或 card_last_no 与卡片不符",
            ),
        };
        match language {
            Language::English => english,
            Language::Chinese => chinese,
        }
    }
}

/// The card that a path names.
pub(super) fn card_no(
    parameter: Result<Path<String>, PathRejection>,
    language: Language,
) -> Result<CardNo, Refusal> {
    extract::path(parameter)
        .and_then(|text| CardNo::parse(&text).ok())
        .ok_or_else(|| Refusal::invalid("card_no", Wrong::Word, language))
}

/// A body's members.
pub(super) struct Form {
    members: Map<String, Value>,
    language: Language,
}

impl Form {
    /// Reads the body.
    pub(super) async fn read(request: Request, language: Language) -> Result<Self, Refusal> {
        if extract::is_encoded(request.headers()) {
            let wrong = ("body", Wrong::Encoded);
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Refusal::by_http(status, wrong, language));
        }
        match extract::json(request).await {
            Ok(members) => Ok(Self { members, language }),
            Err(problem) if problem.code() == problem::Code::RequestTimeout => {
                let wrong = ("body", Wrong::Slow);
                let status = StatusCode::REQUEST_TIMEOUT;
                Err(Refusal::by_http(status, wrong, language))
            }
            Err(_) => Err(Refusal::invalid("body", Wrong::Body, language)),
        }
    }

    /// A text, if it is given.
    pub(super) fn text(&self, field: &'static str) -> Result<Option<&str>, Refusal> {
        match self.members.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                Err(self.wrong(field, Wrong::NotText))
            }
        }
    }

    /// A text that must be given.
    pub(super) fn required(&self, field: &'static str) -> Result<&str, Refusal> {
        self.text(field)?
            .ok_or_else(|| self.wrong(field, Wrong::Missing))
    }

    /// A card's order number, if it is given.
    pub(super) fn card_no(&self) -> Result<Option<CardNo>, Refusal> {
        let no = self.text("card_no")?.map(CardNo::parse).transpose();
        no.map_err(|_| self.wrong("card_no", Wrong::Word))
    }

    /// A card's order number that must be given.
    pub(super) fn required_card_no(&self) -> Result<CardNo, Refusal> {
        self.card_no()?
            .ok_or_else(|| self.wrong("card_no", Wrong::Missing))
    }

    /// A name of at most 64 characters, if it is given. PostgreSQL has no place for a NUL in a
    /// text.
    pub(super) fn short(&self, field: &'static str) -> Result<Option<String>, Refusal> {
        let text = self.text(field)?;
        if text.is_some_and(|text| text.contains('\0') || text.chars().count() > 64) {
            return Err(self.wrong(field, Wrong::Text64));
        }
        Ok(text.map(str::to_owned))
    }

    /// A whole number between two bounds, both in; `default` when it is left out.
    pub(super) fn number(
        &self,
        field: &'static str,
        (least, most): (usize, usize),
        (default, wrong): (usize, Wrong),
    ) -> Result<usize, Refusal> {
        match self.members.get(field) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_u64()
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| self.wrong(field, wrong)),
        }
    }

    /// That a member is wrong.
    pub(super) fn wrong(&self, field: &'static str, wrong: Wrong) -> Refusal {
        Refusal::invalid(field, wrong, self.language)
    }
}
