-- How far the sinks of the audit log have come: the place of the last entry that each has taken, and
-- who feeds it. `error` says why it takes nothing. Programs of the version before do not know of it.
CREATE TABLE sink (
    name        TEXT   COLLATE "C" PRIMARY KEY,
    place       BIGINT NOT NULL,
    taken_at    BIGINT,
    holder      BYTEA,
    lease_until BIGINT,
    error       TEXT
);
