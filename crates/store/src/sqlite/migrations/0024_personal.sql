-- The personal values of an entry of form 2, with their salts, as JSON: the entry itself has commitments to them.
-- NULL in an entry of form 1, and where the values were erased.
ALTER TABLE audit ADD COLUMN personal TEXT;
-- A program of the version before that still has the file open finds no `hash`: it writes no entry of form 1 behind
-- those of form 2, nor anything else.
ALTER TABLE audit RENAME COLUMN hash TO link_hash;
