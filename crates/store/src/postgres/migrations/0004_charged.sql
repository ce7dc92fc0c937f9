-- When a budget was last charged: by it a level is known that a clock kept which was ahead. Unknown of
-- what a program of the version before wrote.
ALTER TABLE budget ADD COLUMN charged_at BIGINT;
