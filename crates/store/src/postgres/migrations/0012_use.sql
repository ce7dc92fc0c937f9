-- When a credential last made a call that was admitted, written every few minutes. Programs of the version
-- before do not know of it.
CREATE TABLE credential_use (
    credential TEXT   COLLATE "C" PRIMARY KEY,
    used_at    BIGINT NOT NULL
);
