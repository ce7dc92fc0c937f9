-- Which schema a writer's program knows, so that programs tell whether earlier ones write beside them:
-- those name none. Programs that name one read tokens with a check of their own.
ALTER TABLE writer ADD COLUMN knows INTEGER NOT NULL DEFAULT 0;
