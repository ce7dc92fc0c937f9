//! Rows and the domain's types: which columns a kind has, and what is read from them.

mod budgets;
mod cards;
mod factors;
mod keys;
mod log;
mod outbox;
mod registry;
mod tokens;
mod wallet;

pub(crate) use self::budgets::{BUDGET, budget};
pub(crate) use self::cards::{
    CARD, CARD_COLUMNS, CARD_TYPES, FIND_CARD, GUESSES, card, card_account, card_seen, card_state,
    index_key_column, place_of_card,
};
pub(crate) use self::factors::{PERSON, SESSION, person, session};
pub(crate) use self::keys::{CLASS_KEY, CLASS_KEYS, class_key};
pub(crate) use self::log::{ENTRIES_AFTER, LAST_ENTRY, SINK, chained, link, progress, seq};
pub(crate) use self::outbox::{SUBSCRIPTION, delivery, delivery_columns, subscription};
pub(crate) use self::registry::{
    CREDENTIAL, EMBED, LIVES_END, MERCHANT, credential, embed, lives, lives_columns, lives_of,
    merchant,
};
pub(crate) use self::tokens::{
    NAME, PUT_BACK, TOKEN, TOKEN_COLUMNS, TOKEN_TYPES, name, record, token_key,
};
pub(crate) use self::wallet::{
    CENSUS, WALLET_TOKEN, census, listed_from, listed_token, wallet_token, wallet_token_columns,
};

use super::deciding::{Deciding, Keeps, Places};

/// All columns are in the MAC.
const ALL: Option<Deciding> = Some(Deciding {
    sealed: Places::NONE,
    keeps: Keeps::All,
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::table::Table;

    #[test]
    fn macs_leave_out_what_is_sealed_in_its_own_right_and_nothing_else() {
        fn left_out<T>(table: &Table<T>) -> Vec<&'static str> {
            let sealed = table.deciding.unwrap().sealed;
            let columns = table.columns.iter().enumerate();
            let left_out = columns.filter(|(place, _)| sealed.has(*place));
            left_out.map(|(_, (name, _))| *name).collect()
        }
        let card = "dek pan expiry name cvv_dek cvv pin_dek pin";
        assert_eq!(left_out(&CARD).join(" "), card);
        assert_eq!(left_out(&CREDENTIAL), ["dek", "sealed"]);
        let secrets = "secret_dek secret authorization_dek \"authorization\"";
        assert_eq!(left_out(&SUBSCRIPTION).join(" "), secrets);
        let none = [left_out(&MERCHANT), left_out(&EMBED), left_out(&TOKEN)];
        assert!(none.iter().all(Vec::is_empty));
        let none = [left_out(&CLASS_KEY), left_out(&SESSION), left_out(&PERSON)];
        assert!(none.iter().all(Vec::is_empty));
    }

    #[test]
    fn each_column_that_is_added_by_many_has_a_type() {
        assert_eq!(TOKEN_TYPES.len(), TOKEN.width());
        assert_eq!(CARD_TYPES.len(), CARD.width());
    }
}
