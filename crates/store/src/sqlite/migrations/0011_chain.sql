-- Each entry of the audit log carries a hash over itself and the one before. The program fills this from
-- `audit_before` in the same transaction, and drops that.
DROP TRIGGER audit_is_not_changed;
DROP TRIGGER audit_is_not_deleted;
ALTER TABLE audit RENAME TO audit_before;

CREATE TABLE audit (
    seq   INTEGER PRIMARY KEY,
    event TEXT    NOT NULL,
    hash  BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;

CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN
    SELECT RAISE(ABORT, 'the audit log is append-only');
END;
