//! Where the records under class keys are.
//!
//! A record's wrapped DEK names the version that it is under, and the expressions by which it is
//! found here are those of the indexes in `migrations/0001_start.sql`.

use cardveil_core::keys::version_of;
use cardveil_core::mfa::Totp;
use cardveil_core::port::Class;

use crate::sql::table::Statement;
use crate::sql::{CARD_FIELDS, RecordKind};

/// What is under a version at a place.
///
/// Of cards and people there are many, and of those under a version at its end few or none,
/// which no statistics tell in time: an equality would have the planner walk the table for
/// them, past all that were moved. Of a range in its order there is one way that sorts nothing,
/// the index.
pub(super) fn sql(place: RecordKind) -> &'static str {
    static CARD: Statement = Statement::new(|| {
        format!(
            "SELECT id, merchant, dek, {} FROM card
             WHERE substr(dek, 2, 4) BETWEEN $1 AND $1 ORDER BY substr(dek, 2, 4) LIMIT $2",
            *CARD_FIELDS
        )
    });
    match place {
        RecordKind::Card => &CARD,
        RecordKind::Cvv => {
            "SELECT id, merchant, cvv_dek, cvv FROM card
             WHERE cvv_dek IS NOT NULL AND substr(cvv_dek, 2, 4) BETWEEN $1 AND $1
             ORDER BY substr(cvv_dek, 2, 4) LIMIT $2"
        }
        RecordKind::Pin => {
            "SELECT id, merchant, pin_dek, pin FROM card
             WHERE pin_dek IS NOT NULL AND substr(pin_dek, 2, 4) BETWEEN $1 AND $1
             ORDER BY substr(pin_dek, 2, 4) LIMIT $2"
        }
        RecordKind::Credential => {
            "SELECT id, merchant, dek, sealed FROM credential
             WHERE substr(dek, 2, 4) = $1 LIMIT $2"
        }
        RecordKind::WebhookSecret => {
            "SELECT id, merchant, secret_dek, secret FROM subscription
             WHERE substr(secret_dek, 2, 4) = $1 LIMIT $2"
        }
        RecordKind::WebhookAuthorization => {
            "SELECT id, merchant, authorization_dek, \"authorization\" FROM subscription
             WHERE substr(authorization_dek, 2, 4) = $1 LIMIT $2"
        }
        RecordKind::Totp => {
            "SELECT merchant, person, totp FROM mfa_person
             WHERE totp_key BETWEEN $1 AND $1 ORDER BY totp_key LIMIT $2"
        }
    }
}

/// Which version the secret of an app is under, for the column that it is found by.
pub(super) fn key_column(totp: Option<&Totp>) -> Option<[u8; 4]> {
    version_of(&totp?.sealed.dek).ok().map(u32::to_be_bytes)
}

/// How many records are under each version.
pub(super) const COUNTED: [(Class, &str); 5] = [
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
    (
        Class::Index,
        "SELECT int4send(key::int4), count(*) FROM (
             SELECT coalesce(index_key, 1) AS key FROM card
             UNION ALL SELECT coalesce(index_key, 1) FROM wallet_token
         ) AS keys GROUP BY key ORDER BY key",
    ),
];
