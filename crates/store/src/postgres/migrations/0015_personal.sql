-- The personal values of an entry of form 2, with their salts, as JSON: the entry itself has commitments to them.
-- NULL in an entry of form 1, and where the values were erased. Entries are of form 1 as long as `works_with` lets
-- in programs that do not know this version.
ALTER TABLE audit ADD COLUMN personal TEXT;
