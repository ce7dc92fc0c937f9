-- Counted up with each change of a merchant, a credential or an embed, whoever makes it; what is new changes nothing
-- of what is there. Lookups keep such rows in memory, and ask here whether they are as they were. What tokens live by
-- is less of them and has its own count, since a claim that comes upon a change is judged again.
ALTER TABLE meta ADD COLUMN registry BIGINT NOT NULL DEFAULT 0;

CREATE FUNCTION registry_change() RETURNS trigger LANGUAGE plpgsql SET search_path = cardveil AS $$
BEGIN
    UPDATE meta SET registry = registry + 1;
    RETURN NULL;
END
$$;

-- Deferred to the commit: the row of `meta` is the last that a transaction locks.
CREATE CONSTRAINT TRIGGER credential_registry AFTER UPDATE OR DELETE ON credential
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION registry_change();
CREATE CONSTRAINT TRIGGER merchant_registry AFTER UPDATE OR DELETE ON merchant
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION registry_change();
CREATE CONSTRAINT TRIGGER embed_registry AFTER UPDATE OR DELETE ON embed
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION registry_change();
CREATE TRIGGER credential_registry_truncated AFTER TRUNCATE
    ON credential FOR EACH STATEMENT EXECUTE FUNCTION registry_change();
CREATE TRIGGER merchant_registry_truncated AFTER TRUNCATE
    ON merchant FOR EACH STATEMENT EXECUTE FUNCTION registry_change();
CREATE TRIGGER embed_registry_truncated AFTER TRUNCATE
    ON embed FOR EACH STATEMENT EXECUTE FUNCTION registry_change();

-- Also where somebody writes as replication does, and for what tokens live by.
ALTER TABLE credential ENABLE ALWAYS TRIGGER credential_registry;
ALTER TABLE credential ENABLE ALWAYS TRIGGER credential_registry_truncated;
ALTER TABLE credential ENABLE ALWAYS TRIGGER credential_lives;
ALTER TABLE merchant ENABLE ALWAYS TRIGGER merchant_registry;
ALTER TABLE merchant ENABLE ALWAYS TRIGGER merchant_registry_truncated;
ALTER TABLE merchant ENABLE ALWAYS TRIGGER merchant_lives;
ALTER TABLE embed ENABLE ALWAYS TRIGGER embed_registry;
ALTER TABLE embed ENABLE ALWAYS TRIGGER embed_registry_truncated;
ALTER TABLE embed ENABLE ALWAYS TRIGGER embed_lives;
