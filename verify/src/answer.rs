//! What a redemption brought, opened as a frame opens it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cardveil_seal::hpke::Sealed;
use cardveil_seal::hpke::holder::Holder;
use serde_json::Value;

/// `docs/reference/protocol.md`: what the sealing is for.
const INFO: &[u8] = b"cardveil/redeem/v1";

/// Whether an answer holds this number, sealed to this key.
pub(crate) fn is_number(answer: &Value, holder: &Holder, number: &str) -> bool {
    opened(answer, holder).is_some_and(|fields| {
        let pan = fields.get("pan").and_then(Value::as_str);
        pan == Some(number)
    })
}

fn opened(answer: &Value, holder: &Holder) -> Option<Value> {
    let bytes = |at: &str| {
        let text = answer.pointer(at)?.as_str()?;
        BASE64_URL_SAFE_NO_PAD.decode(text).ok()
    };
    let sealed = Sealed {
        enc: bytes("/sealed/enc")?,
        ciphertext: bytes("/sealed/ciphertext")?,
    };
    let fields = holder.open(&sealed, INFO, &bytes("/header")?).ok()?;
    serde_json::from_slice(fields.expose()).ok()
}
