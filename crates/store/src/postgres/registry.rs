//! The rows of merchants, credentials and embeds. What changes them runs under the head of the
//! audit log, one after the other in the whole cluster.

use std::collections::BTreeMap;

use cardveil_core::clock::Time;
use cardveil_core::id::{CredentialId, EmbedId, MerchantId};
use cardveil_core::merchant::{Credential, Embed, Merchant};
use cardveil_core::port::rows::{Loaded, RegistryRows};

use super::batch::Batch;
use super::rows::{self, credential_columns, embed_columns, merchant_columns};
use super::value::{Json, Name, Value, columns, values};

macro_rules! merchant_params {
    ($merchant:ident) => {
        values![
            $merchant.id.as_str(),
            &$merchant.name,
            Name($merchant.state),
            $merchant.pci_enabled,
            $merchant.created_at.millis(),
            Json(&$merchant.wallets),
            Json($merchant.mfa),
            $merchant.permissions.export,
            $merchant.permissions.read_pins,
            $merchant.permissions.set_pins,
        ]
    };
}

macro_rules! credential_params {
    ($credential:ident) => {
        values![
            $credential.id.as_str(),
            $credential.merchant.as_str(),
            $credential.key_hash,
            &$credential.sealed_secret.dek,
            &$credential.sealed_secret.sealed,
            Json(&$credential.allowed_ips),
            Json($credential.scopes_before()),
            $credential.person.map(|person| *person.as_bytes()),
            Name($credential.state),
            $credential.expires_at,
            $credential.created_at.millis(),
            Json(&$credential.scopes),
            $credential.ip_ceiling.as_ref().map(Json),
            $credential.inherited,
            Json(&$credential.client_certificates),
        ]
    };
}

macro_rules! embed_params {
    ($embed:ident) => {
        values![
            $embed.id.as_str(),
            $embed.merchant.as_str(),
            Json(&$embed.origins),
            $embed.copy_cvv,
            $embed.enabled,
            $embed.created_at.millis(),
            $embed.transparent,
        ]
    };
}

/// An insert does nothing where a unique column is in use.
impl RegistryRows for Batch<'_> {
    fn merchant(&self, id: &MerchantId) -> Loaded<Option<Merchant>> {
        const SQL: &str = concat!(
            "SELECT ",
            merchant_columns!(),
            " FROM merchant WHERE id = $1"
        );
        Ok(self.first(SQL, values![id.as_str()], |row| rows::merchant(row, 0))?)
    }

    fn add_merchant(&self, merchant: &Merchant) -> Loaded<bool> {
        let added = self.execute(
            "INSERT INTO merchant (id, name, state, pci_enabled, created_at, wallets, mfa,
                 may_export, may_read_pins, may_set_pins)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
            merchant_params!(merchant),
        )?;
        Ok(added > 0)
    }

    fn save_merchant(&self, merchant: &Merchant) -> Loaded<()> {
        self.execute(
            "UPDATE merchant SET name = $2, state = $3, pci_enabled = $4, created_at = $5,
                 wallets = $6, mfa = $7, may_export = $8, may_read_pins = $9, may_set_pins = $10
             WHERE id = $1",
            merchant_params!(merchant),
        )?;
        Ok(())
    }

    /// A rewrap does not hold the head, so the row is held.
    fn credential(&self, id: &CredentialId) -> Loaded<Option<Credential>> {
        const SQL: &str = concat!(
            "SELECT ",
            credential_columns!(),
            " FROM credential WHERE id = $1 FOR UPDATE"
        );
        Ok(self.first(SQL, values![id.as_str()], rows::credential)?)
    }

    fn key_is_of_another(&self, key_hash: &[u8; 32], id: &CredentialId) -> Loaded<bool> {
        const SQL: &str = "SELECT 1 FROM credential WHERE key_hash = $1 AND id <> $2";
        let others = self.first(SQL, values![key_hash, id.as_str()], |_| Ok(()))?;
        Ok(others.is_some())
    }

    fn add_credential(&self, credential: &Credential) -> Loaded<bool> {
        let added = self.execute(
            "INSERT INTO credential (id, merchant, key_hash, dek, sealed, allowed_ips, scopes,
                 person, state, expires_at, created_at, rights, ip_ceiling, inherited,
                 client_certificates)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
             ON CONFLICT DO NOTHING",
            credential_params!(credential),
        )?;
        Ok(added > 0)
    }

    fn save_credential(&self, credential: &Credential) -> Loaded<()> {
        self.execute(
            "UPDATE credential SET merchant = $2, key_hash = $3, dek = $4, sealed = $5,
                 allowed_ips = $6, scopes = $7, person = $8, state = $9, expires_at = $10,
                 created_at = $11, rights = $12, ip_ceiling = $13, inherited = $14,
                 client_certificates = $15
             WHERE id = $1",
            credential_params!(credential),
        )?;
        Ok(())
    }

    fn save_uses(&self, uses: &BTreeMap<CredentialId, Time>) -> Loaded<()> {
        const SQL: &str = "INSERT INTO credential_use (credential, used_at)
             SELECT * FROM unnest($1::text[], $2::bigint[])
             ON CONFLICT (credential) DO UPDATE SET used_at = excluded.used_at";
        // In the order of the ids, so that nodes that write the same rows do not wait for each
        // other.
        let rows = uses
            .iter()
            .map(|(credential, at)| values![credential.as_str(), *at].into());
        let rows: Vec<Vec<Value>> = rows.collect();
        if !rows.is_empty() {
            self.execute(SQL, columns(rows))?;
        }
        Ok(())
    }

    fn embed(&self, id: &EmbedId) -> Loaded<Option<Embed>> {
        const SQL: &str = concat!("SELECT ", embed_columns!(), " FROM embed WHERE id = $1");
        Ok(self.first(SQL, values![id.as_str()], rows::embed)?)
    }

    fn add_embed(&self, embed: &Embed) -> Loaded<bool> {
        let added = self.execute(
            "INSERT INTO embed (id, merchant, origins, copy_cvv, enabled, created_at, transparent)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            embed_params!(embed),
        )?;
        Ok(added > 0)
    }

    fn save_embed(&self, embed: &Embed) -> Loaded<()> {
        self.execute(
            "UPDATE embed SET merchant = $2, origins = $3, copy_cvv = $4, enabled = $5,
                 created_at = $6, transparent = $7
             WHERE id = $1",
            embed_params!(embed),
        )?;
        Ok(())
    }
}
