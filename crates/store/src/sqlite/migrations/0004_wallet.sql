-- Which of its cards a merchant lets into digital wallets; none until it says so.
ALTER TABLE merchant ADD COLUMN wallets TEXT NOT NULL DEFAULT '{"wallets":[]}';

-- Digital wallet tokens. `seq` keeps the order in which they came.
CREATE TABLE wallet_token (
    seq         INTEGER PRIMARY KEY,
    id          BLOB    NOT NULL UNIQUE,
    card        BLOB    NOT NULL REFERENCES card (id),
    merchant    TEXT    NOT NULL,
    pan_index   BLOB    NOT NULL,
    wallet      TEXT    NOT NULL,
    device_type TEXT    NOT NULL,
    device_id   TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    fulfilment  TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX wallet_token_merchant ON wallet_token (merchant);
CREATE INDEX wallet_token_card ON wallet_token (card);
CREATE INDEX wallet_token_pan ON wallet_token (pan_index);
