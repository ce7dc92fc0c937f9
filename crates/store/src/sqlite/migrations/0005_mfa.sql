-- Second factors. What a policy does not name is off.
ALTER TABLE merchant ADD COLUMN mfa TEXT NOT NULL DEFAULT '{}';

-- What is known of a person at a merchant. `totp` is JSON, with its secret sealed; `opened` is JSON:
-- when sessions were opened, of the last hour.
CREATE TABLE mfa_person (
    merchant     TEXT    NOT NULL REFERENCES merchant (id),
    person       BLOB    NOT NULL,
    totp         TEXT,
    wrong        INTEGER NOT NULL,
    paused_until INTEGER,
    opened       TEXT    NOT NULL,
    PRIMARY KEY (merchant, person)
) STRICT, WITHOUT ROWID;

-- `state` is JSON. There is no column for a code: it is derived, or it is the app's.
CREATE TABLE mfa_session (
    id         BLOB    PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    merchant   TEXT    NOT NULL,
    person     BLOB    NOT NULL,
    card       BLOB    NOT NULL,
    operation  TEXT    NOT NULL,
    factor     TEXT    NOT NULL,
    opened_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    state      TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX mfa_session_expiry ON mfa_session (expires_at);
