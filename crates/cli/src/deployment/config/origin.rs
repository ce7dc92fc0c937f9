//! Origins, as browsers write them.

use cardveil_core::merchant::is_secure_origin;

use crate::print::hinted;

/// An origin in ASCII form: scheme, host, port, and nothing else. An app's own scheme is one too.
pub(crate) fn origin(text: &str) -> anyhow::Result<String> {
    let wrong = || {
        hinted(
            format!("{text:?} is not an origin"),
            "give scheme, host and port only, such as https://shop.example",
        )
    };
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let host = url.host_str().ok_or_else(wrong)?;
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let ascii = format!("{}://{host}{port}", url.scheme());
    if ascii == text && !text.contains('*') {
        Ok(ascii)
    } else {
        Err(wrong())
    }
}

/// An origin whose pages may frame cards.
pub(crate) fn embed_origin(text: &str) -> anyhow::Result<String> {
    let origin = origin(text)?;
    if is_secure_origin(&origin) {
        return Ok(origin);
    }
    Err(hinted(
        format!("{origin} is not https"),
        "whoever stands between its visitors and its server writes its pages, and could frame \
         cards; http is for localhost, *.localhost, 127.0.0.1 and [::1] alone",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_exact() {
        for right in [
            "https://shop.example",
            "http://localhost:7400",
            "capacitor://localhost",
        ] {
            assert_eq!(origin(right).unwrap(), right);
        }
        for wrong in [
            "https://shop.example/",
            "https://*.example",
            "shop.example",
            "https://shop.example:443",
            "https://Shop.example",
            "https://a b",
            "",
            "null",
            "https://u@shop.example",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_embed_takes_https_origins_and_those_of_this_device() {
        for right in ["https://shop.example", "http://localhost:7400"] {
            assert_eq!(embed_origin(right).unwrap(), right);
        }
        let error = embed_origin("http://shop.example").unwrap_err();
        assert_eq!(error.to_string(), "http://shop.example is not https");
        assert!(crate::print::hint(&error).unwrap().contains("localhost"));
        assert!(embed_origin("https://shop.example/").is_err());
    }
}
