-- What the two APIs show of a card. `updated_at` is null for a card that was never changed since a
-- program of the version before added it.
ALTER TABLE card ADD COLUMN updated_at INTEGER;
ALTER TABLE card ADD COLUMN product TEXT;
ALTER TABLE card ADD COLUMN unique_no TEXT;
ALTER TABLE card ADD COLUMN holder_no TEXT;

-- Lists run by `seq` within a merchant or one of its accounts. All that lists filter by is in the
-- index, so that a page, a far offset and a count of 10^6 cards read no row but those that are shown.
DROP INDEX card_merchant;
DROP INDEX card_person;
CREATE INDEX card_page
    ON card (merchant, seq, state, account, person, created_at, last_four, label);
CREATE INDEX card_account_page
    ON card (merchant, account, seq, state, person, created_at, last_four, label);
CREATE INDEX card_person ON card (merchant, person);
CREATE INDEX card_unique_no ON card (merchant, unique_no) WHERE unique_no IS NOT NULL;
CREATE INDEX card_holder_no ON card (merchant, holder_no) WHERE holder_no IS NOT NULL;
