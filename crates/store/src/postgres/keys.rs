//! Class keys, and the records under them: lookups, and the writes inside a batch.
//!
//! A record's wrapped DEK names the version that it is under, and the expressions by which it is
//! found here are those of the indexes in `migrations/0001_start.sql`.

use async_trait::async_trait;
use cardveil_core::id::{CardId, PersonId, SubscriptionId};
use cardveil_core::keys::{ClassKey, Envelope, Moved, Slot, Sought, Use, version_of};
use cardveil_core::mfa::Totp;
use cardveil_core::port::rows::{KeyRows, Loaded};
use cardveil_core::port::{Class, Keys, Result};

use super::batch::Batch;
use super::fault::Fault;
use super::rows::{CLASS_KEYS, class_key, id};
use super::value::{Json, Row, values};
use super::{Postgres, sql_count};

type Outcome<T> = std::result::Result<T, Fault>;

#[async_trait]
impl Keys for Postgres {
    async fn class_keys(&self) -> Result<Vec<ClassKey>> {
        self.readers.all(CLASS_KEYS, &values![], class_key).await
    }

    async fn key_uses(&self) -> Result<Vec<Use>> {
        let counted = async {
            let link = self.readers.patient().await?;
            let mut uses = Vec::new();
            for (class, sql) in COUNTED {
                for row in link.query(sql, &[]).await? {
                    // What names no version is none of ours, and will not open.
                    if let Ok(version) = <[u8; 4]>::try_from(row.get::<Vec<u8>>(0)?) {
                        uses.push(Use {
                            class,
                            version: u32::from_be_bytes(version),
                            records: row.get::<i64>(1)?.unsigned_abs(),
                        });
                    }
                }
            }
            Ok(uses)
        };
        counted.await.map_err(Fault::nothing_written)
    }

    async fn envelopes(&self, sought: Sought) -> Result<Vec<Envelope>> {
        let mut found = Vec::new();
        for place in places(sought.class) {
            let limit = sql_count(sought.limit - found.len());
            let under = values![sought.version.to_be_bytes(), limit];
            let read = |row: &Row| place.envelope(row);
            found.extend(self.readers.all(place.sql(), &under, read).await?);
        }
        Ok(found)
    }
}

/// Holds a version, so that it is not destroyed meanwhile.
const HOLD: &str = "SELECT 1 FROM wrapped_key WHERE class = $1 AND version = $2 FOR UPDATE";

impl KeyRows for Batch<'_> {
    fn class_keys(&self) -> Loaded<Vec<ClassKey>> {
        Ok(self.all(CLASS_KEYS, values![], class_key)?)
    }

    fn save_class_key(&self, key: &ClassKey) -> Loaded<()> {
        let (retiring_at, retired_at) = key.state.dates();
        Ok(self.send(
            "INSERT INTO wrapped_key (class, version, wrapped, created_at, retiring_at, retired_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (class, version) DO UPDATE SET wrapped = excluded.wrapped,
                 retiring_at = excluded.retiring_at, retired_at = excluded.retired_at",
            values![
                key.key.class.code(),
                key.key.version,
                &key.key.wrapped,
                key.created_at,
                retiring_at,
                retired_at,
            ],
        )?)
    }

    fn is_retired(&self, class: Class, version: u32) -> Loaded<bool> {
        const SQL: &str = "SELECT retired_at IS NOT NULL FROM wrapped_key
             WHERE class = $1 AND version = $2 FOR SHARE";
        let retired = self.first(SQL, values![class.code(), version], |row| row.get(0))?;
        Ok(retired.unwrap_or(false))
    }

    /// Whoever writes under the version shares its row until their commit.
    fn has_records(&self, class: Class, version: u32) -> Loaded<bool> {
        self.execute(HOLD, values![class.code(), version])?;
        for place in places(class) {
            let under = values![version.to_be_bytes(), 1_i64];
            if self.first(place.sql(), under, |_| Ok(()))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn move_envelope(&self, moved: &Moved) -> Loaded<bool> {
        Ok(move_one(self, moved)?)
    }
}

/// Where records of a class are.
#[derive(Clone, Copy)]
enum Place {
    Card,
    Cvv,
    Pin,
    Credential,
    Totp,
    WebhookSecret,
    WebhookAuthorization,
}

const fn places(class: Class) -> &'static [Place] {
    match class {
        Class::Pan => &[Place::Card],
        Class::Cvv => &[Place::Cvv],
        Class::Pin => &[Place::Pin],
        Class::Credential => &[
            Place::Credential,
            Place::Totp,
            Place::WebhookSecret,
            Place::WebhookAuthorization,
        ],
        Class::Index | Class::Access | Class::Manifest | Class::Audit | Class::Cvk => &[],
    }
}

impl Place {
    /// Of cards and people there are many, and of those under a version at its end few or none,
    /// which no statistics tell in time: an equality would have the planner walk the table for
    /// them, past all that were moved. Of a range in its order there is one way that sorts nothing,
    /// the index.
    const fn sql(self) -> &'static str {
        match self {
            Self::Card => {
                "SELECT id, merchant, dek, pan, expiry, name FROM card
                 WHERE substr(dek, 2, 4) BETWEEN $1 AND $1 ORDER BY substr(dek, 2, 4) LIMIT $2"
            }
            Self::Cvv => {
                "SELECT id, merchant, cvv_dek, cvv FROM card
                 WHERE cvv_dek IS NOT NULL AND substr(cvv_dek, 2, 4) BETWEEN $1 AND $1
                 ORDER BY substr(cvv_dek, 2, 4) LIMIT $2"
            }
            Self::Pin => {
                "SELECT id, merchant, pin_dek, pin FROM card
                 WHERE pin_dek IS NOT NULL AND substr(pin_dek, 2, 4) BETWEEN $1 AND $1
                 ORDER BY substr(pin_dek, 2, 4) LIMIT $2"
            }
            Self::Credential => {
                "SELECT id, merchant, dek, sealed FROM credential
                 WHERE substr(dek, 2, 4) = $1 LIMIT $2"
            }
            Self::WebhookSecret => {
                "SELECT id, merchant, secret_dek, secret FROM subscription
                 WHERE substr(secret_dek, 2, 4) = $1 LIMIT $2"
            }
            Self::WebhookAuthorization => {
                "SELECT id, merchant, authorization_dek, \"authorization\" FROM subscription
                 WHERE substr(authorization_dek, 2, 4) = $1 LIMIT $2"
            }
            Self::Totp => {
                "SELECT merchant, person, totp FROM mfa_person
                 WHERE totp_key BETWEEN $1 AND $1 ORDER BY totp_key LIMIT $2"
            }
        }
    }

    fn envelope(self, row: &Row) -> Outcome<Envelope> {
        if let Self::Totp = self {
            return totp(row);
        }
        let merchant = id(row, 1)?;
        let card = || row.get(0).map(CardId::from_bytes);
        let subscription = || row.get(0).map(SubscriptionId::from_bytes);
        let (slot, fields) = match self {
            Self::Card => (Slot::Card(card()?, merchant), 3..6),
            Self::Cvv => (Slot::Cvv(card()?, merchant), 3..4),
            Self::Pin => (Slot::Pin(card()?, merchant), 3..4),
            Self::Credential | Self::Totp => (Slot::Credential(id(row, 0)?, merchant), 3..4),
            Self::WebhookSecret => (Slot::WebhookSecret(subscription()?, merchant), 3..4),
            Self::WebhookAuthorization => {
                (Slot::WebhookAuthorization(subscription()?, merchant), 3..4)
            }
        };
        Ok(Envelope {
            slot,
            dek: row.get(2)?,
            sealed: fields.map(|field| row.get(field)).collect::<Outcome<_>>()?,
        })
    }
}

/// Which version the secret of an app is under, for the column that it is found by.
pub(super) fn key_column(totp: Option<&Totp>) -> Option<[u8; 4]> {
    version_of(&totp?.sealed.dek).ok().map(u32::to_be_bytes)
}

fn totp(row: &Row) -> Outcome<Envelope> {
    let Json(totp): Json<Totp> = row.get(2)?;
    Ok(Envelope {
        slot: Slot::Totp(id(row, 0)?, PersonId::from_bytes(row.get(1)?), totp.id),
        dek: totp.sealed.dek,
        sealed: vec![totp.sealed.sealed],
    })
}

const COUNTED: [(Class, &str); 4] = [
    (
        Class::Pan,
        "SELECT substr(dek, 2, 4), count(*) FROM card GROUP BY 1 ORDER BY 1",
    ),
    (
        Class::Cvv,
        "SELECT substr(cvv_dek, 2, 4), count(*) FROM card WHERE cvv_dek IS NOT NULL
         GROUP BY 1 ORDER BY 1",
    ),
    (
        Class::Pin,
        "SELECT substr(pin_dek, 2, 4), count(*) FROM card WHERE pin_dek IS NOT NULL
         GROUP BY 1 ORDER BY 1",
    ),
    (
        Class::Credential,
        "SELECT key, count(*) FROM (
             SELECT substr(dek, 2, 4) AS key FROM credential
             UNION ALL SELECT substr(secret_dek, 2, 4) FROM subscription
                 WHERE secret_dek IS NOT NULL
             UNION ALL SELECT substr(authorization_dek, 2, 4) FROM subscription
                 WHERE authorization_dek IS NOT NULL
             UNION ALL SELECT totp_key FROM mfa_person WHERE totp_key IS NOT NULL
         ) AS keys GROUP BY 1 ORDER BY 1",
    ),
];

fn move_one(batch: &Batch<'_>, one: &Moved) -> Outcome<bool> {
    let sealed = |at: usize| one.sealed.as_ref().and_then(|sealed| sealed.get(at));
    let (was, dek) = (&one.was, &one.dek);
    let changed = match &one.slot {
        Slot::Card(id, _) => batch.execute(
            "UPDATE card SET dek = $3, pan = coalesce($4, pan), expiry = coalesce($5, expiry),
                 name = coalesce($6, name)
             WHERE id = $1 AND dek = $2",
            values![id.as_bytes(), was, dek, sealed(0), sealed(1), sealed(2)],
        )?,
        Slot::Cvv(id, _) => batch.execute(
            "UPDATE card SET cvv_dek = $3, cvv = coalesce($4, cvv) WHERE id = $1 AND cvv_dek = $2",
            values![id.as_bytes(), was, dek, sealed(0)],
        )?,
        Slot::Pin(id, _) => batch.execute(
            "UPDATE card SET pin_dek = $3, pin = coalesce($4, pin) WHERE id = $1 AND pin_dek = $2",
            values![id.as_bytes(), was, dek, sealed(0)],
        )?,
        Slot::Credential(id, _) => batch.execute(
            "UPDATE credential SET dek = $3, sealed = coalesce($4, sealed)
             WHERE id = $1 AND dek = $2",
            values![id.as_str(), was, dek, sealed(0)],
        )?,
        Slot::WebhookSecret(id, _) => batch.execute(
            "UPDATE subscription SET secret_dek = $3, secret = coalesce($4, secret)
             WHERE id = $1 AND secret_dek = $2",
            values![id.as_bytes(), was, dek, sealed(0)],
        )?,
        Slot::WebhookAuthorization(id, _) => batch.execute(
            "UPDATE subscription SET authorization_dek = $3,
                 \"authorization\" = coalesce($4, \"authorization\")
             WHERE id = $1 AND authorization_dek = $2",
            values![id.as_bytes(), was, dek, sealed(0)],
        )?,
        Slot::Totp(merchant, person, factor) => {
            let key = values![merchant.as_str(), person.as_bytes()];
            let found = batch.first(
                "SELECT totp FROM mfa_person WHERE merchant = $1 AND person = $2
                     AND totp IS NOT NULL FOR UPDATE",
                key,
                |row| row.get(0).map(|Json(totp)| totp),
            )?;
            let is_it = |totp: &Totp| totp.id == *factor && totp.sealed.dek == *was;
            let Some(mut totp) = found.filter(is_it) else {
                return Ok(false);
            };
            totp.sealed.dek.clone_from(dek);
            if let Some(sealed) = sealed(0) {
                totp.sealed.sealed.clone_from(sealed);
            }
            batch.execute(
                "UPDATE mfa_person SET totp = $3, totp_key = $4
                 WHERE merchant = $1 AND person = $2",
                values![
                    merchant.as_str(),
                    person.as_bytes(),
                    Json(&totp),
                    key_column(Some(&totp))
                ],
            )?
        }
    };
    Ok(changed == 1)
}
