//! Where the records under class keys are.
//!
//! A record's wrapped DEK names the version that it is under, and the expressions by which it is
//! found here are those of the indexes in `migrations/0010_keys.sql`.

use cardveil_core::keys::Envelope;
use cardveil_core::port::Class;
use rusqlite::{Connection, Row, params};

use super::all;
use crate::sql::table::Statement;
use crate::sql::{CARD_FIELDS, RecordKind};

/// What is under a version at a place.
fn sql(place: RecordKind) -> &'static str {
    static CARD: Statement = Statement::new(|| {
        format!(
            "SELECT id, merchant, dek, {} FROM card
             WHERE substr(dek, 2, 4) = ?1 ORDER BY seq LIMIT ?2",
            *CARD_FIELDS
        )
    });
    match place {
        RecordKind::Card => &CARD,
        RecordKind::Cvv => {
            "SELECT id, merchant, cvv_dek, cvv FROM card
                 WHERE cvv_dek IS NOT NULL AND substr(cvv_dek, 2, 4) = ?1 ORDER BY seq LIMIT ?2"
        }
        RecordKind::Pin => {
            "SELECT id, merchant, pin_dek, pin FROM card
                 WHERE pin_dek IS NOT NULL AND substr(pin_dek, 2, 4) = ?1 ORDER BY seq LIMIT ?2"
        }
        RecordKind::Credential => {
            "SELECT id, merchant, dek, sealed FROM credential
                 WHERE substr(dek, 2, 4) = ?1 ORDER BY key_hash LIMIT ?2"
        }
        RecordKind::WebhookSecret => {
            "SELECT id, merchant, secret_dek, secret FROM subscription
                 WHERE substr(secret_dek, 2, 4) = ?1 ORDER BY seq LIMIT ?2"
        }
        RecordKind::WebhookAuthorization => {
            "SELECT id, merchant, authorization_dek, authorization FROM subscription
                 WHERE substr(authorization_dek, 2, 4) = ?1 ORDER BY seq LIMIT ?2"
        }
        RecordKind::Totp => {
            "SELECT merchant, person, totp FROM mfa_person
                 WHERE totp IS NOT NULL AND json_extract(totp, '$.sealed.dek[1]') = ?1
                     AND json_extract(totp, '$.sealed.dek[2]') = ?2
                     AND json_extract(totp, '$.sealed.dek[3]') = ?3
                     AND json_extract(totp, '$.sealed.dek[4]') = ?4
                 ORDER BY merchant, person LIMIT ?5"
        }
    }
}

pub(super) fn under(
    connection: &Connection,
    place: RecordKind,
    version: u32,
    limit: i64,
) -> rusqlite::Result<Vec<Envelope>> {
    let version = version.to_be_bytes();
    let read = |row: &Row<'_>| place.envelope(row);
    if let RecordKind::Totp = place {
        let [a, b, c, d] = version;
        all(connection, sql(place), params![a, b, c, d, limit], read)
    } else {
        all(connection, sql(place), params![version, limit], read)
    }
}

pub(super) fn uses(connection: &Connection) -> rusqlite::Result<Vec<(Class, Vec<u8>, i64)>> {
    const COUNTED: [(Class, &str); 5] = [
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
        (
            Class::Index,
            "SELECT unhex(printf('%08x', key)), count(*) FROM (
                 SELECT coalesce(index_key, 1) AS key FROM card
                 UNION ALL SELECT coalesce(index_key, 1) FROM wallet_token
             ) GROUP BY key ORDER BY key",
        ),
    ];
    let mut uses = Vec::new();
    for (class, sql) in COUNTED {
        let counted = all(connection, sql, [], |row| {
            Ok((class, row.get(0)?, row.get(1)?))
        })?;
        uses.extend(counted);
    }
    Ok(uses)
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
            (RecordKind::Card, "card_pan_key"),
            (RecordKind::Cvv, "card_cvv_key"),
            (RecordKind::Pin, "card_pin_key"),
            (RecordKind::Totp, "mfa_person_key"),
        ] {
            let sql = format!("EXPLAIN QUERY PLAN {}", sql(place));
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
