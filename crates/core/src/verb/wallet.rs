//! The verbs of digital wallet tokens. No number of concurrent writes makes more tokens of one card
//! number active or suspended than [`crate::wallet::TOKENS_PER_PAN_MAX`].

use super::Verb;
use super::keys::refuse_retired_versions;
use crate::card::PanIndexes;
use crate::port::rows::{Loaded, Rows};
use crate::port::{Class, Error, Needs};
use crate::wallet::{Asked, Census, Change, Changed, Device, Refused, WalletToken};

/// Applies [`Asked::decide`] over the card and its census, and writes the token.
impl Verb for Asked {
    type Answer = Result<WalletToken, Refused>;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Self::Answer> {
        let card = rows.card_of_any_merchant(self.card)?;
        let census = match &card {
            Some(card) => {
                refuse_retired_versions(rows, [(Class::Index, card.sealed.index_key)])?;
                census(rows, &self.indexes, &card.sealed.pan_index, &self.device)?
            }
            None => Census::default(),
        };
        Ok(match self.decide(card.as_ref(), census) {
            Ok((token, event)) => {
                rows.add_wallet_token(&token)?;
                rows.log(&event)?;
                Ok(token)
            }
            Err(refused) => Err(refused),
        })
    }
}

/// Applies [`Change::decide`].
impl Verb for Change {
    type Answer = Result<WalletToken, Refused>;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Self::Answer> {
        let token = rows.wallet_token(&self.id)?;
        let counted = match &token {
            Some(token) => census(rows, &self.indexes, &token.pan_index, &token.device)?.counted,
            None => 0,
        };
        let changed = match self.decide(token.as_ref(), counted) {
            Ok(changed) => changed,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Changed::To(next, event) = &changed {
            rows.save_wallet_token(next)?;
            rows.log(event)?;
        }
        Ok(Ok(changed.token().clone()))
    }
}

/// What the card number has, where these are its indexes: by others its tokens would go uncounted.
fn census(
    rows: &dyn Rows,
    indexes: &PanIndexes,
    own: &[u8; 32],
    device: &Device,
) -> Loaded<Census> {
    if indexes.has(own) {
        return rows.census(indexes, device);
    }
    let why = "a card number is under an index that it was not counted by";
    Err(Error::Unavailable(why.into()).into())
}
