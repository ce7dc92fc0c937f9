//! A Content-Security-Policy as a browser reads it (CSP Level 3, 2.2.1).

use std::collections::BTreeMap;

/// Directives by their name, with their sources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Policy(BTreeMap<String, Vec<String>>);

impl Policy {
    /// The first directive of a name counts, as in a browser.
    pub(super) fn parse(text: &str) -> Self {
        let mut all = BTreeMap::new();
        for directive in text.split(';') {
            let mut words = directive.split_ascii_whitespace().map(str::to_owned);
            if let Some(name) = words.next() {
                let values = words.collect();
                all.entry(name.to_ascii_lowercase()).or_insert(values);
            }
        }
        Self(all)
    }

    /// The same without who may frame it.
    pub(super) fn without_ancestors(mut self) -> Self {
        self.0.remove("frame-ancestors");
        self
    }

    /// The sources of a directive; none if it is not there.
    pub(super) fn sources(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a directive is there and has this value alone.
    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.sources(name) == [value]
    }
}

/// Whether a source of `frame-ancestors` is one origin, or nobody. A wildcard, a scheme or a host
/// without its scheme lets in whom no one named.
pub(super) fn is_exact(source: &str) -> bool {
    source == "'none'" || crate::deployment::config::origin(source).is_ok()
}

/// Whether a source lets an origin frame the page (CSP Level 3, 6.7.2.8), as widely as it could be
/// read.
pub(super) fn lets_in(source: &str, origin: &str) -> bool {
    let source = source.to_ascii_lowercase();
    let (scheme, host) = origin.split_once("://").unwrap_or(("", origin));
    if source == "*" || source == origin || source.trim_end_matches(':') == scheme {
        return true;
    }
    let pattern = match source.split_once("://") {
        Some((other, pattern)) if other == scheme => pattern,
        Some(_) => return false,
        None => source.as_str(),
    };
    match pattern.strip_prefix('*') {
        Some(end) => end.is_empty() || host.ends_with(end.trim_end_matches(":*")),
        None => pattern.trim_end_matches(":*") == host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_browsers_read_it() {
        let policy = Policy::parse("Default-Src 'none';; script-src 'a'  b ;script-src *");
        assert!(policy.is("default-src", "'none'"));
        assert_eq!(policy.sources("script-src"), ["'a'", "b"]);
        assert!(policy.sources("style-src").is_empty());
        let same = Policy::parse("script-src 'a' b; frame-ancestors x; default-src 'none'");
        assert_eq!(policy, same.without_ancestors());
    }

    #[test]
    fn only_whole_origins_are_exact() {
        for source in ["'none'", "https://shop.example", "http://localhost:7400"] {
            assert!(is_exact(source), "{source}");
        }
        for source in [
            "*",
            "https:",
            "shop.example",
            "https://*.example",
            "'self'",
            "",
        ] {
            assert!(!is_exact(source), "{source}");
        }
    }

    #[test]
    fn who_is_let_in() {
        let origin = "https://evil.example";
        for source in [
            "*",
            "https:",
            "https://evil.example",
            "https://*.example",
            "evil.example",
            "*.example",
            "https://EVIL.example:*",
            "https://*",
        ] {
            assert!(lets_in(source, origin), "{source}");
        }
        for source in [
            "'none'",
            "'self'",
            "http:",
            "https://shop.example",
            "http://evil.example",
            "https://*.evil.example",
            "vil.example",
        ] {
            assert!(!lets_in(source, origin), "{source}");
        }
    }
}
