//! An entry as it leaves the deployment: in `cardveil audit export`, and in every sink.

use serde_json::{Value, json};

use super::chain::Chained;
use crate::clock::Time;

/// An entry for people and other programs, with all that it takes to verify it: `stored` is the
/// very text that `hash` is of, and the rest is that text again, to be read.
pub fn exported(entry: &Chained) -> Value {
    let mut record = serde_json::from_str(&entry.stored).unwrap_or_else(|_| json!({}));
    if let Some(fields) = Value::as_object_mut(&mut record) {
        // Records keep milliseconds; people and other programs read RFC 3339.
        if let Some(at) = fields.get_mut("at")
            && let Some(millis) = at.as_i64()
        {
            *at = Time::from_millis(millis).to_string().into();
        }
        fields.insert("seq".into(), entry.seq.into());
        fields.insert("chain".into(), entry.link.chain.to_string().into());
        fields.insert("place".into(), entry.link.place.into());
        fields.insert("hash".into(), entry.link.hash.to_string().into());
        fields.insert("stored".into(), entry.stored.clone().into());
    }
    record
}
