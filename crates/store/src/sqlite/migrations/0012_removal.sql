-- The last place that was given to a card which may be gone: it is not given again, so that lists stay
-- right for whoever is reading them.
ALTER TABLE meta ADD COLUMN last_card INTEGER NOT NULL DEFAULT 0;
