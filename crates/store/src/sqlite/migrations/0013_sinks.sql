-- How far the sinks of the audit log have come: the place of the last entry that each has taken, and
-- who feeds it. `error` says why it takes nothing.
CREATE TABLE sink (
    name        TEXT    PRIMARY KEY,
    place       INTEGER NOT NULL,
    taken_at    INTEGER,
    holder      BLOB,
    lease_until INTEGER,
    error       TEXT
) STRICT, WITHOUT ROWID;
