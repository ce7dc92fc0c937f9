//! Reading what strangers send: bounded, exactly once, and without repeating it in an answer.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::Path;
use axum::extract::Request;
use axum::extract::rejection::PathRejection;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};

use crate::api::problem::{Code, Problem};

/// The largest body that any API takes (P8).
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1_024;

/// How long a body may take to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A value that must be a JSON object: serde takes an array for a struct too, by the order of its
/// members.
#[derive(Debug, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members))
            }
        }

        let members = Members(std::marker::PhantomData);
        from.deserialize_map(members).map(Self)
    }
}

/// A header that must stand alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Header<'a> {
    /// It is not there, or empty.
    Missing,
    /// It is there more than once, or is not visible ASCII.
    Malformed,
    /// Its value.
    Value(&'a str),
}

pub(crate) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Header<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Header::Missing,
        (Some(_), Some(_)) => Header::Malformed,
        (Some(value), None) => match value.to_str() {
            Ok(text) if text.trim().is_empty() => Header::Missing,
            Ok(text) => Header::Value(text.trim()),
            Err(_) => Header::Malformed,
        },
    }
}

/// Whether a body is compressed, or encoded in another way: none is read so.
pub(crate) fn is_encoded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

/// A JSON body, which is an object.
pub(crate) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    if is_encoded(request.headers()) {
        return Err(Problem::encoded());
    }
    match header(request.headers(), header::CONTENT_TYPE.as_str()) {
        Header::Value(value) if is_json(value) => {}
        Header::Missing | Header::Malformed | Header::Value(_) => {
            return Err(Problem::new(Code::UnsupportedMediaType));
        }
    }
    let body = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let Ok(body) = tokio::time::timeout(BODY_TIMEOUT, body).await else {
        return Err(Problem::request_timeout());
    };
    let bytes = match body {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Problem::detail(
                Code::TooLarge,
                format!("The body is larger than {BODY_BYTES_MAX} bytes."),
            ));
        }
        Err(_) => return Err(Problem::invalid("body", "it could not be read to its end")),
    };
    let mut json = serde_json::Deserializer::from_slice(&bytes);
    let parsed = serde_path_to_error::deserialize::<_, Object<T>>(&mut json);
    let Object(parsed) = parsed.map_err(|error| place(&error))?;
    json.end()
        .map_err(|_| Problem::invalid("body", "there is more after the JSON value"))?;
    Ok(parsed)
}

/// Where a body is wrong. The parser's own words are not passed on: they repeat what was sent.
fn place(error: &serde_path_to_error::Error<serde_json::Error>) -> Problem {
    if error.inner().is_data() {
        let path = error.path().to_string();
        let place = if is_ours(&path) { &path } else { "body" };
        Problem::invalid(place, "missing, unknown, repeated or of the wrong type")
    } else {
        Problem::invalid("body", "not valid JSON")
    }
}

/// Whether a path is made of names such as the API's own. The name of an unknown member is what a
/// stranger wrote, and may be a card number or a token.
fn is_ours(path: &str) -> bool {
    path != "."
        && path.split('.').all(|name| {
            let name = name.split('[').next().unwrap_or_default();
            name.len() <= 16
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// A path parameter as text, or `None` when it is not UTF-8.
pub(crate) fn path(parameter: Result<Path<String>, PathRejection>) -> Option<String> {
    parameter.ok().map(|Path(text)| text)
}

/// How far into a list a caller may skip.
pub(crate) const OFFSET_MAX: usize = 999_999_999;

const SEARCH_CHARS_MAX: usize = 64;

/// Query parameters, each at most once.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(
            pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// The parameter's value; empty counts as left out.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, Problem> {
        Ok(self.given(name)?.filter(|value| !value.is_empty()))
    }

    /// What a list is searched for. PostgreSQL has no place for a NUL in a text.
    pub(crate) fn search(&self) -> Result<Option<String>, Problem> {
        let text = self.one("search")?;
        if text.is_some_and(|text| text.contains('\0') || text.chars().count() > SEARCH_CHARS_MAX) {
            let detail = "must be at most 64 characters, none of them NUL";
            return Err(Problem::invalid("search", detail));
        }
        Ok(text.map(str::to_owned))
    }

    /// A whole number within bounds. Nothing is no number: a parameter without a value is wrong.
    pub(crate) fn number(
        &self,
        name: &str,
        bounds: RangeInclusive<usize>,
    ) -> Result<Option<usize>, Problem> {
        let Some(text) = self.given(name)? else {
            return Ok(None);
        };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let parsed = text.parse().ok().filter(|n| digits && bounds.contains(n));
        parsed.map(Some).ok_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            Problem::invalid(
                name,
                format!("must be a whole number from {least} to {most}"),
            )
        })
    }

    /// The parameter's value, as it is.
    pub(crate) fn given(&self, name: &str) -> Result<Option<&str>, Problem> {
        let mut values = self
            .0
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err(Problem::invalid(name, "given more than once")),
            (Some(value), None) if value.contains(char::REPLACEMENT_CHARACTER) => {
                Err(Problem::invalid(name, "not UTF-8"))
            }
            (Some(value), None) => Ok(Some(value.as_str())),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::HeaderValue;

    use super::*;

    #[derive(serde::Deserialize, Debug)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "read by the parser")]
        inner: Object<Inner>,
    }

    #[derive(serde::Deserialize, Debug)]
    struct Inner {
        #[expect(dead_code, reason = "read by the parser")]
        text: String,
    }

    async fn refused(content_type: &str, body: impl Into<Body>) -> String {
        let request = Request::builder()
            .header(header::CONTENT_TYPE, content_type)
            .body(body.into())
            .unwrap();
        format!("{:?}", json::<Outer>(request).await.unwrap_err())
    }

    #[tokio::test]
    async fn a_wrong_body_is_told_where_and_never_repeated() {
        let secret = "cvt_test_00000YgoAGe0m5rr";
        let json = "application/json; charset=utf-8";
        assert!(
            refused("text/plain", "{}")
                .await
                .contains("UnsupportedMediaType")
        );
        for (body, place) in [
            (format!(r#"{{"inner":"{secret}"}}"#), "inner: "),
            (
                format!(r#"{{"inner":{{"text":["{secret}"]}}}}"#),
                "inner.text: ",
            ),
            (format!(r#"{{"{secret}":1}}"#), "body: missing, unknown"),
            (
                r#"{"4111111111111111":1}"#.to_owned(),
                "body: missing, unknown",
            ),
            (r#"{"unknown":1}"#.to_owned(), "unknown: missing, unknown"),
            (r"{}".to_owned(), "body: missing"),
            (r#"[{"text":""}]"#.to_owned(), "body: missing"),
            (r#"{"inner":[""]}"#.to_owned(), "inner: missing"),
            (format!("{{\"{secret}"), "body: not valid JSON"),
            (
                format!(r#"{{"inner":{{"text":""}}}}{secret}"#),
                "body: there is more",
            ),
        ] {
            let told = refused(json, body).await;
            assert!(told.contains(place), "{told}");
            assert!(!told.contains(secret), "{told}");
            assert!(!told.contains("4111"), "{told}");
        }
        assert!(
            refused(json, vec![b' '; BODY_BYTES_MAX + 1])
                .await
                .contains("TooLarge")
        );
        assert!(
            refused(json, &b"{\"inner\":{\"text\":\"\xff\"}}"[..])
                .await
                .contains("InvalidRequest")
        );
    }

    #[test]
    fn a_header_counts_once() {
        let mut headers = HeaderMap::new();
        assert_eq!(header(&headers, "api-key"), Header::Missing);
        headers.append("api-key", HeaderValue::from_static(" k "));
        assert_eq!(header(&headers, "api-key"), Header::Value("k"));
        headers.append("api-key", HeaderValue::from_static("k"));
        assert_eq!(header(&headers, "api-key"), Header::Malformed);
        headers.insert("api-key", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(header(&headers, "api-key"), Header::Malformed);
        headers.insert("api-key", HeaderValue::from_static(" "));
        assert_eq!(header(&headers, "api-key"), Header::Missing);
    }

    #[test]
    fn a_parameter_counts_once() {
        let query = Query::parse(Some("a=1&b=2&b=3&c=&d=%FF"));
        assert_eq!(query.one("a").unwrap(), Some("1"));
        assert!(query.one("b").is_err());
        assert_eq!(query.one("c").unwrap(), None);
        assert!(query.one("d").is_err());
        assert_eq!(query.one("e").unwrap(), None);
    }

    /// `limit=` was taken for no limit, though the description says that it is a number.
    #[test]
    fn a_number_without_digits_is_wrong() {
        let query = Query::parse(Some("a=7&b=&c=07&d=+7&e=8&f=-1"));
        assert_eq!(query.number("a", 0..=7).unwrap(), Some(7));
        assert_eq!(query.number("c", 0..=7).unwrap(), Some(7));
        assert_eq!(query.number("none", 0..=7).unwrap(), None);
        for wrong in ["b", "d", "e", "f"] {
            assert!(query.number(wrong, 0..=7).is_err(), "{wrong}");
        }
    }
}
