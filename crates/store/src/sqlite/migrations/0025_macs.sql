-- How often a row that decides was changed, and the MAC over what it says, where it stands and its version: the
-- version of the key, then AES-256-CMAC. NULL in rows from before.
ALTER TABLE merchant ADD COLUMN row_version INTEGER;
ALTER TABLE merchant ADD COLUMN mac BLOB;
ALTER TABLE credential ADD COLUMN row_version INTEGER;
ALTER TABLE credential ADD COLUMN mac BLOB;
ALTER TABLE embed ADD COLUMN row_version INTEGER;
ALTER TABLE embed ADD COLUMN mac BLOB;
ALTER TABLE card ADD COLUMN row_version INTEGER;
ALTER TABLE card ADD COLUMN mac BLOB;
ALTER TABLE token ADD COLUMN row_version INTEGER;
ALTER TABLE token ADD COLUMN mac BLOB;
ALTER TABLE subscription ADD COLUMN row_version INTEGER;
ALTER TABLE subscription ADD COLUMN mac BLOB;
ALTER TABLE mfa_session ADD COLUMN row_version INTEGER;
ALTER TABLE mfa_session ADD COLUMN mac BLOB;
ALTER TABLE mfa_person ADD COLUMN row_version INTEGER;
ALTER TABLE mfa_person ADD COLUMN mac BLOB;
ALTER TABLE wrapped_key ADD COLUMN row_version INTEGER;
ALTER TABLE wrapped_key ADD COLUMN mac BLOB;
-- Of the keys of these MACs: since when every row has one.
ALTER TABLE wrapped_key ADD COLUMN complete_at INTEGER;
-- Which versions a row had, and the entry of the audit log that each came with. Rows that live for minutes only,
-- tokens and sessions, have none here.
CREATE TABLE row_change (
    kind    TEXT    NOT NULL,
    -- The columns of its key, as a MAC says them.
    key     BLOB    NOT NULL,
    version INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    -- Whether it was deleted.
    gone    INTEGER NOT NULL,
    PRIMARY KEY (kind, key, version)
) STRICT, WITHOUT ROWID;
-- A program of the version before that still has the file open finds no `link_hash`: it changes no row whose MAC it
-- would leave as it was.
ALTER TABLE audit RENAME COLUMN link_hash TO chain_hash;
