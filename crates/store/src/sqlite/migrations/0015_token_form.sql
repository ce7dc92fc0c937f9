-- When a program that knows only the first form of tokens last issued one, as far as the rows tell; 0 for
-- never. One process serves at a time, so none issues them after this.
ALTER TABLE meta ADD COLUMN first_form_last INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET first_form_last = coalesce((SELECT max(issued_at) FROM token), 0);
