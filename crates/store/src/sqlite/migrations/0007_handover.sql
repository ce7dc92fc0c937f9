-- When wrong proofs were brought for a card: JSON, at most five times. A row goes when a right one
-- comes.
CREATE TABLE card_guess (
    card BLOB PRIMARY KEY,
    at   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
