-- A card's PIN, sealed under a DEK of its own class. Both are null while none was set.
ALTER TABLE card ADD COLUMN pin_dek BLOB;
ALTER TABLE card ADD COLUMN pin BLOB;
