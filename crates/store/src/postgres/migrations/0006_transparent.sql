-- Whether pages may lay parts without looks over their own. Embeds that are there keep that; others ask for it,
-- also where an older program adds them.
ALTER TABLE embed ADD COLUMN transparent boolean NOT NULL DEFAULT true;
ALTER TABLE embed ALTER COLUMN transparent SET DEFAULT false;
