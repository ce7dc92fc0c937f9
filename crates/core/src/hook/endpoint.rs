//! Where messages go: a URL that has been checked for its form. Whether its address may be called
//! is decided at every delivery, when its name has been resolved.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How long a URL may be (Equals: create-webhooks).
const URL_MAX: usize = 512;

/// An absolute `https` or `http` URL without credentials and without a fragment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint(url::Url);

/// Why a text is not an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// Longer than 512 characters, as it was given or as it is kept.
    #[error("must be at most 512 characters")]
    TooLong,
    /// Not an absolute URL with a host.
    #[error("must be an absolute https URL")]
    Form,
    /// Credentials belong in the authorization header: a URL ends up in logs.
    #[error("must not hold a user name or a password: use the authorization header")]
    Credentials,
    /// A fragment is never sent.
    #[error("must not have a fragment")]
    Fragment,
}

impl Endpoint {
    /// Checks the form and takes the URL as RFC 3986 normalises it.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        if text.chars().count() > URL_MAX {
            return Err(InvalidEndpoint::TooLong);
        }
        let url = url::Url::parse(text).map_err(|_| InvalidEndpoint::Form)?;
        if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
            return Err(InvalidEndpoint::Form);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidEndpoint::Credentials);
        }
        if url.fragment().is_some() {
            return Err(InvalidEndpoint::Fragment);
        }
        // What is kept is the normalised form, which may be longer; it must be read again as it is.
        if url.as_str().len() > URL_MAX {
            return Err(InvalidEndpoint::TooLong);
        }
        if url::Url::parse(url.as_str()).as_ref() != Ok(&url) {
            return Err(InvalidEndpoint::Form);
        }
        Ok(Self(url))
    }

    /// The whole URL. Its query may hold what its owner thinks secret: never log it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The URL, for whoever calls it.
    pub const fn url(&self) -> &url::Url {
        &self.0
    }

    /// Whether it is `https`.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }
}

impl TryFrom<String> for Endpoint {
    type Error = InvalidEndpoint;
    fn try_from(text: String) -> Result<Self, InvalidEndpoint> {
        Self::parse(&text)
    }
}

impl std::str::FromStr for Endpoint {
    type Err = InvalidEndpoint;
    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        Self::parse(text)
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.0.into()
    }
}

/// Scheme and host only.
impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.host_str().unwrap_or_default();
        write!(out, "{}://{host}/..", self.0.scheme())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_keeps_to_its_form() {
        let long = format!("https://a.example/{}", "x".repeat(URL_MAX - 18));
        assert!(Endpoint::parse(&long).is_ok());
        for (text, why) in [
            (format!("{long}x"), InvalidEndpoint::TooLong),
            ("hooks".into(), InvalidEndpoint::Form),
            ("/hooks".into(), InvalidEndpoint::Form),
            ("ftp://a.example/".into(), InvalidEndpoint::Form),
            ("https://".into(), InvalidEndpoint::Form),
            ("https://u@a.example/".into(), InvalidEndpoint::Credentials),
            ("https://:p@a.example/".into(), InvalidEndpoint::Credentials),
            ("https://a.example/#f".into(), InvalidEndpoint::Fragment),
        ] {
            assert_eq!(Endpoint::parse(&text), Err(why), "{text}");
        }
    }

    /// A row that could be written and not read would stop all that its merchant is told of.
    #[test]
    fn what_is_taken_is_read_again_as_it_is_kept() {
        let grown = format!("https://a.example/{}", "é".repeat(200));
        assert!(grown.chars().count() < URL_MAX);
        assert_eq!(Endpoint::parse(&grown), Err(InvalidEndpoint::TooLong));
        let kept = Endpoint::parse("https://A.example:443/a/../é b").unwrap();
        assert_eq!(Endpoint::parse(kept.as_str()), Ok(kept));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_taken_is_read_again_as_it_is_kept(rest in "\\PC{0,600}") {
            for head in ["https://", "https://a.example/", "http://a.example/?"] {
                if let Ok(kept) = Endpoint::parse(&format!("{head}{rest}")) {
                    proptest::prop_assert_eq!(Endpoint::parse(kept.as_str()), Ok(kept));
                }
            }
        }
    }

    #[test]
    fn its_path_and_query_are_not_shown() {
        let endpoint = Endpoint::parse("https://a.example/p4th?key=s3cret").unwrap();
        assert_eq!(format!("{endpoint:?}"), "https://a.example/..");
        assert_eq!(endpoint.as_str(), "https://a.example/p4th?key=s3cret");
    }
}
