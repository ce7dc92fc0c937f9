//! What a record of the audit log tells of a subscription.

use super::Subscription;
use crate::audit::settings::{Settings, Value, hidden, list_of, maybe, one, words};

impl Settings for Subscription {
    fn settings(&self) -> Vec<(&'static str, Value)> {
        let Self {
            id: _,
            merchant: _,
            account,
            form,
            url,
            topics,
            enabled,
            secret,
            authorization,
            credential,
            created_at: _,
            updated_at: _,
        } = self;
        let host = url.url().host_str().unwrap_or_default();
        let port = url.url().port().map(|port| format!(":{port}"));
        let scheme = url.url().scheme();
        let account = account.as_ref().map(|account| words(account.as_str()));
        vec![
            ("account", Value::One(account.unwrap_or_default())),
            ("form", one(form.as_str())),
            (
                "host",
                Value::One(format!("{scheme}://{host}{}", port.unwrap_or_default())),
            ),
            // A path or a query may be what its owner thinks secret.
            ("url", Value::Hidden(url.as_str().as_bytes().to_vec())),
            ("topics", list_of(topics, |topic| topic.as_str().to_owned())),
            ("enabled", one(enabled)),
            ("secret", hidden(secret.as_ref())),
            ("authorization", hidden(authorization.as_ref())),
            ("credential", maybe(credential.as_ref())),
        ]
    }
}
