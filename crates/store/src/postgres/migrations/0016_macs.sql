-- How often a row that decides was changed, and the MAC over what it says, where it stands and its version: the
-- version of the key, then AES-256-CMAC. NULL in rows from before, and in all as long as
-- programs that do not know this version may serve.
ALTER TABLE merchant ADD COLUMN row_version BIGINT;
ALTER TABLE merchant ADD COLUMN mac BYTEA;
ALTER TABLE credential ADD COLUMN row_version BIGINT;
ALTER TABLE credential ADD COLUMN mac BYTEA;
ALTER TABLE embed ADD COLUMN row_version BIGINT;
ALTER TABLE embed ADD COLUMN mac BYTEA;
ALTER TABLE card ADD COLUMN row_version BIGINT;
ALTER TABLE card ADD COLUMN mac BYTEA;
ALTER TABLE token ADD COLUMN row_version BIGINT;
ALTER TABLE token ADD COLUMN mac BYTEA;
ALTER TABLE subscription ADD COLUMN row_version BIGINT;
ALTER TABLE subscription ADD COLUMN mac BYTEA;
ALTER TABLE mfa_session ADD COLUMN row_version BIGINT;
ALTER TABLE mfa_session ADD COLUMN mac BYTEA;
ALTER TABLE mfa_person ADD COLUMN row_version BIGINT;
ALTER TABLE mfa_person ADD COLUMN mac BYTEA;
ALTER TABLE wrapped_key ADD COLUMN row_version BIGINT;
ALTER TABLE wrapped_key ADD COLUMN mac BYTEA;
-- Of the keys of these MACs: since when every row has one.
ALTER TABLE wrapped_key ADD COLUMN complete_at BIGINT;
-- Which versions a row had, and the entry of the audit log that each came with. Rows that live for minutes only,
-- tokens and sessions, have none here.
CREATE TABLE row_change (
    kind    TEXT    COLLATE "C" NOT NULL,
    -- The columns of its key, as a MAC says them.
    key     BYTEA   NOT NULL,
    version BIGINT  NOT NULL,
    seq     BIGINT  NOT NULL,
    -- Whether it was deleted.
    gone    BOOLEAN NOT NULL,
    PRIMARY KEY (kind, key, version)
);
