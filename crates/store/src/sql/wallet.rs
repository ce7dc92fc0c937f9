//! The rows of digital wallet tokens.

use cardveil_core::id::{CardId, WalletTokenId};
use cardveil_core::port::Error;
use cardveil_core::port::rows::{Loaded, WalletRows};
use cardveil_core::wallet::{Census, Device, WalletToken};

use super::rows::{self, CENSUS, WALLET_TOKEN};
use super::table::Statement;
use super::value::{Name, values};
use super::{Loads, Sql};

impl<B: Sql> WalletRows for Loads<'_, B> {
    fn wallet_token(&self, id: &WalletTokenId) -> Loaded<Option<WalletToken>> {
        static FIND: Statement = Statement::new(|| format!("{} FOR UPDATE", WALLET_TOKEN.find()));
        self.first(&FIND, values![id.as_bytes()], |row| rows::wallet_token(row))
    }

    fn wallet_tokens_of(&self, card: CardId) -> Loaded<Vec<WalletToken>> {
        static ALL: Statement = Statement::new(|| {
            let columns = WALLET_TOKEN.select();
            format!("SELECT {columns} FROM wallet_token WHERE card = $1 ORDER BY seq FOR UPDATE")
        });
        self.all(&ALL, values![card.as_bytes()], |row| {
            rows::wallet_token(row)
        })
    }

    fn census(&self, pan_index: &[u8; 32], device: &Device) -> Loaded<Census> {
        self.guard(&[b"census", pan_index]).map_err(Into::into)?;
        let values = values![pan_index, Name(device.wallet), device.device_id.as_str()];
        let counted = self.first(CENSUS, values, |row| rows::census(row))?;
        Ok(counted.unwrap_or_default())
    }

    fn add_wallet_token(&self, token: &WalletToken) -> Loaded<()> {
        static ADD: Statement = Statement::new(|| WALLET_TOKEN.add());
        if self.add(&ADD, WALLET_TOKEN.values(token))? {
            return Ok(());
        }
        let twice = "a wallet token with this id exists";
        Err(Error::Unavailable(twice.into()).into())
    }

    fn save_wallet_token(&self, token: &WalletToken) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| WALLET_TOKEN.save());
        self.send(&SAVE, WALLET_TOKEN.changes(token))
    }
}
