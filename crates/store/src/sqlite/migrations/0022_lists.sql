-- What lists and searches are found by, so that none has to look at all cards of a merchant: the time at which
-- a card was added, the beginning of its label, its last four digits.
CREATE INDEX card_created ON card (merchant, created_at);
CREATE INDEX card_label ON card (merchant, lower(label));
CREATE INDEX card_last_four ON card (merchant, last_four);
