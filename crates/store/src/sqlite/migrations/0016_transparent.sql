-- Whether pages may lay parts without looks over their own. Embeds that are there keep that; others ask for it.
ALTER TABLE embed ADD COLUMN transparent INTEGER NOT NULL DEFAULT 0;
UPDATE embed SET transparent = 1;
