-- Which transaction wrote a row, in the row: it equals the row's `xmin`, but where a dump put the row
-- back. COPY and INSERT bring what the dump says. Whoever changes a row otherwise, nodes of the version
-- before and the owner too, is stamped by the trigger, but only where the row was right before: so what a
-- dump brought stays known, whoever writes over it, until the epoch is raised for it. `database_oid` tells
-- a copy of the database within its cluster.
--
-- Tokens of before have no stamp: nobody could tell where they come from.
ALTER TABLE meta ADD COLUMN written_by XID8, ADD COLUMN database_oid BIGINT;
ALTER TABLE token ADD COLUMN written_by XID8;
ALTER TABLE token ALTER COLUMN written_by SET DEFAULT pg_current_xact_id();

UPDATE meta SET written_by = pg_current_xact_id(), database_oid =
    (SELECT oid::bigint FROM pg_database WHERE datname = current_database());

CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.written_by::xid = OLD.xmin THEN
        NEW.written_by := pg_current_xact_id();
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER stamp BEFORE UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TRIGGER stamp BEFORE UPDATE ON token FOR EACH ROW EXECUTE FUNCTION stamp();
