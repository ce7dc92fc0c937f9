//! The rows of merchants, credentials and embeds.

use std::collections::BTreeMap;

use cardveil_core::clock::Time;
use cardveil_core::id::{CredentialId, EmbedId, MerchantId};
use cardveil_core::merchant::{Credential, Embed, Merchant};
use cardveil_core::port::rows::{Loaded, RegistryRows};

use super::rows::{self, CREDENTIAL, EMBED, MERCHANT};
use super::table::Statement;
use super::value::{Json, values};
use super::{Loads, Sql};

impl<B: Sql> RegistryRows for Loads<'_, B> {
    fn merchant(&self, id: &MerchantId) -> Loaded<Option<Merchant>> {
        static FIND: Statement = Statement::new(|| MERCHANT.find());
        self.first(&FIND, values![id.as_str()], |row| rows::merchant(row, 0))
    }

    fn add_merchant(&self, merchant: &Merchant) -> Loaded<bool> {
        static ADD: Statement = Statement::new(|| MERCHANT.add());
        self.add(&ADD, MERCHANT.values(merchant))
    }

    fn save_merchant(&self, merchant: &Merchant) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| MERCHANT.save());
        self.send(&SAVE, MERCHANT.changes(merchant))
    }

    /// A rewrap changes a credential too, so its row is held.
    fn credential(&self, id: &CredentialId) -> Loaded<Option<Credential>> {
        static FIND: Statement = Statement::new(|| format!("{} FOR UPDATE", CREDENTIAL.find()));
        self.first(&FIND, values![id.as_str()], |row| rows::credential(row))
    }

    fn key_is_of_another(&self, key_hash: &[u8; 32], id: &CredentialId) -> Loaded<bool> {
        const SQL: &str = "SELECT 1 FROM credential WHERE key_hash = $1 AND id <> $2";
        let others = self.first(SQL, values![key_hash, id.as_str()], |_| Ok(()))?;
        Ok(others.is_some())
    }

    fn add_credential(&self, credential: &Credential) -> Loaded<bool> {
        static ADD: Statement = Statement::new(|| CREDENTIAL.add());
        self.add(&ADD, CREDENTIAL.values(credential))
    }

    fn save_credential(&self, credential: &Credential) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| CREDENTIAL.save());
        self.send(&SAVE, CREDENTIAL.changes(credential))
    }

    /// What tokens live by is not changed by it, and adapters count changes of that.
    fn save_allowlist(&self, credential: &Credential) -> Loaded<()> {
        const SQL: &str = "UPDATE credential SET allowed_ips = $2 WHERE id = $1";
        let networks = Json(&credential.allowed_ips);
        self.send(SQL, values![credential.id.as_str(), networks])
    }

    /// In the order of the ids, so that nodes that write the same rows do not wait for each other.
    fn save_uses(&self, uses: &BTreeMap<CredentialId, Time>) -> Loaded<()> {
        const PUT: &str = "INSERT INTO credential_use (credential, used_at) VALUES ($1, $2)
             ON CONFLICT (credential) DO UPDATE SET used_at = excluded.used_at";
        for (credential, at) in uses {
            self.send(PUT, values![credential.as_str(), *at])?;
        }
        Ok(())
    }

    fn embed(&self, id: &EmbedId) -> Loaded<Option<Embed>> {
        static FIND: Statement = Statement::new(|| EMBED.find());
        self.first(&FIND, values![id.as_str()], |row| rows::embed(row))
    }

    fn add_embed(&self, embed: &Embed) -> Loaded<bool> {
        static ADD: Statement = Statement::new(|| EMBED.add());
        self.add(&ADD, EMBED.values(embed))
    }

    fn save_embed(&self, embed: &Embed) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| EMBED.save());
        self.send(&SAVE, EMBED.changes(embed))
    }
}
