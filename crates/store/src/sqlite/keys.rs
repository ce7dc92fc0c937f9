//! Class keys, and the records under them: lookups, and the writes inside a batch.
//!
//! A record's wrapped DEK names the version that it is under, and the expressions by which it is
//! found here are those of the indexes in `migrations/0010_keys.sql`.

use async_trait::async_trait;
use cardveil_core::clock::Time;
use cardveil_core::id::{CardId, PersonId, SubscriptionId};
use cardveil_core::keys::{ClassKey, Envelope, Moved, Slot, Sought, Use};
use cardveil_core::mfa::Totp;
use cardveil_core::port::rows::{KeyRows, Loaded};
use cardveil_core::port::{Class, Keys, Result};
use rusqlite::{Connection, Row, params};

use super::rows::{CLASS_KEYS, Json, class_key, text};
use super::writer::Batch;
use super::{Sqlite, all, sql_count};

#[async_trait]
impl Keys for Sqlite {
    async fn class_keys(&self) -> Result<Vec<ClassKey>> {
        self.readers
            .read(|connection| all(connection, CLASS_KEYS, [], class_key))
    }

    async fn key_uses(&self) -> Result<Vec<Use>> {
        self.readers.read(uses)
    }

    async fn envelopes(&self, sought: Sought) -> Result<Vec<Envelope>> {
        self.readers.read(|connection| {
            let mut found = Vec::new();
            for place in places(sought.class) {
                let limit = sql_count(sought.limit - found.len());
                found.extend(place.under(connection, sought.version, limit)?);
            }
            Ok(found)
        })
    }
}

impl KeyRows for Batch<'_> {
    fn class_keys(&self) -> Loaded<Vec<ClassKey>> {
        Ok(self.all(CLASS_KEYS, [], class_key)?)
    }

    fn save_class_key(&self, key: &ClassKey) -> Loaded<()> {
        let (retiring_at, retired_at) = key.state.dates();
        self.execute(
            "INSERT INTO wrapped_key (class, version, wrapped, created_at, retiring_at, retired_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (class, version) DO UPDATE SET wrapped = excluded.wrapped,
                 retiring_at = excluded.retiring_at, retired_at = excluded.retired_at",
            params![
                key.key.class.code(),
                key.key.version,
                key.key.wrapped,
                key.created_at.map(Time::millis),
                retiring_at.map(Time::millis),
                retired_at.map(Time::millis),
            ],
        )?;
        Ok(())
    }

    fn is_retired(&self, class: Class, version: u32) -> Loaded<bool> {
        const SQL: &str = "SELECT 1 FROM wrapped_key WHERE class = ?1 AND version = ?2
             AND retired_at IS NOT NULL";
        let retired = self.first(SQL, params![class.code(), version], |_| Ok(()))?;
        Ok(retired.is_some())
    }

    fn has_records(&self, class: Class, version: u32) -> Loaded<bool> {
        for place in places(class) {
            if !place.under(self.connection(), version, 1)?.is_empty() {
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
    const fn sql(self) -> &'static str {
        match self {
            Self::Card => {
                "SELECT id, merchant, dek, pan, expiry, name FROM card
                 WHERE substr(dek, 2, 4) = ?1 ORDER BY seq LIMIT ?2"
            }
            Self::Cvv => {
                "SELECT id, merchant, cvv_dek, cvv FROM card
                 WHERE cvv_dek IS NOT NULL AND substr(cvv_dek, 2, 4) = ?1 ORDER BY seq LIMIT ?2"
            }
            Self::Pin => {
                "SELECT id, merchant, pin_dek, pin FROM card
                 WHERE pin_dek IS NOT NULL AND substr(pin_dek, 2, 4) = ?1 ORDER BY seq LIMIT ?2"
            }
            Self::Credential => {
                "SELECT id, merchant, dek, sealed FROM credential
                 WHERE substr(dek, 2, 4) = ?1 ORDER BY key_hash LIMIT ?2"
            }
            Self::WebhookSecret => {
                "SELECT id, merchant, secret_dek, secret FROM subscription
                 WHERE substr(secret_dek, 2, 4) = ?1 ORDER BY seq LIMIT ?2"
            }
            Self::WebhookAuthorization => {
                "SELECT id, merchant, authorization_dek, authorization FROM subscription
                 WHERE substr(authorization_dek, 2, 4) = ?1 ORDER BY seq LIMIT ?2"
            }
            Self::Totp => {
                "SELECT merchant, person, totp FROM mfa_person
                 WHERE totp IS NOT NULL AND json_extract(totp, '$.sealed.dek[1]') = ?1
                     AND json_extract(totp, '$.sealed.dek[2]') = ?2
                     AND json_extract(totp, '$.sealed.dek[3]') = ?3
                     AND json_extract(totp, '$.sealed.dek[4]') = ?4
                 ORDER BY merchant, person LIMIT ?5"
            }
        }
    }

    /// Those under a version.
    fn under(
        self,
        connection: &Connection,
        version: u32,
        limit: i64,
    ) -> rusqlite::Result<Vec<Envelope>> {
        let version = version.to_be_bytes();
        match self {
            Self::Totp => {
                let [a, b, c, d] = version;
                all(connection, self.sql(), params![a, b, c, d, limit], totp)
            }
            Self::Card
            | Self::Cvv
            | Self::Pin
            | Self::Credential
            | Self::WebhookSecret
            | Self::WebhookAuthorization => {
                all(connection, self.sql(), params![version, limit], |row| {
                    self.envelope(row)
                })
            }
        }
    }

    fn envelope(self, row: &Row<'_>) -> rusqlite::Result<Envelope> {
        let merchant = text(row, 1)?;
        let card = || row.get(0).map(CardId::from_bytes);
        let subscription = || row.get(0).map(SubscriptionId::from_bytes);
        let (slot, fields) = match self {
            Self::Card => (Slot::Card(card()?, merchant), 3..6),
            Self::Cvv => (Slot::Cvv(card()?, merchant), 3..4),
            Self::Pin => (Slot::Pin(card()?, merchant), 3..4),
            Self::Credential | Self::Totp => (Slot::Credential(text(row, 0)?, merchant), 3..4),
            Self::WebhookSecret => (Slot::WebhookSecret(subscription()?, merchant), 3..4),
            Self::WebhookAuthorization => {
                (Slot::WebhookAuthorization(subscription()?, merchant), 3..4)
            }
        };
        Ok(Envelope {
            slot,
            dek: row.get(2)?,
            sealed: fields
                .map(|field| row.get(field))
                .collect::<rusqlite::Result<_>>()?,
        })
    }
}

fn totp(row: &Row<'_>) -> rusqlite::Result<Envelope> {
    let Json(totp): Json<Totp> = row.get(2)?;
    Ok(Envelope {
        slot: Slot::Totp(text(row, 0)?, PersonId::from_bytes(row.get(1)?), totp.id),
        dek: totp.sealed.dek,
        sealed: vec![totp.sealed.sealed],
    })
}

fn uses(connection: &Connection) -> rusqlite::Result<Vec<Use>> {
    const COUNTED: [(Class, &str); 4] = [
        (
            Class::Pan,
            "SELECT substr(dek, 2, 4), count(*) FROM card GROUP BY 1",
        ),
        (
            Class::Cvv,
            "SELECT substr(cvv_dek, 2, 4), count(*) FROM card WHERE cvv_dek IS NOT NULL GROUP BY 1",
        ),
        (
            Class::Pin,
            "SELECT substr(pin_dek, 2, 4), count(*) FROM card WHERE pin_dek IS NOT NULL GROUP BY 1",
        ),
        (
            Class::Credential,
            "SELECT key, count(*) FROM (
                 SELECT substr(dek, 2, 4) AS key FROM credential
                 UNION ALL SELECT substr(secret_dek, 2, 4) FROM subscription
                     WHERE secret_dek IS NOT NULL
                 UNION ALL SELECT substr(authorization_dek, 2, 4) FROM subscription
                     WHERE authorization_dek IS NOT NULL
                 UNION ALL SELECT unhex(printf('%02x%02x%02x%02x',
                     json_extract(totp, '$.sealed.dek[1]'), json_extract(totp, '$.sealed.dek[2]'),
                     json_extract(totp, '$.sealed.dek[3]'), json_extract(totp, '$.sealed.dek[4]')))
                     FROM mfa_person WHERE totp IS NOT NULL
             ) GROUP BY 1",
        ),
    ];
    let mut uses = Vec::new();
    for (class, sql) in COUNTED {
        let counted = all(connection, sql, [], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })?;
        for (version, records) in counted {
            // What names no version is none of ours, and will not open.
            if let Ok(version) = <[u8; 4]>::try_from(version) {
                let (version, records) = (u32::from_be_bytes(version), records.unsigned_abs());
                uses.push(Use {
                    class,
                    version,
                    records,
                });
            }
        }
    }
    Ok(uses)
}

fn move_one(batch: &Batch<'_>, one: &Moved) -> rusqlite::Result<bool> {
    let sealed = |at: usize| one.sealed.as_ref().and_then(|sealed| sealed.get(at));
    let (was, dek) = (&one.was, &one.dek);
    let changed = match &one.slot {
        Slot::Card(id, _) => batch.execute(
            "UPDATE card SET dek = ?3, pan = coalesce(?4, pan), expiry = coalesce(?5, expiry),
                 name = coalesce(?6, name)
             WHERE id = ?1 AND dek = ?2",
            params![id.as_bytes(), was, dek, sealed(0), sealed(1), sealed(2)],
        )?,
        Slot::Cvv(id, _) => batch.execute(
            "UPDATE card SET cvv_dek = ?3, cvv = coalesce(?4, cvv) WHERE id = ?1 AND cvv_dek = ?2",
            params![id.as_bytes(), was, dek, sealed(0)],
        )?,
        Slot::Pin(id, _) => batch.execute(
            "UPDATE card SET pin_dek = ?3, pin = coalesce(?4, pin) WHERE id = ?1 AND pin_dek = ?2",
            params![id.as_bytes(), was, dek, sealed(0)],
        )?,
        Slot::Credential(id, _) => batch.execute(
            "UPDATE credential SET dek = ?3, sealed = coalesce(?4, sealed)
             WHERE id = ?1 AND dek = ?2",
            params![id.as_str(), was, dek, sealed(0)],
        )?,
        Slot::WebhookSecret(id, _) => batch.execute(
            "UPDATE subscription SET secret_dek = ?3, secret = coalesce(?4, secret)
             WHERE id = ?1 AND secret_dek = ?2",
            params![id.as_bytes(), was, dek, sealed(0)],
        )?,
        Slot::WebhookAuthorization(id, _) => batch.execute(
            "UPDATE subscription SET authorization_dek = ?3,
                 authorization = coalesce(?4, authorization)
             WHERE id = ?1 AND authorization_dek = ?2",
            params![id.as_bytes(), was, dek, sealed(0)],
        )?,
        Slot::Totp(merchant, person, factor) => {
            let key = params![merchant.as_str(), person.as_bytes()];
            let found = batch.first(
                "SELECT totp FROM mfa_person WHERE merchant = ?1 AND person = ?2
                     AND totp IS NOT NULL",
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
                "UPDATE mfa_person SET totp = ?3 WHERE merchant = ?1 AND person = ?2",
                params![merchant.as_str(), person.as_bytes(), Json(&totp)],
            )?
        }
    };
    Ok(changed == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However many cards and people there are, what is under a version is found by an index, and
    /// in its order.
    #[test]
    fn what_is_under_a_version_is_found_by_an_index() {
        let connection = Connection::open_in_memory().unwrap();
        for migration in super::super::open::MIGRATIONS {
            connection.execute_batch(migration).unwrap();
        }
        for (place, index) in [
            (Place::Card, "card_pan_key"),
            (Place::Cvv, "card_cvv_key"),
            (Place::Pin, "card_pin_key"),
            (Place::Totp, "mfa_person_key"),
        ] {
            let sql = format!("EXPLAIN QUERY PLAN {}", place.sql());
            let mut explained = connection.prepare(&sql).unwrap();
            let mut rows = explained.raw_query();
            let mut plan = Vec::new();
            while let Some(row) = rows.next().unwrap() {
                plan.push(row.get::<_, String>("detail").unwrap());
            }
            let [step] = plan.as_slice() else {
                panic!("{plan:?}");
            };
            assert!(step.contains(&format!("USING INDEX {index}")), "{step}");
        }
    }
}
