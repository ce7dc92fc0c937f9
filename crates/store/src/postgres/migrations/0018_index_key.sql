-- The version of the key that the index of a number is under. NULL is the first, which rows from before have, and all
-- as long as programs that do not know this version may serve: a MAC says nothing of what is NULL, so theirs stay
-- right.
ALTER TABLE card ADD COLUMN index_key BIGINT;
ALTER TABLE wallet_token ADD COLUMN index_key BIGINT;
