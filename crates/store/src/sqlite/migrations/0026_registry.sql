-- Counted up with each change of a merchant, a credential or an embed, whoever makes it. Lookups keep such rows in
-- memory, and ask here whether they are as they were. New ones too: a REPLACE deletes without the trigger for that.
ALTER TABLE meta ADD COLUMN registry INTEGER NOT NULL DEFAULT 0;
CREATE TRIGGER credential_changes AFTER UPDATE ON credential BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER credential_goes AFTER DELETE ON credential BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER merchant_changes AFTER UPDATE ON merchant BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER merchant_goes AFTER DELETE ON merchant BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER embed_changes AFTER UPDATE ON embed BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER embed_goes AFTER DELETE ON embed BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER credential_comes AFTER INSERT ON credential BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER merchant_comes AFTER INSERT ON merchant BEGIN UPDATE meta SET registry = registry + 1; END;
CREATE TRIGGER embed_comes AFTER INSERT ON embed BEGIN UPDATE meta SET registry = registry + 1; END;
