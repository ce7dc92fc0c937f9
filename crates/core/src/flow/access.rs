//! KeySecure's login token ("Access-Token"): two hours, made of nothing but a MAC over credential,
//! epoch and expiry, so that it needs no row and dies with its credential or with the epoch.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cardveil_seal::{Secret, constant_time_eq};

use super::{Caller, Fault, Service};
use crate::audit::{Kind, Target};
use crate::clock::Time;
use crate::id::CredentialId;
use crate::token::{ACCESS_TTL, Epoch};
use crate::verb::{Commit, RecordEvent};

const PREFIX: &str = "cva_";
const BODY_BYTES: usize = 4 + 8;
const MAC_BYTES: usize = 32;

/// The login token is not good: malformed, forged, expired, or of another credential or epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the login token is not good")]
pub struct AccessRefused;

impl Service {
    /// Makes a login token, once the grant is on record.
    pub async fn grant_access(
        &self,
        caller: &Caller,
        epoch: Epoch,
    ) -> Result<(Secret, Time), Fault> {
        let now = self.now();
        let expires_at = now.plus(ACCESS_TTL);
        let body = body(epoch, expires_at);
        let mac = self.access_mac(&caller.credential.id, &body)?;
        let target = Target {
            credential: Some(caller.credential.id.clone()),
            ..Target::default()
        };
        let merchant = Some(caller.merchant.id.clone());
        self.store
            .commit(RecordEvent(caller.source.event(
                now,
                Kind::AccessGranted,
                merchant,
                target,
            )))
            .await?;
        let text = format!(
            "{PREFIX}{}",
            BASE64_URL_SAFE_NO_PAD.encode([&body[..], &mac].concat())
        );
        Ok((Secret::new(text.into_bytes()), expires_at))
    }

    /// Checks a login token against the credential that presents it. One answer for all that is
    /// wrong with it.
    pub fn check_access(
        &self,
        text: &str,
        credential: &CredentialId,
        epoch: Epoch,
    ) -> Result<Result<(), AccessRefused>, Fault> {
        let decoded = text
            .strip_prefix(PREFIX)
            .filter(|body| body.len() <= 2 * (BODY_BYTES + MAC_BYTES))
            .and_then(|body| BASE64_URL_SAFE_NO_PAD.decode(body).ok());
        let Some(Ok(bytes)) = decoded.map(<[u8; BODY_BYTES + MAC_BYTES]>::try_from) else {
            return Ok(Err(AccessRefused));
        };
        let (claimed, mac) = bytes.split_at(BODY_BYTES);
        // One of before a rotation is good for as long as it was to be.
        let mut same = false;
        for own in self.vault.macs(&access_parts(credential, claimed))? {
            same |= constant_time_eq(&own, mac);
        }
        if !same {
            return Ok(Err(AccessRefused));
        }
        let current = body(epoch, Time::from_millis(0));
        let same_epoch = claimed.first_chunk::<4>() == current.first_chunk::<4>();
        let expiry = claimed
            .last_chunk::<8>()
            .map(|millis| i64::from_be_bytes(*millis));
        // One that a clock ahead has granted would be good until that clock's time comes.
        let now = self.now();
        let alive = expiry.map(Time::from_millis).is_some_and(|expires_at| {
            now < expires_at && !expires_at.minus(ACCESS_TTL).is_ahead_of(now)
        });
        Ok(if same_epoch && alive {
            Ok(())
        } else {
            Err(AccessRefused)
        })
    }

    fn access_mac(&self, credential: &CredentialId, body: &[u8]) -> Result<[u8; 32], Fault> {
        Ok(self.vault.mac(&access_parts(credential, body))?)
    }
}

fn access_parts<'a>(credential: &'a CredentialId, body: &'a [u8]) -> [&'a [u8]; 3] {
    [b"access-token", credential.as_str().as_bytes(), body]
}

fn body(epoch: Epoch, expires_at: Time) -> [u8; BODY_BYTES] {
    let mut body = [0; BODY_BYTES];
    let parts = epoch
        .0
        .to_be_bytes()
        .into_iter()
        .chain(expires_at.millis().to_be_bytes());
    for (to, from) in body.iter_mut().zip(parts) {
        *to = from;
    }
    body
}
