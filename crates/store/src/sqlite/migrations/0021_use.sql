-- When a credential last made a call that was admitted, written every few minutes.
CREATE TABLE credential_use (
    credential TEXT    PRIMARY KEY,
    used_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
