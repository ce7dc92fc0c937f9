-- Counted up with each change of a merchant, a credential or an embed, whoever makes it; what is new changes nothing
-- of what is there. Lookups keep such rows in memory, and ask here whether they are as they were.
ALTER TABLE meta ADD COLUMN registry INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER credential_changes AFTER UPDATE ON credential BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER credential_goes AFTER DELETE ON credential BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER merchant_changes AFTER UPDATE ON merchant BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER merchant_goes AFTER DELETE ON merchant BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER embed_changes AFTER UPDATE ON embed BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER embed_goes AFTER DELETE ON embed BEGIN UPDATE meta SET registry = registry + 1; END;
