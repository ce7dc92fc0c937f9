//! What anybody presents as a client token, and the form in which tokens are written.
//!
//! **Invariant:** what we did not make is refused by the key in memory: without a lookup in the
//! store, a row or a record (P8). Two exceptions are bounded by time: a key that this process does
//! not know yet is looked for once a second, and the first form, which has no check, is looked up
//! while nodes of the version before may have issued it.

use std::time::Duration;

use cardveil_seal::Class;

use super::{Fault, Service};
use crate::clock::Time;
use crate::keys::LOOK_EVERY;
use crate::token::{CLOCKS_APART, ClientToken, Epoch, Said, Unchecked};

/// How long no node of the version before has written before none is taken to be serving. Each
/// writes every few seconds, whether it is called or not.
pub const GONE_AFTER: Duration = Duration::from_secs(60);
/// How often strangers can have it looked for a key.
pub const KEY_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a text is refused before anything is looked up. The caller is not told which (P6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// It is not in the form of a token of this environment, or in one that is no longer taken.
    Form,
    /// Its check does not hold: we did not make it.
    Check,
    /// It is ours, and past its life by its own time.
    PastLife,
}

/// How tokens are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// With a check.
    Keyed,
    /// Without, for nodes of the version before.
    First,
}

/// What was seen of the programs that know only the first form.
#[derive(Clone, Copy)]
pub(super) struct Earlier {
    looked_at: Time,
    last: Option<Time>,
}

impl Service {
    /// The client token of this text, if it is ours and not older than `life`.
    pub async fn token(
        &self,
        text: &str,
        life: Duration,
    ) -> Result<Result<ClientToken, NotTaken>, Fault> {
        let Ok(unchecked) = Unchecked::parse(text, self.vault.environment()) else {
            return Ok(Err(NotTaken::Form));
        };
        let alive = self.now() < unchecked.issued_at().plus(life);
        let checked = match unchecked.version() {
            Some(version) if self.knows_key(version).await? => {
                let mac = |parts: &[&[u8]]| self.vault.mac_under(version, parts);
                unchecked.check(mac)?.map_err(|_| NotTaken::Check)
            }
            Some(_) => Err(NotTaken::Check),
            None if alive && self.takes_first_form(unchecked.issued_at()).await? => {
                unchecked.first_form().map_err(|_| NotTaken::Form)
            }
            None => Err(NotTaken::Form),
        };
        Ok(checked.and_then(|token| alive.then_some(token).ok_or(NotTaken::PastLife)))
    }

    /// The form of a new token. As long as a node of the version before may serve, it is the one
    /// that such a node reads: whoever gets the token may redeem it there.
    pub async fn form(&self) -> Result<Form, Fault> {
        let last = self.earlier().await?;
        let gone = last.is_none_or(|last| last.plus(GONE_AFTER) <= self.now());
        Ok(if gone { Form::Keyed } else { Form::First })
    }

    /// Writes a token in this form, under the key of this version.
    pub fn write(
        &self,
        form: Form,
        version: u32,
        (epoch, issued_at): (Epoch, Time),
        random: &[u8; 32],
    ) -> Result<ClientToken, Fault> {
        let said = Said {
            environment: self.vault.environment(),
            epoch,
            issued_at,
            random,
        };
        Ok(match form {
            Form::Keyed => {
                ClientToken::new(&said, version, |parts| self.vault.mac_under(version, parts))?
            }
            Form::First => ClientToken::in_first_form(&said),
        })
    }

    /// Whether one that says that it was issued then may have been: by a node of the version
    /// before, or by one of this version beside it.
    async fn takes_first_form(&self, issued_at: Time) -> Result<bool, Fault> {
        let last = self.earlier().await?;
        Ok(last.is_some_and(|last| issued_at <= last.plus(GONE_AFTER).plus(CLOCKS_APART)))
    }

    /// When a program that knows only the first form last wrote.
    async fn earlier(&self) -> Result<Option<Time>, Fault> {
        let mut earlier = self.earlier.lock().await;
        let now = self.now();
        if let Some(seen) = *earlier
            && is_fresh(seen.looked_at, now, LOOK_EVERY)
        {
            return Ok(seen.last);
        }
        let last = self.store.first_form_last(now).await?;
        let looked_at = now;
        *earlier = Some(Earlier { looked_at, last });
        Ok(last)
    }

    /// Whether this key is open. One that may be newer than those which are is looked for, but not
    /// as often as strangers like: a key that was made since the last look is known a second later.
    async fn knows_key(&self, version: u32) -> Result<bool, Fault> {
        if self.vault.knows_mac_key(version) {
            return Ok(true);
        }
        if version < self.vault.sealing_version(Class::Access)? {
            return Ok(false);
        }
        let mut looked = self.key_looked_at.lock().await;
        let now = self.now();
        if !looked.is_some_and(|at| is_fresh(at, now, KEY_LOOK_EVERY)) {
            *looked = Some(now);
            self.look_at_keys().await?;
        }
        Ok(self.vault.knows_mac_key(version))
    }
}

/// Whether what was seen `at` may still be gone by. A clock that went back shows nothing.
fn is_fresh(at: Time, now: Time, every: Duration) -> bool {
    at <= now && now < at.plus(every)
}
