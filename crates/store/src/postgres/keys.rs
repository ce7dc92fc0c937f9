//! Class keys, and the records under them: lookups, and the writes inside a batch.
//!
//! A record's wrapped DEK names the version that it is under, and the expressions by which it is
//! found here are those of the indexes in `migrations/0001_start.sql`.

use async_trait::async_trait;
use cardveil_core::keys::{ClassKey, Envelope, Sought, Use, version_of};
use cardveil_core::mfa::Totp;
use cardveil_core::port::{Class, Keys, Result};

use super::Postgres;
use super::fault::Fault;
use super::row::Row;
use crate::sql::value::{Row as _, values};
use crate::sql::{Place, places, rows, sql_count};

#[async_trait]
impl Keys for Postgres {
    async fn class_keys(&self) -> Result<Vec<ClassKey>> {
        self.readers
            .all(&rows::CLASS_KEYS, &values![], rows::class_key)
            .await
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
            found.extend(self.readers.all(sql(*place), &under, read).await?);
        }
        Ok(found)
    }
}

/// What is under a version at a place.
///
/// Of cards and people there are many, and of those under a version at its end few or none,
/// which no statistics tell in time: an equality would have the planner walk the table for
/// them, past all that were moved. Of a range in its order there is one way that sorts nothing,
/// the index.
pub(super) const fn sql(place: Place) -> &'static str {
    match place {
        Place::Card => {
            "SELECT id, merchant, dek, pan, expiry, name FROM card
             WHERE substr(dek, 2, 4) BETWEEN $1 AND $1 ORDER BY substr(dek, 2, 4) LIMIT $2"
        }
        Place::Cvv => {
            "SELECT id, merchant, cvv_dek, cvv FROM card
             WHERE cvv_dek IS NOT NULL AND substr(cvv_dek, 2, 4) BETWEEN $1 AND $1
             ORDER BY substr(cvv_dek, 2, 4) LIMIT $2"
        }
        Place::Pin => {
            "SELECT id, merchant, pin_dek, pin FROM card
             WHERE pin_dek IS NOT NULL AND substr(pin_dek, 2, 4) BETWEEN $1 AND $1
             ORDER BY substr(pin_dek, 2, 4) LIMIT $2"
        }
        Place::Credential => {
            "SELECT id, merchant, dek, sealed FROM credential
             WHERE substr(dek, 2, 4) = $1 LIMIT $2"
        }
        Place::WebhookSecret => {
            "SELECT id, merchant, secret_dek, secret FROM subscription
             WHERE substr(secret_dek, 2, 4) = $1 LIMIT $2"
        }
        Place::WebhookAuthorization => {
            "SELECT id, merchant, authorization_dek, \"authorization\" FROM subscription
             WHERE substr(authorization_dek, 2, 4) = $1 LIMIT $2"
        }
        Place::Totp => {
            "SELECT merchant, person, totp FROM mfa_person
             WHERE totp_key BETWEEN $1 AND $1 ORDER BY totp_key LIMIT $2"
        }
    }
}

/// Which version the secret of an app is under, for the column that it is found by.
pub(super) fn key_column(totp: Option<&Totp>) -> Option<[u8; 4]> {
    version_of(&totp?.sealed.dek).ok().map(u32::to_be_bytes)
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
