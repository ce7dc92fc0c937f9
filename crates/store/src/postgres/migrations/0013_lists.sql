-- What lists and searches are found by, so that none has to look at all cards of a merchant: the time at which
-- a card was added, the beginning of its label, its last four digits. Where there are cards already, these
-- indexes were built before (`ONLINE` in schema.rs). Programs of the version before need none of them.
CREATE INDEX IF NOT EXISTS card_created ON card (merchant, created_at, seq);
CREATE INDEX IF NOT EXISTS card_label ON card (merchant, lower(label), seq);
CREATE INDEX IF NOT EXISTS card_last_four ON card (merchant, last_four, seq);
