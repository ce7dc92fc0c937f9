-- Subscriptions to events. `topics` is JSON; a sealed text has its wrapped key beside it.
CREATE TABLE subscription (
    seq               INTEGER PRIMARY KEY,
    id                BLOB    NOT NULL UNIQUE,
    merchant          TEXT    NOT NULL REFERENCES merchant (id),
    account           TEXT,
    form              TEXT    NOT NULL,
    url               TEXT    NOT NULL,
    topics            TEXT    NOT NULL,
    enabled           INTEGER NOT NULL,
    secret_dek        BLOB,
    secret            BLOB,
    authorization_dek BLOB,
    authorization     BLOB,
    credential        TEXT,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT;

CREATE INDEX subscription_merchant ON subscription (merchant);

-- What is on its way. `seq` is the place of its event in the audit log. `head` marks, of those that
-- wait in one line of one subscription, the one that may be taken, so that what waits behind it
-- costs nothing to look for.
CREATE TABLE delivery (
    id           BLOB    PRIMARY KEY,
    subscription BLOB    NOT NULL REFERENCES subscription (id) ON DELETE CASCADE,
    merchant     TEXT    NOT NULL,
    line         TEXT    NOT NULL,
    seq          INTEGER NOT NULL,
    topic        TEXT    NOT NULL,
    queued_at    INTEGER NOT NULL,
    since        INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    leased_until INTEGER,
    state        TEXT    NOT NULL,
    ended_at     INTEGER,
    last         TEXT,
    head         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX delivery_head ON delivery (subscription, due_at) WHERE head = 1;
CREATE INDEX delivery_leased ON delivery (subscription, leased_until) WHERE leased_until IS NOT NULL;
CREATE INDEX delivery_line ON delivery (subscription, line, seq) WHERE state = 'waiting';
CREATE INDEX delivery_place ON delivery (seq, id);
CREATE INDEX delivery_subscription ON delivery (subscription, seq);
CREATE INDEX delivery_failed ON delivery (seq, id) WHERE state = 'failed';
CREATE INDEX delivery_ended ON delivery (ended_at) WHERE state = 'delivered';
