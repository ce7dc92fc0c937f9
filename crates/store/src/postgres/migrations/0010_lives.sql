-- The only embed that a token can be redeemed in, where its merchant named one; and how often a claim of
-- it was refused. Programs of the version before know neither: they redeem in any embed of the merchant,
-- and record each refusal.
ALTER TABLE token ADD COLUMN embed TEXT COLLATE "C";
ALTER TABLE token ADD COLUMN refusals BIGINT NOT NULL DEFAULT 0;

-- Counted up with each change of what tokens live by, whoever makes it; what is new changes nothing for a
-- token that is there. A writer keeps such rows in memory
-- between its transactions, and asks here whether they are as they were.
ALTER TABLE meta ADD COLUMN lives BIGINT NOT NULL DEFAULT 0;

CREATE FUNCTION lives_change() RETURNS trigger LANGUAGE plpgsql SET search_path = cardveil AS $$
BEGIN
    UPDATE meta SET lives = lives + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER credential_lives
    AFTER DELETE OR TRUNCATE OR UPDATE OF id, merchant, state, expires_at, scopes, rights, person
    ON credential FOR EACH STATEMENT EXECUTE FUNCTION lives_change();
CREATE TRIGGER merchant_lives
    AFTER DELETE OR TRUNCATE OR UPDATE OF id, state, pci_enabled
    ON merchant FOR EACH STATEMENT EXECUTE FUNCTION lives_change();
CREATE TRIGGER embed_lives
    AFTER DELETE OR TRUNCATE OR UPDATE OF id, merchant, enabled, origins
    ON embed FOR EACH STATEMENT EXECUTE FUNCTION lives_change();
