-- Which client certificates a credential's calls may come with; [] for whichever.
ALTER TABLE credential ADD COLUMN client_certificates TEXT NOT NULL DEFAULT '[]';
