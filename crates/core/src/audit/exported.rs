//! An entry as it leaves the deployment: in `cardveil audit export`, and in every sink.

use serde_json::Value;

use super::chain::Chained;
use super::personal;
use crate::clock::Time;

/// An entry for people and other programs, with all that it takes to verify it: `stored` is the
/// very text that `hash` is of, `personal` the text of the personal values that it has committed
/// to, and the rest is the two again, to be read.
pub fn exported(entry: &Chained) -> Value {
    let (mut record, erased) = personal::read(&entry.stored, entry.personal.as_deref());
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
        if !erased.is_empty() {
            fields.insert("erased".into(), erased.into());
        }
        fields.insert("stored".into(), entry.stored.clone().into());
        if let Some(personal) = &entry.personal {
            fields.insert("personal".into(), personal.clone().into());
        }
    }
    record
}
