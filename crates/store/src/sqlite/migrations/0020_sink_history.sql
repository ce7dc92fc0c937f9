-- What a sink that began with what came then gets of the entries before: the place of the last that it has
-- taken, and of the last that there is. NULL where it began with the first entry.
ALTER TABLE sink ADD COLUMN history_place INTEGER;
ALTER TABLE sink ADD COLUMN history_end INTEGER;
