//! The rows of cards, and of wrong proofs for them.

use cardveil_core::card::{Card, CardRef, Guesses, State};
use cardveil_core::id::{CardId, MerchantId};
use cardveil_core::port::rows::{CardRows, Loaded};

use super::rows::{self, CARD, CARD_COLUMNS, GUESSES};
use super::table::Statement;
use super::value::{Row as _, values};
use super::{Loads, Sql};

impl<B: Sql> CardRows for Loads<'_, B> {
    fn card(&self, merchant: &MerchantId, card: &CardRef) -> Loaded<Option<Card>> {
        static BY_NO: Statement = Statement::new(|| find("merchant = $1 AND no = $2"));
        static BY_ID: Statement = Statement::new(|| find("merchant = $1 AND id = $2"));
        let merchant = merchant.as_str();
        let (sql, values) = match card {
            CardRef::No(no) => (BY_NO.as_str(), values![merchant, no.as_str()]),
            CardRef::Id(id) => (BY_ID.as_str(), values![merchant, id.as_bytes()]),
        };
        self.row(&CARD, sql, values, |row| rows::card(row))
    }

    fn card_state(&self, merchant: &MerchantId, card: CardId) -> Loaded<Option<State>> {
        self.0.card_state(merchant, card).map_err(Into::into)
    }

    fn save_card(&self, card: &Card) -> Loaded<()> {
        static SAVE: Statement = Statement::new(|| CARD.save());
        self.save_row(&CARD, &SAVE, card)?;
        self.card_saved(card);
        Ok(())
    }

    fn delete_card(&self, card: CardId) -> Loaded<()> {
        self.card_goes().map_err(Into::into)?;
        self.versions().goes(CARD.key_of(&values![card.as_bytes()]));
        for sql in [
            "DELETE FROM wallet_token WHERE card = $1",
            "DELETE FROM card_guess WHERE card = $1",
            "DELETE FROM card WHERE id = $1",
        ] {
            self.execute(sql, values![card.as_bytes()])?;
        }
        Ok(())
    }

    fn guesses(&self, card: CardId) -> Loaded<Guesses> {
        const SQL: &str = "SELECT at FROM card_guess WHERE card = $1";
        let kept = self.first(SQL, values![card.as_bytes()], |row| row.json(0))?;
        Ok(kept.unwrap_or_default())
    }

    fn save_guesses(&self, card: CardId, guesses: &Guesses) -> Loaded<()> {
        static PUT: Statement = Statement::new(|| GUESSES.put());
        static DELETE: Statement = Statement::new(|| GUESSES.delete());
        if guesses.is_empty() {
            return self.send(&DELETE, values![card.as_bytes()]);
        }
        self.send(&PUT, GUESSES.values(&(card, guesses.clone())))
    }

    fn card_of_any_merchant(&self, id: CardId) -> Loaded<Option<Card>> {
        static SQL: Statement = Statement::new(|| find("id = $1"));
        self.row(&CARD, &SQL, values![id.as_bytes()], |row| rows::card(row))
    }

    fn add_cards(&self, cards: &[&Card]) -> Loaded<Vec<bool>> {
        if self.macs().version().is_some() {
            // A card that was removed may come again: its versions go on.
            let keys: Vec<_> = cards
                .iter()
                .map(|card| CARD.key_of(&values![card.id.as_bytes()]))
                .collect();
            for (key, (version, _)) in self.0.last_changes(&keys).map_err(Into::into)? {
                self.versions().saw((CARD.name, key), version);
            }
        }
        let rows = cards.iter().map(|card| self.values_of(&CARD, card));
        let rows: Vec<_> = rows.collect::<Loaded<_>>()?;
        let keys: Vec<_> = rows.iter().map(|row| CARD.key_of(row)).collect();
        let added = self.0.add_cards(rows).map_err(Into::into)?;
        for (key, _) in keys.iter().zip(&added).filter(|(_, added)| !**added) {
            self.versions().was_not_added(key);
        }
        Ok(added)
    }
}

/// Finds a card and holds it until the commit.
fn find(condition: &str) -> String {
    let columns = &*CARD_COLUMNS;
    format!("SELECT {columns} FROM card WHERE {condition} FOR UPDATE")
}
