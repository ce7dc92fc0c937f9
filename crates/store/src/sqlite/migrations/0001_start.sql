-- Ids, states and other names are the texts of the domain. Times are milliseconds since the Unix
-- epoch. SHA-256 digests, UUIDs and sealed values are blobs.

-- What is true of the whole file. `barrier` has no meaning: it is counted up where a commit must
-- write something.
CREATE TABLE meta (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    database_id BLOB    NOT NULL CHECK (length(database_id) = 16),
    epoch       INTEGER NOT NULL,
    barrier     INTEGER NOT NULL DEFAULT 0
) STRICT;

INSERT INTO meta (one, database_id, epoch) VALUES (1, randomblob(16), 0);

-- The audit log. Every change of state has its entry, so the last `seq` is also the generation of
-- the file, which the fence remembers.
CREATE TABLE audit (
    seq   INTEGER PRIMARY KEY,
    event TEXT    NOT NULL
) STRICT;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

-- Clustered by the time of issue, so that new rows are appended and old ones lie together.
-- `state` is JSON; NULL is a token that nobody has claimed.
CREATE TABLE token (
    issued_secs  INTEGER NOT NULL,
    hash         BLOB    NOT NULL,
    epoch        INTEGER NOT NULL,
    merchant     TEXT    NOT NULL,
    credential   TEXT    NOT NULL,
    card         BLOB    NOT NULL,
    operation    TEXT    NOT NULL,
    allowed      TEXT    NOT NULL,
    bound_to     BLOB,
    issued_at    INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    conflict     INTEGER NOT NULL,
    state        TEXT,
    sweep_due_at INTEGER,
    PRIMARY KEY (issued_secs, hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX token_due ON token (sweep_due_at) WHERE sweep_due_at IS NOT NULL;

-- Requests that their callers named (Idempotency-Key).
CREATE TABLE name (
    key         BLOB    PRIMARY KEY,
    fingerprint BLOB    NOT NULL,
    seed        BLOB    NOT NULL,
    expires_at  INTEGER NOT NULL,
    issued_secs INTEGER NOT NULL,
    hash        BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX name_expiry ON name (expires_at);

CREATE TABLE merchant (
    id          TEXT    PRIMARY KEY,
    name        TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    pci_enabled INTEGER NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Clustered by what it is looked up by at every call.
CREATE TABLE credential (
    key_hash    BLOB    PRIMARY KEY,
    id          TEXT    NOT NULL UNIQUE,
    merchant    TEXT    NOT NULL REFERENCES merchant (id),
    dek         BLOB    NOT NULL,
    sealed      BLOB    NOT NULL,
    allowed_ips TEXT    NOT NULL,
    scopes      TEXT    NOT NULL,
    person      BLOB,
    state       TEXT    NOT NULL,
    expires_at  INTEGER,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE embed (
    id         TEXT    PRIMARY KEY,
    merchant   TEXT    NOT NULL REFERENCES merchant (id),
    origins    TEXT    NOT NULL,
    copy_cvv   INTEGER NOT NULL,
    enabled    INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `seq` keeps the order in which they came.
CREATE TABLE card (
    seq        INTEGER PRIMARY KEY,
    id         BLOB    NOT NULL UNIQUE,
    no         TEXT    NOT NULL,
    merchant   TEXT    NOT NULL REFERENCES merchant (id),
    account    TEXT    NOT NULL,
    person     BLOB    NOT NULL,
    kind       TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    network    TEXT    NOT NULL,
    last_four  TEXT    NOT NULL,
    label      TEXT    NOT NULL,
    dek        BLOB    NOT NULL,
    pan        BLOB    NOT NULL,
    expiry     BLOB    NOT NULL,
    name       BLOB    NOT NULL,
    cvv_dek    BLOB,
    cvv        BLOB,
    pan_index  BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (merchant, no)
) STRICT;

CREATE INDEX card_merchant ON card (merchant);
CREATE INDEX card_person ON card (person);

CREATE TABLE wrapped_key (
    class   INTEGER NOT NULL,
    version INTEGER NOT NULL,
    wrapped BLOB    NOT NULL,
    PRIMARY KEY (class, version)
) STRICT, WITHOUT ROWID;
