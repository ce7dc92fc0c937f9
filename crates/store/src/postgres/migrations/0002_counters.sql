-- What each node has admitted in its last intervals, so that the others count it too.
--
-- Unlogged: nothing of it goes to the WAL, so that a commit of it waits for no disk and no standby, and
-- callers' addresses are in no archive and no base backup. A crash or a promotion empties it, and then the
-- nodes go on with what each has in memory. A row is written once and deleted a few seconds later.
CREATE UNLOGGED TABLE counted (
    node    BYTEA       NOT NULL,
    round   BIGINT      NOT NULL,
    -- JSON: limit, caller, calls.
    counts  TEXT        NOT NULL,
    told_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (node, round)
);
