//! The verbs of digital wallet tokens. No number of concurrent writes makes more tokens of one card
//! number active or suspended than [`crate::wallet::TOKENS_PER_PAN_MAX`].

use super::Verb;
use crate::port::Needs;
use crate::port::rows::{Loaded, Rows};
use crate::wallet::{Asked, Census, Change, Changed, Refused, WalletToken};

/// Applies [`Asked::decide`] over the card and its census, and writes the token.
impl Verb for Asked {
    type Answer = Result<WalletToken, Refused>;

    fn needs(&self) -> Needs {
        Needs::ROWS
    }

    fn run(&self, rows: &dyn Rows) -> Loaded<Self::Answer> {
        let card = rows.card_of_any_merchant(self.card)?;
        let census = match &card {
            Some(card) => rows.census(&card.sealed.pan_index, &self.device)?,
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
            Some(token) => rows.census(&token.pan_index, &token.device)?.counted,
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
