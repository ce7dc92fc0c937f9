-- The only embed that a token can be redeemed in, where its merchant named one; and how often a claim of
-- it was refused.
ALTER TABLE token ADD COLUMN embed TEXT;
ALTER TABLE token ADD COLUMN refusals INTEGER NOT NULL DEFAULT 0;
