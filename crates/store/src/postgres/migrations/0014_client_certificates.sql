-- Which client certificates a credential's calls may come with; [] for whichever. Programs of the version before
-- know of none and hold no call to them.
ALTER TABLE credential ADD COLUMN client_certificates TEXT NOT NULL DEFAULT '[]';
